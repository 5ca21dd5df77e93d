"""HAMP, the half that trains: labels of high entropy, and a reward for answers of high entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, softened
from vestige.defend.training.smoothing import BANDS
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

Scaling = Literal["reference", "batch"]


@dataclass(frozen=True, kw_only=True)
class HAMP(Unproven):
    """Trains on the most confident labels whose entropy is ``gamma`` · ln K, less a reward for the answer's entropy.

    A label gives the true class p and every other (1 - p)/(K - 1). The loss is KL(label ‖ answer) - a · H(answer) in
    nats; ``scaling`` says what ``alpha`` is: with ``reference``, the number that the authors' code takes, whose
    divergence is averaged over classes too, so that a = K · ``alpha``; with ``batch``, a = ``alpha``. The step itself
    keeps the recipe's learning rate, which is not divided by K, and momentum lives through all epochs. Published
    (gamma, alpha) of the reference scaling: purchases 0.8, 0.01; hospital stays 0.6, 0.01; places 0.5, 0.001; CIFAR-10
    0.95, 0.001. The half that serves is the answer defence ``rank_release``: list it after this one. Nothing is
    guaranteed; attacks on labels and ranks see as much as before. Chen & Pattabiraman 2024, "Overconfidence is a
    Dangerous Thing", NDSS, sections III and IV.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "noise", *BANDS)
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Chen & Pattabiraman 2024"

    gamma: float = 0.8
    alpha: float = 0.01
    scaling: Scaling = "reference"

    def __post_init__(self) -> None:
        number("gamma", self.gamma, 0, 1, open_ends=True)
        number("alpha", self.alpha, 0, float("inf"))
        if self.scaling not in get_args(Scaling):
            raise ConfigError(f"Expected scaling to be reference or batch, got {self.scaling!r}.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with soft labels and the reward."""
        # The divergence and the cross-entropy differ by the labels' own entropy, which no weight changes.
        # Without a reward nothing is counted by class, and another defence's penalty must not be.
        per_class = self.scaling == "reference" and self.alpha > 0
        return softened(recipe, "hamp", entropy=self.gamma, penalty=self.alpha, per_class=per_class)
