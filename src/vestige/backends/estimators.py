"""Fresh, seeded, quiet copies of estimators, and estimators from a config."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from vestige.errors import ConfigError, MissingDependency, ModelError, UsageError
from vestige.registry import did_you_mean, load
from vestige.seeds import seed_for

Preprocess = Literal["none", "auto", "standard"]
PREPROCESS: tuple[Preprocess, ...] = ("none", "auto", "standard")
EXTRAS = {"sklearn": ("scikit-learn", "sklearn"), "xgboost": ("xgboost", "boost"), "lightgbm": ("lightgbm", "boost")}
THREADS = ("n_jobs", "nthread", "thread_count")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type when it says nothing."""
    lines = str(error).strip().splitlines()
    return shortened(lines[0]) if lines else type(error).__name__


def said(error: BaseException) -> str:
    """Return an error's type and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__


def shortened(text: str, most: int = 240) -> str:
    """Return a text without its last full stop, cut to a readable length."""
    text = text.strip().rstrip(".")
    return text if len(text) <= most else f"{text[:most].rstrip()} …"


def named(estimator: Any) -> str:
    """Return how to call an estimator in a sentence: its class, or for a pipeline that of its last step."""
    steps = getattr(estimator, "steps", None)
    return f"{type(estimator).__name__}(… {named(steps[-1][1])})" if steps else type(estimator).__name__


def fresh(estimator: Any, seed: int, *, threads: int | None = None) -> Any:
    """Return an unfitted copy that trains the same way every time: all its random states derive from ``seed``.

    ``threads``: what every thread count inside it becomes; None leaves them.
    """
    from sklearn.base import clone

    try:
        copy = clone(estimator)
    except TypeError as error:
        raise ModelError(
            f"Expected an estimator that scikit-learn can clone, got {type(estimator).__name__}: {first_line(error)}.",
            hint="Write a training function and use FunctionRecipe(train) with train(x, y, seed) -> model.",
        ) from error
    changes: dict[str, Any] = {}
    for key, value in [("", copy), *copy.get_params(deep=True).items()]:
        last = key.rpartition("__")[2]
        if last == "random_state" or last.endswith("seed"):
            changes[key] = seed_for(seed, key) % 2**31
        elif last in THREADS and threads is not None:
            changes[key] = threads
        elif last == "verbose":
            changes[key] = type(value)(0) if isinstance(value, bool | int) else value
        elif type(value).__name__ == "FrozenEstimator":
            raise UsageError(
                f"Expected an estimator that training changes, got a FrozenEstimator inside {named(estimator)}.",
                hint="Shadow models would share the part that saw the target's members; give the unfrozen estimator.",
            )
        elif getattr(value, "shuffle", False) and not hasattr(value, "get_params"):
            value.random_state = seed_for(seed, key) % 2**31
    copy.set_params(**changes)
    for part in parts_of(copy, "lightgbm"):
        _settle_lightgbm(part)
    return copy


def parts_of(estimator: Any, library: str) -> Iterator[Any]:
    """Yield the estimator and the estimators inside it that come from ``library``."""
    for value in (estimator, *estimator.get_params(deep=True).values()):
        if type(value).__module__.partition(".")[0] == library and hasattr(value, "set_params"):
            yield value


def _settle_lightgbm(part: Any) -> None:
    """Keep LightGBM silent, since it prints to stdout, and its sums in one order whatever the number of threads."""
    given = part.get_params()
    if not {"verbose", "verbosity"} & given.keys():
        part.set_params(verbose=-1)
    if not {"deterministic", "force_col_wise", "force_row_wise"} & given.keys():
        part.set_params(deterministic=True, force_col_wise=True)


def preprocessed(estimator: Any, preprocess: Preprocess, x: Any) -> Any:
    """Return the estimator behind the encoding and scaling that ``x`` needs; itself when it needs none."""
    frame = hasattr(x, "iloc")
    words = list(x.select_dtypes(exclude=["number", "bool"]).columns) if frame else []
    if preprocess == "none" or (preprocess == "auto" and not words):
        return estimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scale = StandardScaler() if preprocess == "standard" else "passthrough"
    if not frame:
        return make_pipeline(scale, estimator)
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = [column for column in x.columns if column not in words]
    return make_pipeline(ColumnTransformer([("words", encode, words), ("numbers", scale, numbers)]), estimator)


def build(reference: str, params: Mapping[str, Any]) -> Any:
    """Build the estimator that a config names as ``package.module:Class``; raises ConfigError with close names."""
    if not all(part.strip() for part in reference.partition(":")):
        raise ConfigError(
            f"Expected [recipe] model to name an estimator's class as package.module:Class, got '{reference}'.",
            hint="Say model = 'sklearn.svm:SVC', for one.",
        )
    try:
        factory = load(reference)
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if top in EXTRAS and error.name == top:
            library, extra = EXTRAS[top]
            raise MissingDependency(library, extra=extra, purpose=f"The model '{reference}'") from error
        raise ConfigError(
            f"There is no module '{error.name}', which the model '{reference}' needs.",
            hint="Check the spelling, install the package, or put its folder on PYTHONPATH.",
        ) from error
    except Exception as error:  # a user's own module may raise anything
        module, _, attribute = reference.partition(":")
        if isinstance(error, AttributeError) and module in sys.modules:
            hint = did_you_mean(attribute, dir(sys.modules[module]))
            raise ConfigError(f"The module '{module}' has no '{attribute}'.", hint=hint) from error
        raise ConfigError(f"Could not import the model '{reference}': {said(error)}.") from error
    if not callable(factory):
        raise ConfigError(
            f"Expected [recipe] model to name an estimator's class, got '{reference}', a {type(factory).__name__}."
        )
    try:
        return factory(**params)
    except Exception as error:  # an estimator's own constructor may raise anything
        known = list(inspect.signature(factory).parameters)
        strangers = [key for key in params if key not in known]
        hint = did_you_mean(strangers[0], known) if strangers else ""
        raise ConfigError(f"Could not build '{reference}': {first_line(error)}.", hint=hint) from error
