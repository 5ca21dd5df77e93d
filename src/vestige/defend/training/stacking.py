"""Model stacking: two models and a third that weighs them, each trained on records that the others never see."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchRecipe, TorchTarget
from vestige.defend.base import Named, Trait, probabilities
from vestige.defend.recipes import described
from vestige.defend.training.common import Unproven, number
from vestige.defend.training.rival import whole
from vestige.defend.training.shares import parts
from vestige.defend.training.stacks import Meta, Stacked, StoredStack, forest_recipe, grow
from vestige.errors import ConfigError, UsageError
from vestige.privacy_claim import Guarantee
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.target import Access, IntArray, Recipe, Target

FEWEST = 6


@dataclass(frozen=True, kw_only=True)
class Stacking(Unproven):
    """Cuts the members into three parts at random: the recipe trains on one, a random forest on another, and a logistic
    regression on what both of them answer to the third.

    ``trees``: of the forest; ``c``: the inverse of the regression's quadratic penalty. Records of one person fall into
    one part. What is served is the regression's probabilities, so that its answers' inside can no longer be looked at.
    Works for torch networks and for scikit-learn estimators.

    Nothing is guaranteed: no model sees more than a third of the members, which costs accuracy, and each still
    remembers its own. The variants that cut by cross-validation keep more accuracy and hide less; this is the published
    one. Salem et al. 2019, "ML-Leaks", NDSS, section VI.B.
    """

    name: ClassVar[str] = "stacking"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS, Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "lira", "noise")
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Salem et al. 2019"

    trees: int = 100
    c: float = 10.0

    def __post_init__(self) -> None:
        whole("trees", self.trees, 1)
        number("c", self.c, 0, float("inf"), open_ends=True)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe that stacks; raises ConfigError where it is neither torch's nor scikit-learn's."""
        if isinstance(recipe, TorchRecipe):
            return StoredStackRecipe(inner=recipe, defence=self)
        if isinstance(recipe, SklearnRecipe):
            return StackRecipe(inner=recipe, defence=self)
        raise ConfigError(
            f"The defence 'stacking' stacks torch networks and scikit-learn estimators, and this recipe is a "
            f"{type(recipe).__name__}.",
            hint="List it first, or remove it.",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class StackRecipe:
    """Trains stacks on the models of ``inner``."""

    inner: TorchRecipe | SklearnRecipe
    defence: Stacking

    def fingerprint(self) -> str:
        """Return a text of the inner recipe and of every parameter of the defence."""
        forest = forest_recipe(self.inner, self.defence.trees).fingerprint()
        parts_ = {"stack": 1, "inner": self.inner.fingerprint(), "defence": described(self.defence), "forest": forest}
        return json.dumps(parts_, sort_keys=True)

    def fit(self, records: Records, rows: IntArray, seed: int) -> Target:
        """Train one stack on ``rows`` of ``records``."""
        return self.fit_many(records, [rows], [seed])[0]

    def fit_many(
        self,
        records: Records,
        rows: Sequence[IntArray],
        seeds: Sequence[int],
        *,
        on_model: Callable[[int], None] | None = None,
    ) -> list[Target]:
        """Train one stack per entry of ``rows``; the same bytes as ``fit`` one by one."""
        if len(rows) != len(seeds):
            raise UsageError(f"Expected one seed per model, got {len(rows)} row lists and {len(seeds)} seeds.")
        if records.task != "classification":
            raise ConfigError("The defence 'stacking' needs classes, but these records have numbers as labels.")
        cut = [parts(records, own, 3, seed) for own, seed in zip(rows, seeds, strict=True)]
        for k, own in enumerate(cut):
            self._check(records, own, k)
        found = []
        for k, (first, own, seed) in enumerate(zip(self._first(records, cut, seeds), cut, seeds, strict=True)):
            second = self._second(records, own[1], seed_for(seed, "forest"), first)
            answers = np.concatenate([_ask(model, records, own[2]) for model in (first, second)], axis=1)
            meta = Meta.fitted(answers, records.y[own[2]], len(records.classes), self.defence.c)
            found.append(self._joined(first, second, meta))
            if on_model is not None:
                on_model(k)
        return found

    def _first(self, records: Records, cut: Sequence[list[IntArray]], seeds: Sequence[int]) -> Sequence[Target]:
        own = [seed_for(seed, "first") for seed in seeds]
        return [self.inner.fit(records, one[0], seed) for one, seed in zip(cut, own, strict=True)]

    def _second(self, records: Records, rows: IntArray, seed: int, first: Target) -> Target:  # noqa: ARG002
        return forest_recipe(self.inner, self.defence.trees).fit(records, rows, seed)

    def _joined(self, first: Target, second: Target, meta: Meta) -> Target:
        if min(first.access, second.access) < Access.SCORE:
            raise ConfigError(
                "The defence 'stacking' weighs the scores of its models, and this estimator answers labels alone.",
                hint="Use an estimator with predict_proba.",
            )
        return Stacked(first, second, meta)

    def _check(self, records: Records, cut: Sequence[IntArray], model: int) -> None:
        sizes = [len(part) for part in cut]
        if sum(sizes) < FEWEST or min(sizes) < FEWEST // 3 or len(np.unique(records.y[cut[2]])) < 2:
            raise UsageError(
                f"The defence 'stacking' cuts the {sum(sizes)} members of model {model} into parts that are too small.",
                hint="Train on more records.",
            )


class StoredStackRecipe(StackRecipe):
    """Trains stacks on torch networks, whose weights can be stored."""

    inner: TorchRecipe

    @property
    def epochs(self) -> int:
        """How many epochs the network is trained for."""
        return self.inner.epochs

    def chunk_size(self, records: Records) -> int:
        """Return how many networks one call of ``fit_many`` trains best."""
        return self.inner.chunk_size(records)

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> StoredStack:
        """Return the target whose `StoredStack.state` this is."""
        return StoredStack.restored(state, lambda own: self.inner.restore(records, own))

    def _first(self, records: Records, cut: Sequence[list[IntArray]], seeds: Sequence[int]) -> Sequence[Target]:
        return self.inner.fit_many(records, [own[0] for own in cut], [seed_for(seed, "first") for seed in seeds])

    def _second(self, records: Records, rows: IntArray, seed: int, first: Target) -> Target:
        assert isinstance(first, TorchTarget)
        return grow(first, records, rows, seed, self.defence.trees)

    def _joined(self, first: Target, second: Target, meta: Meta) -> Target:
        return StoredStack(first, second, meta)


def _ask(model: Target, records: Records, rows: IntArray) -> NDArray[np.float64]:
    return probabilities(model.query(records.rows_of(rows), Access.SCORE))
