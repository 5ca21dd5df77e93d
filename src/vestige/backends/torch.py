"""Torch models: `TorchRecipe` says how they are trained, `TorchTarget` is one that answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.backends import compiled
from vestige.backends.chunks import known_chunk
from vestige.backends.objectives import Objective
from vestige.backends.stopping import Stopping
from vestige.backends.table_noise import TableNoise
from vestige.backends.torch_options import callable_text, check_options, resolve
from vestige.backends.torch_target import TorchTarget, query_many
from vestige.errors import MissingDependency, ModelError, UsageError
from vestige.records import Records
from vestige.target import IntArray, Outputs

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vestige.backends.torch_setup import Setup

__all__ = ["TorchRecipe", "TorchTarget", "query_many"]

# Raise when a change of the training arithmetic makes stored models differ from newly trained ones.
ARITHMETIC = 3
_NO_EFFECT = ("chunk",)
# Left out where they are not given, so that models stored before there were such options are still found.
_LATER = ("confidence", "mixup", "stopping")


@dataclass(frozen=True, kw_only=True)
class TorchRecipe:
    """How a torch model is trained; ``fit`` and ``fit_many`` give the same bytes.

    ``model``: a name (logistic, mlp, cnn, resnet18, wrn28-2, multi_exit), ``"package.module:factory"``, or a factory
    that takes nothing or ``(input_shape, classes)`` and returns an untrained module; where its answer in training is a
    tuple of several, their losses are added. ``hidden``, ``channels``, ``norm`` (none, batch, layer, group),
    ``activation`` and ``dropout`` belong to named models, and to multi_exit ``confidence``, the probability at which a
    record leaves. ``optimizer``: sgd, adam, adamw, or
    ``callable(params) -> Optimizer``. ``schedule``: constant, cosine, step (a tenth from half of the epochs, a
    hundredth from three quarters), or ``callable(share_of_epochs_done) -> multiplier``, asked once per epoch. ``loss``:
    cross_entropy, mse, an objective that a defence sets, or ``callable(outputs, y)``. ``augment``: none, flip, shift,
    flip+shift, or ``callable(x, generator)``. ``mixup``: the parameter of the Beta that blends batches are drawn from;
    ``stopping``: on which records to stop early. ``normalize``: auto, none, standard, unit (see `fit_features`).
    ``threads``: of each operation; they may change the last bits, and several processes with one thread each are
    faster. ``chunk``: models per call of ``fit_many``, see `chunk_size`; it changes no bit.
    """

    model: str | Callable[..., nn.Module] = "mlp"
    hidden: tuple[int, ...] | None = None
    channels: tuple[int, ...] | None = None
    norm: Literal["none", "batch", "layer", "group"] | None = None
    activation: str | None = None
    dropout: float | None = None
    confidence: float | None = None
    epochs: int = 50
    batch_size: int = 64
    optimizer: str | Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    schedule: str | Callable[[float], float] = "cosine"
    loss: str | Objective | Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = "auto"
    augment: str | TableNoise | Callable[[torch.Tensor, torch.Generator], torch.Tensor] = "none"
    mixup: float | None = None
    stopping: Stopping | None = None
    normalize: Literal["auto", "none", "standard", "unit"] = "auto"
    device: str = "auto"
    threads: int = 1
    chunk: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        for name in ("hidden", "channels"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        check_options(self)

    def fingerprint(self) -> str:
        """Return JSON text of everything that can change a trained model."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _NO_EFFECT}
        fields = {name: value for name, value in fields.items() if name not in _LATER or value is not None}
        if isinstance(self.model, str) and ":" in self.model:
            fields["model"] = resolve(self.model)
        told = {k: _told(v) for k, v in fields.items()}
        if compiled.takes(self):
            told.pop("threads")
            return json.dumps({"kind": "torch", "compiled": compiled.ARITHMETIC, **told}, sort_keys=True)
        # Without a compiler convolutions add up in another order, so such models are others.
        compiler = {} if find_spec("llvmlite") else {"compiler": None}
        return json.dumps({"kind": "torch", "arithmetic": ARITHMETIC, **compiler, **told}, sort_keys=True)

    def fit(self, records: Records, rows: IntArray, seed: int) -> TorchTarget:
        """Train one model on ``rows`` of ``records``."""
        return self.fit_many(records, [rows], [seed])[0]

    def fit_many(
        self,
        records: Records,
        rows: Sequence[IntArray],
        seeds: Sequence[int],
        *,
        on_model: Callable[[int], None] | None = None,
    ) -> list[TorchTarget]:
        """Train one model per entry of ``rows``: the same bytes as ``fit`` one by one.

        ``on_model(k)`` is called when model ``k`` is done. Raises ModelError when training diverges.
        """
        if len(rows) != len(seeds):
            raise UsageError(f"Expected one seed per model, got {len(rows)} row lists and {len(seeds)} seeds.")
        if not rows:
            return []
        _check_rows(rows, len(records))
        if self.stopping is not None and np.isin(np.concatenate(rows), self.stopping.rows).any():
            raise UsageError(
                "Some of the records that decide when to stop are to be trained on.",
                hint="Leave them out of the training rows: a loss that falls on members says nothing.",
            )
        if compiled.takes(self):
            from vestige.backends.compiled.setup import Setup as Compiled

            small = Compiled.of(self, records)
            targets: list[TorchTarget] = []
            for k, (own, seed) in enumerate(zip(rows, seeds, strict=True)):
                targets.append(small.train(own, seed))
                if on_model is not None:
                    on_model(k)
            return targets
        from vestige.backends.ensemble import train_many

        setup = self._setup(records)
        states = train_many(setup.plan, setup.graph, rows, seeds, threads=self.threads, on_model=on_model)
        for state, seed in zip(states, seeds, strict=True):
            if not all(bool(t.isfinite().all()) for t in state.values()):
                raise ModelError(
                    f"Training with seed {seed} ended in weights that are not finite numbers.",
                    hint="Lower lr, or set normalize = 'standard'.",
                )
        return [setup.target({k: v.cpu() for k, v in state.items()}) for state in states]

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> TorchTarget:
        """Return the target whose `TorchTarget.state` this is; ``records`` are those it was trained from."""
        if compiled.takes(self):
            from vestige.backends.compiled.setup import Setup as Compiled

            return Compiled.of(self, records).target(state)
        import torch

        target = self._setup(records).target({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
        try:
            target.module  # noqa: B018  loading it checks every name and shape
        except RuntimeError as error:
            raise ModelError(
                "The stored model does not fit this recipe.", hint="Was the recipe changed since?"
            ) from error
        return target

    def follow(
        self, records: Records, rows: IntArray, seed: int, asked: IntArray, visit: Callable[[Outputs], None]
    ) -> None:
        """Train what ``fit`` would, to the byte, and hand ``visit`` its answers to ``asked`` after every epoch."""
        from vestige.backends.following import follow

        follow(self, records, rows, seed, asked, visit)

    def chunk_size(self, records: Records) -> int:
        """Return how many models one call of ``fit_many`` trains best."""
        if self.chunk != "auto":
            return self.chunk
        if compiled.takes(self):
            return 1
        return known_chunk(self, records) or self._setup(records).chunk()

    @property
    def threaded(self) -> bool:
        """Whether several threads of one process train faster than one: where Python has no part in the training."""
        return compiled.takes(self)

    def _setup(self, records: Records) -> Setup:
        try:
            from vestige.backends.torch_setup import Setup
        except ImportError as error:
            raise MissingDependency("torch", extra="torch", purpose="Training torch models") from error
        return Setup.of(self, records)


def _told(value: Any) -> Any:
    """Return an option as JSON has it."""
    if isinstance(value, Objective | Stopping | TableNoise):
        return {"is": type(value).__name__, **dataclasses.asdict(value)}
    return callable_text(value) if callable(value) else value


def _check_rows(rows: Sequence[IntArray], total: int) -> None:
    for k, own in enumerate(rows):
        if len(own) == 0:
            raise UsageError(f"Expected rows to train on, but model {k} has none.")
        if own.min() < 0 or own.max() >= total:
            raise UsageError(
                f"Expected row numbers from 0 to {total - 1}, but model {k} has {own.min()} to {own.max()}."
            )
