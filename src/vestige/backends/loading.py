"""Trained models from files. A format that can run code when it is read is refused unless the file is trusted."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.coerce import as_target
from vestige.backends.estimators import said
from vestige.errors import MissingDependency, ModelError, UsageError, VestigeError
from vestige.registry import did_you_mean
from vestige.target import Recipe, Target

if TYPE_CHECKING:
    from vestige.records import Records

PICKLES = (".joblib", ".pkl", ".pickle")
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
BOOSTERS = {".json": "xgboost", ".ubj": "xgboost", ".txt": "lightgbm"}
SUFFIXES = (*WEIGHTS, *BOOSTERS, ".skops", *PICKLES)
KINDS = {
    "torch": WEIGHTS,
    "sklearn": (".skops", *PICKLES),
    "xgboost": (".json", ".ubj", *PICKLES),
    "lightgbm": (".txt", *PICKLES),
}
WRAPPED = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")
TRUST = "If you made it or trust whoever did, pass --trust, trust=True, or [target] trust = true."


def load_model(
    path: str | Path, *, records: Records, recipe: Recipe | None = None, kind: str | None = None, trust: bool = False
) -> Target:
    """Return the model in a file as a target for ``records``.

    Weights (.safetensors, .pt, .pth) need the ``recipe`` that builds the architecture; XGBoost (.json, .ubj), LightGBM
    (.txt) and skops files hold their models whole; pickles (.joblib, .pkl) and whole torch modules run code when read,
    and need ``trust``. ``kind``: torch, sklearn, xgboost or lightgbm, checked against the file's suffix. Raises
    ModelError or UsageError.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check(path, suffix, kind)
    try:
        model = _read(path, suffix, trust)
    except (VestigeError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise _missing(error, path) from error
    except Exception as error:  # a damaged file is read in many ways, and fails in as many
        raise ModelError(
            f"Could not read a model from '{path}': {said(error)}.",
            hint="The file may be damaged or of another format.",
        ) from error
    if isinstance(model, Mapping):
        return _with_weights(path, model, recipe, records)
    return as_target(model, task=records.task, classes=records.classes)


def _check(path: Path, suffix: str, kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"Expected the target's kind to be {', '.join(KINDS)}, got '{kind}'.", hint=did_you_mean(kind, list(KINDS))
        )
    if suffix not in SUFFIXES:
        raise UsageError(f"Expected a model file ending in {', '.join(SUFFIXES)}, got '{path.name}'.")
    if kind is not None and suffix not in KINDS[kind]:
        raise UsageError(f"Expected a {kind} model to end in {', '.join(KINDS[kind])}, got '{path.name}'.")
    if not path.exists():
        raise ModelError(f"There is no model file '{path}'.", hint="Check the path; it is relative to where you are.")
    if path.is_dir():
        raise ModelError(f"Expected a model file, got the folder '{path}'.", hint="Name the file inside it.")
    if path.stat().st_size == 0:
        raise ModelError(f"The model file '{path}' is empty.", hint="Write it again; its writer may have been stopped.")


def _read(path: Path, suffix: str, trust: bool) -> Any:
    if suffix in PICKLES:
        if not trust:
            raise ModelError(
                f"'{path.name}' is a pickle, and reading a pickle runs whatever code is in it, so it is refused.",
                hint=TRUST,
            )
        import joblib

        return joblib.load(path)
    if suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if suffix == ".skops":
        return _read_skops(path, trust)
    if suffix in BOOSTERS:
        return _read_booster(path, BOOSTERS[suffix])
    return _read_torch(path, trust)


def _read_booster(path: Path, library: str) -> Any:
    if library == "xgboost":
        import xgboost

        return xgboost.Booster(model_file=str(path))
    # LightGBM complains on stderr too, and may end the process: what is plainly no whole model does not reach it.
    content = path.read_bytes()
    if not content.startswith(b"tree"):
        raise ModelError(
            f"Expected a LightGBM model in '{path}', got a file that does not start with 'tree'.",
            hint="Write it with booster.save_model.",
        )
    if b"\nend of trees" not in content:
        raise ModelError(
            f"Expected a whole LightGBM model in '{path}', got one that is cut short.", hint="Copy or write it again."
        )
    import lightgbm

    return lightgbm.Booster(model_file=str(path))


def _read_torch(path: Path, trust: bool) -> Any:
    import pickle

    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            script = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if script:
            raise ModelError(
                f"'{path.name}' is a TorchScript program, which this does not run.",
                hint="Save its state_dict() and give the recipe that builds the module.",
            )
    else:
        with path.open("rb") as file:
            start = file.read(2)
        if start[:1] != b"\x80":
            what = "a file that is cut short" if start == b"PK" else "another kind of file"
            raise ModelError(
                f"Expected weights that torch.save wrote in '{path}', got {what}.",
                hint="Save model.state_dict() again, or copy the whole file.",
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if trust:
            raise
        raise ModelError(
            f"'{path.name}' holds more than weights, and reading it could run code, so it is refused.",
            hint=f"Save model.state_dict() instead. {TRUST}",
        ) from error


def _read_skops(path: Path, trust: bool) -> Any:
    import skops.io

    strangers = skops.io.get_untrusted_types(file=path)
    if strangers and not trust:
        raise ModelError(
            f"'{path.name}' holds types that could run code when read ({', '.join(strangers[:3])}), so it is refused.",
            hint=TRUST,
        )
    return skops.io.load(path, trusted=strangers)


def _missing(error: ModuleNotFoundError, path: Path) -> VestigeError:
    top = (error.name or "").partition(".")[0]
    extras = {"torch": "torch", "xgboost": "boost", "lightgbm": "boost", "sklearn": "sklearn"}
    purpose = f"Reading '{path.name}'"
    if top in extras:
        return MissingDependency("scikit-learn" if top == "sklearn" else top, extra=extras[top], purpose=purpose)
    return ModelError(
        f"{purpose} needs the module '{error.name}', which is not installed.",
        hint=f"Install the package that the model was made with: pip install {top}",
    )


def _with_weights(path: Path, state: Mapping[str, Any], recipe: Recipe | None, records: Records) -> Target:
    restore: Callable[..., Target] | None = getattr(recipe, "restore", None)
    if restore is None:
        raise UsageError(
            f"'{path.name}' holds weights and not the model's architecture.",
            hint="Describe the architecture in [recipe] kind = 'torch', or pass recipe=vestige.TorchRecipe(model=…).",
        )
    arrays = _arrays(path, state)
    try:
        target = restore(records, arrays)
        # A torch target builds its module when first asked for it, and refuses weights that do not fit only then.
        getattr(target, "module", None)
    except MemoryError:
        raise
    except Exception as error:  # weights that do not fit fail wherever the recipe first uses them
        if isinstance(error, VestigeError) and not isinstance(error, ModelError):
            raise
        complaint = " ".join(line.strip() for line in str(error.__cause__ or error).splitlines()[:2])
        raise ModelError(
            f"The weights in '{path.name}' do not fit the recipe's architecture: {complaint}",
            hint="Check the recipe's model, its sizes, and the number of features and classes.",
        ) from error
    return target


def _arrays(path: Path, state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return a state dict's arrays, out of a checkpoint that wraps it and without the prefixes of wrapped modules."""
    for name in WRAPPED:
        if isinstance(state.get(name), Mapping):
            state = state[name]
            break
    arrays = {}
    for name, value in state.items():
        if not hasattr(value, "detach") and not isinstance(value, np.ndarray):
            raise ModelError(
                f"Expected weights in '{path.name}', got '{name}' of type {type(value).__name__}.",
                hint="Save model.state_dict().",
            )
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() and value.element_size() < 4 else value).numpy()
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        arrays[name] = value
    if not arrays:
        raise ModelError(f"Expected weights in '{path.name}', got none.")
    return arrays
