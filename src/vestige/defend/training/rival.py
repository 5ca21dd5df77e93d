"""What defences that train in a way of their own have in common: a recipe around a recipe, and its models' weights."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.torch import TorchRecipe, TorchTarget
from vestige.canonical import digest
from vestige.defend.recipes import described
from vestige.errors import ConfigError, MissingDependency, ModelError, UsageError
from vestige.records import Records
from vestige.target import IntArray, Outputs, Recipe

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup

ARITHMETIC = 1
"""Raised when stored models would differ from newly trained ones."""
FEWEST = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RivalRecipe(ABC):
    """Trains models of ``network`` as ``defence`` does; ``inner``: the recipe that was wrapped, mostly the same.

    ``reserve``: the defender's own rows, empty where the defence needs none.
    """

    inner: Recipe
    network: TorchRecipe
    defence: Any
    reserve: IntArray

    @abstractmethod
    def trained(
        self, setup: Setup, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], on_epoch: OnEpoch | None
    ) -> list[State]:
        """Return the trained state of one model per entry of ``rows``."""

    @property
    def epochs(self) -> int:
        """How many epochs the recipe trains for."""
        return self.network.epochs

    def fingerprint(self) -> str:
        """Return a text of the inner recipe, of every parameter of the defence, and of the reserved rows."""
        parts = {
            "rival": ARITHMETIC,
            "inner": self.inner.fingerprint(),
            "defence": described(self.defence),
            "reserve": digest("rows", {"rows": np.asarray(self.reserve, np.int64)}) if self.defence.reserve else "",
        }
        return json.dumps(parts, sort_keys=True)

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
        """Train one model per entry of ``rows``: the same bytes as ``fit`` one by one."""
        self._check(records, rows, seeds)
        setup = self.setup(records)
        found = []
        for k, state in enumerate(self.trained(setup, records, rows, seeds, None)):
            if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
                raise ModelError(
                    f"Training with seed {seeds[k]} ended in weights that are not finite numbers.",
                    hint="Lower lr, or what the defence adds to the loss.",
                )
            found.append(setup.target({name: tensor.cpu() for name, tensor in state.items()}))
            if on_model is not None:
                on_model(k)
        return found

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> TorchTarget:
        """Return the target whose `TorchTarget.state` this is."""
        import torch

        target = self.setup(records).target({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
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
        """Train what ``fit`` would, and hand ``visit`` the served model's answers to ``asked`` after every epoch."""
        self._check(records, [rows], [seed])
        setup, x = self.setup(records), records.rows_of(asked)

        def on_epoch(_: int, __: int, state: State) -> None:
            target = setup.target(state)
            visit(target.query(x, target.access))

        self.trained(setup, records, [rows], [seed], on_epoch)

    def chunk_size(self, records: Records) -> int:
        """Return how many models one call of ``fit_many`` trains best."""
        if self.network.chunk != "auto":
            return self.network.chunk
        return self.setup(records).chunk()

    def setup(self, records: Records) -> Setup:
        """Return the network's recipe applied to the records."""
        try:
            from vestige.backends.torch_setup import Setup
        except ImportError as error:
            raise MissingDependency("torch", extra="torch", purpose="Training torch models") from error
        return Setup.of(self.network, records)

    def _check(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> None:
        name = type(self.defence).name
        if len(rows) != len(seeds):
            raise UsageError(f"Expected one seed per model, got {len(rows)} row lists and {len(seeds)} seeds.")
        if records.task != "classification":
            raise ConfigError(f"The defence '{name}' needs classes, but these records have numbers as labels.")
        for k, own in enumerate(rows):
            if len(own) < FEWEST:
                raise UsageError(f"Expected at least {FEWEST} rows to train on, but model {k} has {len(own)}.")
        if self.defence.reserve and len(rows) and len(np.intersect1d(np.concatenate(rows), self.reserve)):
            raise UsageError(f"The defence '{name}' keeps records of its own, and some of them are to be trained on.")


def needed(reserve: IntArray, name: str) -> IntArray:
    """Return the reserve; raises ConfigError, for the defence called ``name``, where there is too little of one."""
    if len(reserve) < FEWEST:
        raise ConfigError(
            f"The defence '{name}' needs records of the defender's own, and there are {len(reserve)}.",
            hint="Raise [data] population.",
        )
    return np.asarray(reserve, np.int64)


def whole(name: str, value: Any, least: int) -> None:
    """Raise ConfigError for a parameter that is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"Expected {name} to be a whole number of at least {least}, got {value!r}.")
