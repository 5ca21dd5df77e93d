"""Distillation for membership privacy: a model taught on records that are not members, by one trained on those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.backends.torch import TorchRecipe
from vestige.defend.base import Named, Trait, probabilities
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.defend.training.rival import FEWEST, RivalRecipe, needed, whole
from vestige.privacy_claim import Guarantee
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.target import Access, BatchRecipe, IntArray, Recipe, Target

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup


@dataclass(frozen=True, kw_only=True)
class DMP(Unproven):
    """Trains a teacher on the members, and serves a student that is taught its answers to the defender's own records.

    Of the reserve, the share ``kept`` about which the teacher is surest (lowest entropy) is used, with the teacher's
    answers at ``temperature``; above 1 they are softer. The student follows the recipe, but for the loss, the
    cross-entropy against those answers at temperature 1, for ``epochs`` (None: as many that it takes about as many
    steps as the teacher). It reads no member and no label of any record. The teacher is thrown away. After a private
    training, the student is a function of its weights and of records that are nobody's audited, so that its claim
    stands.

    By itself nothing is guaranteed: which records are kept, and how the teacher answers them, depends on the members. A
    small reserve costs accuracy. Shejwalkar & Houmansadr 2021, "Membership Privacy for Machine Learning Models Through
    Knowledge Transfer", AAAI, section 4.
    """

    name: ClassVar[str] = "dmp"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("lira", "rmia", "gap")
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Shejwalkar & Houmansadr 2021"

    kept: float = 1.0
    temperature: float = 1.0
    epochs: int | None = None

    def __post_init__(self) -> None:
        number("kept", self.kept, 0, 1)
        number("kept", self.kept, 0, float("inf"), open_ends=True)
        number("temperature", self.temperature, 0, float("inf"), open_ends=True)
        if self.epochs is not None:
            whole("epochs", self.epochs, 1)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe of teacher and student; the teacher may be trained privately."""
        inner = getattr(recipe, "inner", None)
        network = inner if isinstance(inner, TorchRecipe) else torch_recipe(recipe, self.name)
        return DMPRecipe(inner=recipe, network=network, defence=self, reserve=needed(reserve, self.name))


class DMPRecipe(RivalRecipe):
    """Trains teachers by the inner recipe, and a student of each."""

    def trained(
        self, setup: Setup, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], on_epoch: OnEpoch | None
    ) -> list[State]:
        """Train the teachers together, and each student on the reserve."""
        from vestige.defend.training.students import taught

        x, options, found = records.rows_of(self.reserve), self.defence, []
        for k, teacher in enumerate(self._teachers(records, rows, seeds)):
            soft = softened(probabilities(teacher.query(x, Access.SCORE)), options.temperature)
            sure = surest(soft, options.kept)
            own = self.reserve[sure]
            epochs = options.epochs or max(1, round(self.network.epochs * len(rows[k]) / len(own)))
            told = None if on_epoch is None else partial(on_epoch, k)
            found.append(
                taught(setup, own, soft[sure], seeds[k], epochs=epochs, threads=self.network.threads, on_epoch=told)
            )
        return found

    def chunk_size(self, records: Records) -> int:
        """Return how many teachers are best trained together; their students follow one by one."""
        choose = getattr(self.inner, "chunk_size", None)
        return 1 if choose is None else int(choose(records))

    def _teachers(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> Sequence[Target]:
        own = [seed_for(seed, "teacher") for seed in seeds]
        if isinstance(self.inner, BatchRecipe):
            return self.inner.fit_many(records, rows, own)
        return [self.inner.fit(records, part, seed) for part, seed in zip(rows, own, strict=True)]


def softened(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return (R, C) probabilities as their logits over ``temperature`` would give them."""
    if temperature == 1:
        return scores
    powers = (scores / scores.max(1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def surest(scores: NDArray[np.float64], kept: float) -> IntArray:
    """Return, in ascending order, the share ``kept`` of the rows whose entropy is lowest; at least two of them."""
    entropy = -(scores * np.log(np.maximum(scores, 1e-300))).sum(1)
    count = min(len(scores), max(FEWEST, round(kept * len(scores))))
    return np.sort(np.argsort(entropy, kind="stable")[:count]).astype(np.int64)
