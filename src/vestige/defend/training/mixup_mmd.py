"""Mixup, and a penalty on how far members' answers lie from those to other records of their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vestige.backends.objectives import Relaxed
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.defend.training.rival import RivalRecipe, needed, whole
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.records import Records
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup


@dataclass(frozen=True, kw_only=True)
class MixupMMD(Unproven):
    """Trains on blends of records, and pulls what the model answers to members of a class towards what it answers to
    records of the defender's own of that class.

    Every step draws a class, up to ``matched`` members and as many of the reserve in it, and adds ``strength`` times
    the unbiased squared maximum mean discrepancy of their probabilities, under a Gaussian kernel as wide as the median
    distance among them; only the members' side is moved. This begins after a share ``start`` of the epochs: as long as
    all answers are alike, the kernel is narrow and its slope steep. Blends are drawn from Beta(``spread``, ``spread``),
    one a batch; 0 blends nothing. Classes with fewer than two records on either side are never drawn. Layers that
    normalise over a batch normalise all that a step shows together.

    Nothing is guaranteed, and the reserve is trained on in a weak way: audit nobody on it. Too large a ``strength``
    costs accuracy; the authors choose it so that training accuracy falls to the accuracy on the reserve. Costs (B + 2
    ``matched``)/B times the training, for batches of B. Li, Li & Ribeiro 2021, "Membership Inference Attacks and
    Defenses in Classification Models", CODASPY, section 5.
    """

    name: ClassVar[str] = "mixup_mmd"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS, Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ({"name": "confidence", "params": {"thresholds": "class"}}, "noise", "lira")
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Li et al. 2021"

    strength: float = 1.0
    spread: float = 1.0
    matched: int = 16
    start: float = 0.5

    def __post_init__(self) -> None:
        number("strength", self.strength, 0, float("inf"))
        number("spread", self.spread, 0, float("inf"))
        number("start", self.start, 0, 1)
        whole("matched", self.matched, 2)

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe with both; raises ConfigError without a reserve, or where blends are set already."""
        found = torch_recipe(recipe, self.name)
        if found.mixup is not None:
            raise ConfigError(f"The defences 'mixup' and '{self.name}' both blend records.", hint="Remove 'mixup'.")
        if isinstance(found.loss, Relaxed) and self.spread:
            raise ConfigError(
                f"The defence '{self.name}' blends labels, and 'relaxloss' looks at the loss of single ones."
            )
        return MatchedRecipe(inner=found, network=found, defence=self, reserve=needed(reserve, self.name))


class MatchedRecipe(RivalRecipe):
    """Trains models whose answers to members are held near those to the reserve."""

    def trained(
        self,
        setup: Setup,
        records: Records,  # noqa: ARG002
        rows: Sequence[IntArray],
        seeds: Sequence[int],
        on_epoch: OnEpoch | None,
    ) -> list[State]:
        """Train the models together."""
        from vestige.defend.training.matching import Matching
        from vestige.defend.training.schemes import train

        options: Any = self.defence
        schemes = [
            Matching(setup.plan, options, own, self.reserve, seed) for own, seed in zip(rows, seeds, strict=True)
        ]
        return train(setup, rows, seeds, schemes, threads=self.network.threads, on_epoch=on_epoch)
