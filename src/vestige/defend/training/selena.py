"""SELENA: a model taught, on its own training records, by models that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.defend.base import Named, Trait, probabilities
from vestige.defend.training.common import Unproven, torch_recipe
from vestige.defend.training.rival import RivalRecipe, whole
from vestige.defend.training.shares import withheld
from vestige.errors import ConfigError, UsageError
from vestige.privacy_claim import Guarantee
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.target import Access, BoolArray, IntArray, Recipe, Target

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup


@dataclass(frozen=True, kw_only=True)
class Selena(Unproven):
    """Trains ``models`` sub-models, each member withheld from ``without`` of them at random, and then the model that is
    served, on the members with the mean answers of those sub-models that never saw them.

    Sub-models follow the recipe with all that earlier defences changed; the served model follows it too, but for the
    loss, which is the cross-entropy against those answers, for ``epochs`` (None: the recipe's). It never sees a label,
    and early stopping and blends do not reach it. Records of one person are withheld together. The table of who was
    withheld from what, and the sub-models, are thrown away: publishing either would undo the defence.

    Nothing is guaranteed. A near-copy of a record among the members puts it back into the models that should not have
    seen it; watch the most exposed records. Costs about ``models`` · (1 - ``without``/``models``) + 1 trainings. Tang
    et al. 2022, "Mitigating Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture",
    USENIX Security, section 4.
    """

    name: ClassVar[str] = "selena"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS, Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("lira", "rmia", "noise")
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Tang et al. 2022"

    models: int = 25
    without: int = 10
    epochs: int | None = None

    def __post_init__(self) -> None:
        whole("models", self.models, 2)
        whole("without", self.without, 1)
        if self.without >= self.models:
            raise ConfigError(
                f"Expected without to be below the {self.models} models, got {self.without}.",
                hint="Each member needs some models that saw it, and some that did not; the authors take 10 of 25.",
            )
        if self.epochs is not None:
            whole("epochs", self.epochs, 1)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe that splits, trains and distils."""
        found = torch_recipe(recipe, self.name)
        return SelenaRecipe(inner=found, network=found, defence=self, reserve=np.zeros(0, np.int64))


class SelenaRecipe(RivalRecipe):
    """Trains sub-models by the inner recipe, and one student of them for each model asked for."""

    def trained(
        self, setup: Setup, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], on_epoch: OnEpoch | None
    ) -> list[State]:
        """Train, ask and teach, one served model after another."""
        from vestige.defend.training.students import taught

        options, found = self.defence, []
        for k, (own, seed) in enumerate(zip(rows, seeds, strict=True)):
            out = withheld(records, own, options.models, options.without, seed)
            soft = split_answers(self._submodels(records, own, out, seed), out, partial(_ask, records, own))
            told = None if on_epoch is None else partial(on_epoch, k)
            found.append(
                taught(setup, own, soft, seed, epochs=options.epochs, threads=self.network.threads, on_epoch=told)
            )
        return found

    def chunk_size(self, records: Records) -> int:  # noqa: ARG002
        """Return 1: the sub-models of one model are trained together already."""
        return 1

    def _submodels(self, records: Records, rows: IntArray, out: BoolArray, seed: int) -> list[Target]:
        shards = [rows[~one] for one in out]
        if min(map(len, shards)) == 0:
            raise UsageError(
                f"The defence 'selena' left a sub-model without records: {len(rows)} members are too few for it.",
                hint="Train on more records, or lower without.",
            )
        seeds = [seed_for(seed, "selena", k) for k in range(len(shards))]
        size = self.network.chunk_size(records)
        found: list[Target] = []
        for start in range(0, len(shards), size):
            found += self.network.fit_many(records, shards[start : start + size], seeds[start : start + size])
        return found


def split_answers(
    models: Sequence[Target], out: BoolArray, ask: Callable[[Target, BoolArray], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return (R, C): each member's mean answer over the models that never saw it; ``out`` is (models, R).

    ``ask(model, which)`` answers the marked members. No other model's answer is so much as asked for.
    """
    total: NDArray[np.float64] | None = None
    for model, which in zip(models, out, strict=True):
        if not which.any():
            continue
        answers = ask(model, which)
        if total is None:
            total = np.zeros((out.shape[1], answers.shape[1]))
        total[which] += answers
    assert total is not None
    return np.asarray(total / out.sum(0)[:, None])


def _ask(records: Records, rows: IntArray, model: Target, which: BoolArray) -> NDArray[np.float64]:
    return probabilities(model.query(records.rows_of(rows[which]), Access.SCORE))
