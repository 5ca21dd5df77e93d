"""A recipe applied to records: the network, its data in the form that suits them, and how it is trained."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.compiled.judging import Aims
from vestige.backends.compiled.layout import Data
from vestige.backends.compiled.network import Network, State
from vestige.backends.compiled.target import NetworkTarget
from vestige.backends.compiled.training import Steps, train
from vestige.backends.features import Features, fit_features
from vestige.backends.objectives import Objective, Relaxed, Softened
from vestige.backends.schedules import SCHEDULES
from vestige.backends.stopping import Best
from vestige.errors import ConfigError, DataError, ModelError
from vestige.records import Records
from vestige.target import IntArray, Outputs

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

HIDDEN = (256, 128)
# Records with at most this share of ones, and nothing else but zeros, are kept as lists of their ones.
DENSEST = 0.25
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, eq=False)
class Setup:
    """One recipe, one pool of records."""

    network: Network
    steps: Steps
    data: Data
    features: Features
    classes: int
    build: Callable[[], Any]

    @classmethod
    def of(cls, recipe: TorchRecipe, records: Records) -> Setup:
        """Encode the records; the same recipe and records in turn are encoded once, also by several threads."""
        with _ONE_AT_A_TIME:
            return _setup(recipe, records)

    def train(
        self,
        rows: IntArray,
        seed: int,
        start: State | None = None,
        on_epoch: Callable[[int, State], None] | None = None,
        best: Best | None = None,
    ) -> NetworkTarget:
        """Train one model from new parameters, or from ``start``; ``on_epoch`` sees them after each epoch.

        ``best``: what keeps the best ones of training that stops early, for a caller who wants to read it.
        """
        best = Best(self.steps.stopping) if best is None and self.steps.stopping is not None else best
        state = train(self.network, self.steps, self.data, rows, seed, start, on_epoch, best)
        if not all(np.isfinite(array).all() for array in state.values()):
            raise ModelError(
                f"Training with seed {seed} ended in weights that are not finite numbers.",
                hint="Lower lr, or set normalize = 'standard'.",
            )
        return self.target(state)

    def target(self, state: Mapping[str, NDArray[Any]]) -> NetworkTarget:
        """Return trained parameters as a target; raises ModelError when they are not this network's."""
        return NetworkTarget(self.network, state, classes=self.classes, features=self.features, build=self.build)

    def follow(
        self, records: Records, rows: IntArray, seed: int, asked: IntArray, visit: Callable[[Outputs], None]
    ) -> int:
        """Train a model and hand ``visit`` its answers to ``asked`` after every epoch; return the model's own epoch."""
        x = self.target(self.network.initial(seed)).encoded(records.rows_of(asked))

        def show(epoch: int, state: State) -> None:
            try:
                visit(self.target(state).outputs(x))
            except ModelError as error:
                raise ModelError(
                    f"Training with seed {seed} diverged in epoch {epoch + 1}.",
                    hint="Lower lr, or set normalize = 'standard'.",
                ) from error

        best = None if self.steps.stopping is None else Best(self.steps.stopping)
        self.train(rows, seed, on_epoch=show, best=best)
        return self.steps.epochs - 1 if best is None else best.epoch


@lru_cache(maxsize=1)
def _setup(recipe: TorchRecipe, records: Records) -> Setup:
    regression = records.task == "regression"
    outputs = 1 if regression else len(records.classes)
    if not regression and int(np.asarray(records.y).max(initial=0)) >= outputs:
        raise DataError("Expected labels below the number of classes.")
    features = fit_features(records.x, recipe.normalize)
    raw = features.bytes_of(records.x)
    x = np.asarray(features(records.x) if raw is None else raw)
    shape = x.shape[1:]
    inside = () if recipe.model == "logistic" else recipe.hidden if recipe.hidden is not None else HIDDEN
    # The places of the linear layers in the torch module: after a flattening layer, with an activation, and dropout
    # where there is any, between two.
    first = int(len(shape) != 1 or recipe.model == "logistic")
    each = 3 if recipe.dropout else 2
    names = tuple(str(first + each * k) for k in range(len(inside) + 1))
    network = Network((prod(shape), *inside, outputs), names, recipe.activation or "relu")
    steps = Steps(
        optimiser=str(recipe.optimizer), lr=recipe.lr, momentum=recipe.momentum, decay=recipe.weight_decay,
        nesterov=recipe.nesterov, loss=_loss(recipe, regression, outputs), epochs=recipe.epochs,
        batch=recipe.batch_size, aims=_aims(recipe, outputs), stopping=recipe.stopping,
        multiplier=SCHEDULES[recipe.schedule] if isinstance(recipe.schedule, str) else recipe.schedule,
    )  # fmt: skip
    scale = 1.0 if raw is None or features.scale is None else float(features.scale)
    data = _data(x.reshape(len(x), -1), scale, np.asarray(records.y), regression)
    return Setup(network, steps, data, features, len(records.classes), _builder(recipe, shape, outputs))


def _aims(recipe: TorchRecipe, outputs: int) -> Aims:
    loss = recipe.loss
    return Aims(
        softened=loss.levels(outputs) if isinstance(loss, Softened) else None,
        relaxed=loss if isinstance(loss, Relaxed) else None,
        mixup=recipe.mixup,
        dropout=recipe.dropout or 0.0,
    )


def _loss(recipe: TorchRecipe, regression: bool, outputs: int) -> str:
    if isinstance(recipe.loss, Objective):
        if regression:
            raise ConfigError(
                "Softened labels and relaxed losses need classes, but these records have numbers as labels.",
                hint="Remove the defence.",
            )
        return "relaxed" if isinstance(recipe.loss, Relaxed) else "softened"
    if regression and recipe.loss == "cross_entropy":
        raise ConfigError(
            "Cross-entropy needs classes, but these records have numbers as labels.", hint="Set loss = 'mse'."
        )
    if regression:
        return "number"
    if recipe.loss == "mse":
        return "one_hot"
    return "cross_entropy" if outputs > 1 else "binary"


def _data(x: NDArray[Any], scale: float, y: NDArray[Any], regression: bool) -> Data:
    labels = np.zeros(0, np.int64) if regression else np.array(y, np.int64)
    numbers = np.array(y, np.float32) if regression else np.zeros(0, np.float32)
    ones, ends = np.zeros(0, np.int32), np.zeros(0, np.int64)
    floats, raw = np.zeros(0, np.float32), np.zeros(0, np.uint8)
    count = int(np.count_nonzero(x))
    if scale == 1.0 and 0 < count <= DENSEST * x.size and count == int((x == 1).sum()):
        ones = np.nonzero(x)[1].astype(np.int32)
        ends = np.concatenate([[0], np.cumsum(np.count_nonzero(x, axis=1))]).astype(np.int64)
    elif x.dtype == np.uint8:
        raw = np.ascontiguousarray(x)
    else:
        floats = np.ascontiguousarray(x, np.float32)
    return Data(floats, raw, ones, ends, labels, numbers, np.float32(scale))


def _builder(recipe: TorchRecipe, shape: Sequence[int], outputs: int) -> Callable[[], Any]:
    def build() -> Any:
        from vestige.backends.architectures import build as network

        options = {name: getattr(recipe, name) for name in ("hidden", "activation", "dropout")}
        return network(str(recipe.model), tuple(shape), outputs, options)

    return build
