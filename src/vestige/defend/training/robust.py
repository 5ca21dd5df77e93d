"""Adversarial training: on records that were moved, within a small box, to where the model's loss is largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.defend.training.rival import RivalRecipe, whole
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.records import Records
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup

Aim = Literal["madry", "trades"]


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Unproven):
    """Trains on adversarial examples, which makes a model robust to small changes of its input, **not** more private.

    **It can raise leakage**: robust models have been found to show up to 4.5 times the membership advantage of plain
    ones (Song, Shokri & Mittal 2019). It is here because it is often named among defences; judge it by an audit.

    Each record of a batch starts at a random point of the box of ``epsilon`` around it and takes ``steps`` steps of
    ``step_size`` along the sign of the loss's gradient, in evaluation mode, kept inside the box and inside the range
    that the records' features have. Both lengths are shares of that range, so that for images 8/255 and 2/255 mean what
    they usually do. ``aim``: ``madry`` trains on the moved records alone; ``trades`` on the plain ones, plus ``beta``
    times the divergence of the answers to the moved ones, which are moved to where it is largest. What a record adds
    depends on itself and the model alone. Costs ``steps`` + 1 times the training. Nothing is guaranteed. Madry et al.
    2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR, section 2; Zhang et al. 2019,
    "Theoretically Principled Trade-off between Robustness and Accuracy", ICML, algorithm 1.
    """

    name: ClassVar[str] = "adversarial_training"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("boundary", "noise")
    reserve: ClassVar[bool] = False
    paper: ClassVar[str] = "Madry et al. 2018"

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    aim: Aim = "madry"
    beta: float = 6.0

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, 0, 1)
        number("step_size", self.step_size, 0, 1)
        number("beta", self.beta, 0, float("inf"))
        whole("steps", self.steps, 1)
        if self.aim not in get_args(Aim):
            raise ConfigError(f"Expected aim to be madry or trades, got {self.aim!r}.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe that trains on moved records."""
        import numpy as np

        found = torch_recipe(recipe, self.name)
        if found.mixup is not None:
            raise ConfigError(f"The defence '{self.name}' moves single records, which mixup blends.")
        return RobustRecipe(inner=found, network=found, defence=self, reserve=np.zeros(0, np.int64))


class RobustRecipe(RivalRecipe):
    """Trains models on adversarial examples."""

    def trained(
        self,
        setup: Setup,
        records: Records,  # noqa: ARG002
        rows: Sequence[IntArray],
        seeds: Sequence[int],
        on_epoch: OnEpoch | None,
    ) -> list[State]:
        """Train each model on examples against itself."""
        from vestige.defend.training.hardening import Hardening, range_of
        from vestige.defend.training.schemes import train

        options: Any = self.defence
        box = range_of(setup.plan)
        schemes = [Hardening(setup.plan, options, box, seed) for seed in seeds]
        return train(setup, rows, seeds, schemes, threads=self.network.threads, on_epoch=on_epoch)
