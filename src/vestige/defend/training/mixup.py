"""Mixup: training on blends of two records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vestige.backends.objectives import Relaxed
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe


@dataclass(frozen=True, kw_only=True)
class Mixup(Unproven):
    """Trains on λ x + (1 - λ) x', with the loss λ ℓ(y) + (1 - λ) ℓ(y'); λ comes from Beta(``spread``, ``spread``).

    Each batch has one λ, and x' is the batch in another order. Records are blended as the model reads them. Nothing is
    guaranteed, and since a step mixes records it voids differential privacy. Zhang, Cisse, Dauphin & Lopez-Paz 2018,
    "mixup: Beyond Empirical Risk Minimization", ICLR, section 2.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS})
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Zhang et al. 2018"

    spread: float = 1.0

    def __post_init__(self) -> None:
        number("spread", self.spread, 0, float("inf"), open_ends=True)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe that trains on blends."""
        found = torch_recipe(recipe, "mixup")
        if isinstance(found.loss, Relaxed):
            raise ConfigError("The defence 'mixup' blends labels, and 'relaxloss' looks at the loss of single ones.")
        return replace(found, mixup=self.spread)
