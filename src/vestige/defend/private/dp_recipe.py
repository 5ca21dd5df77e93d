"""A torch recipe trained privately: `PrivateRecipe` gives the models that `dp_sgd` and its kin defend."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.torch import TorchRecipe, _check_rows
from vestige.backends.torch_target import TorchTarget
from vestige.defend.recipes import described
from vestige.errors import ConfigError, MissingDependency, ModelError, UsageError
from vestige.records import Records
from vestige.target import IntArray, Outputs

if TYPE_CHECKING:
    import torch

    from vestige.backends.torch_setup import Setup
    from vestige.defend.private.loop import PrivateLoop

ARITHMETIC = 2
"""Raised when stored models would differ from newly trained ones."""
SMALL_CHUNK = 16


@dataclass(frozen=True, kw_only=True)
class PrivateRecipe:
    """Trains the models of ``inner`` by differentially private steps; ``defence`` says which."""

    inner: TorchRecipe
    defence: PrivateLoop

    @property
    def epochs(self) -> int:
        """How many times each record is expected to be seen."""
        return self.inner.epochs

    def fingerprint(self) -> str:
        """Return a text of the inner recipe and of every parameter of the defence."""
        return json.dumps(
            {"private": ARITHMETIC, "inner": self.inner.fingerprint(), "defence": described(self.defence)},
            sort_keys=True,
        )

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
        """Train one model per entry of ``rows``; the same bytes as ``fit`` one by one."""
        if len(rows) != len(seeds):
            raise UsageError(f"Expected one seed per model, got {len(rows)} row lists and {len(seeds)} seeds.")
        setup = self._setup(records)
        states = self._trained(setup, records, rows, seeds, None)
        for k in range(len(states)) if on_model is not None else ():
            assert on_model is not None
            on_model(k)
        return [setup.target({name: tensor.cpu() for name, tensor in state.items()}) for state in states]

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> TorchTarget:
        """Return the target whose `TorchTarget.state` this is."""
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
        """Train what ``fit`` would, and hand ``visit`` its answers to ``asked`` after every epoch."""
        setup = self._setup(records)
        x = records.x.iloc[asked] if hasattr(records.x, "iloc") else records.x[asked]

        def on_epoch(_: int, __: int, state: dict[str, Any]) -> None:
            target = setup.target(state)
            visit(target.query(x, target.access))

        self._trained(setup, records, [rows], [seed], on_epoch)

    def chunk_size(self, records: Records) -> int:
        """Return how many models one call of ``fit_many`` trains best."""
        if self.inner.chunk != "auto":
            return self.inner.chunk
        setup = self._setup(records)
        from vestige.defend.private.dp_batched import readable

        if self.defence.engine == "opacus" or not readable(setup.graph):
            return 1
        return SMALL_CHUNK if setup.parameters <= 64_000 else 4

    def _trained(
        self,
        setup: Setup,
        records: Records,
        rows: Sequence[IntArray],
        seeds: Sequence[int],
        on_epoch: Callable[[int, int, dict[str, torch.Tensor]], None] | None,
    ) -> list[dict[str, torch.Tensor]]:
        from vestige.defend.private.training import train_all

        _check_rows(rows, len(setup.plan.x))
        states = train_all(self.defence, setup, records, rows, seeds, threads=self.inner.threads, on_epoch=on_epoch)
        for state, seed in zip(states, seeds, strict=True):
            if not all(bool(t.isfinite().all()) for t in state.values()):
                raise ModelError(
                    f"Private training with seed {seed} ended in weights that are not finite numbers.",
                    hint="Lower lr: the noise has the size of noise_multiplier · max_grad_norm / batch_size · lr.",
                )
        return states

    def _setup(self, records: Records) -> Setup:
        """Return the recipe applied to records, with no layer left that looks at several of them."""
        try:
            from vestige.backends.torch_setup import Setup
        except ImportError as error:
            raise MissingDependency("torch", extra="torch", purpose="Training torch models") from error
        import torch

        from vestige.backends.ensemble import structure
        from vestige.defend.private.grouping import grouped, normalises

        setup = Setup.of(self.inner, records)
        build = setup.plan.build
        with torch.random.fork_rng(devices=[]):
            module = build()
        if not normalises(module):
            grouped(module)
            return setup
        if self.defence.batch_norm == "refuse":
            raise ConfigError(
                "Batch normalisation makes each record's gradient depend on others, and this module has it.",
                hint="Set batch_norm = 'replace', or build the module with group normalisation.",
            )
        plan = replace(setup.plan, build=lambda: grouped(build()))
        return replace(setup, plan=plan, graph=structure(plan))
