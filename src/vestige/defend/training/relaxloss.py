"""RelaxLoss: training that does not let the loss on its records fall below that on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vestige.backends.objectives import Relaxed
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, relaxed
from vestige.defend.training.smoothing import BANDS
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

Flatten = Literal["paper", "reference"]


@dataclass(frozen=True, kw_only=True)
class RelaxLoss(Unproven):
    """Holds the cross-entropy of every batch at ``level`` nats, and flattens answers where it is below.

    In even epochs, counted from 0, training descends where a batch's loss lies above the level and climbs where it lies
    below. In odd ones it descends above, and below it aims at labels that keep the model's own probability of the true
    class, at most ``upper``, and share the rest equally. ``flatten``: ``paper`` takes those labels as given;
    ``reference``, what the authors' published code does, also climbs the cross-entropy of every record, pulls wrong
    answers alone towards the labels, and differentiates through them. ``per_record`` decides record by record: the form
    that training with clipped gradients of single records allows. Published levels (``upper``): 0.8 (0.3) for
    purchases, 2.5 (0.1) for hospital stays, 0.4 to 3 (1) for images. Nothing is guaranteed, and losses above the level
    can give members away as losses below did. Chen, Yu & Fritz 2022, "RelaxLoss", ICLR, section 4 and algorithm 1.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS})
    adaptive: ClassVar[tuple[Named, ...]] = BANDS
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Chen, Yu & Fritz 2022"

    level: float = 0.8
    upper: float = 1.0
    flatten: Flatten = "paper"
    per_record: bool = False

    def __post_init__(self) -> None:
        number("level", self.level, 0, float("inf"))
        number("upper", self.upper, 0, 1)
        if self.flatten not in get_args(Flatten):
            raise ConfigError(f"Expected flatten to be paper or reference, got {self.flatten!r}.")
        if not isinstance(self.per_record, bool):
            raise ConfigError(f"Expected per_record to be true or false, got {self.per_record!r}.")
        if self.per_record:
            # Each record's term then depends on that record alone.
            object.__setattr__(self, "traits", frozenset())

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe with the relaxed loss."""
        objective = Relaxed(level=self.level, upper=self.upper, flatten=self.flatten, per_record=self.per_record)
        return relaxed(recipe, "relaxloss", objective)
