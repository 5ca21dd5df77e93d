"""Labels and answers that are less sure: label smoothing and the confidence penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, softened
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

BANDS: tuple[Named, ...] = (
    {"name": "loss", "params": {"thresholds": "band"}},
    {"name": "modified_entropy", "params": {"thresholds": "class"}},
)
"""What aims at losses that are held up: members may lie on both sides of what is usual, class by class."""


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Unproven):
    """Trains on labels that give the true class 1 - α + α/K and every other α/K, with α = ``smoothing``.

    Nothing is guaranteed, and it can leak more than it hides: smoothed models were found easier to attack, and easier
    to invert, than plain ones (Kaya, Hong & Dumitras 2020; Struppek, Hintersdorf & Kersting 2024), so that it should be
    judged before it is used. A negative α sharpens labels instead; then what a class's probability below e⁻¹⁶ would
    still gain is cut off, so that the loss stays finite. Published intensities are 0.01 to 0.1. Szegedy, Vanhoucke,
    Ioffe, Shlens & Wojna 2016, "Rethinking the Inception Architecture", CVPR, section 7.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = BANDS
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Szegedy et al. 2016"

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        number("smoothing", self.smoothing, -1, 1, open_ends=True)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with smoothed labels."""
        return softened(recipe, "label_smoothing", smoothing=self.smoothing)


@dataclass(frozen=True, kw_only=True)
class ConfidencePenalty(Unproven):
    """Trains on the cross-entropy less ``weight`` times the entropy of the answer, in nats.

    The larger the weight, the closer answers come to uniform ones. Nothing is guaranteed. Pereyra, Tucker, Chorowski,
    Kaiser & Hinton 2017, "Regularizing Neural Networks by Penalizing Confident Output Distributions", section 3.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = BANDS
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Pereyra et al. 2017"

    weight: float = 0.1

    def __post_init__(self) -> None:
        number("weight", self.weight, 0, float("inf"))

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with the penalty."""
        return softened(recipe, "confidence_penalty", penalty=self.weight)
