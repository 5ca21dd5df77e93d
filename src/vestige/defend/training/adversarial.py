"""Adversarial regularisation: the model plays against a network that tells its members from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

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

Sees = Literal["probabilities", "logits"]


@dataclass(frozen=True, kw_only=True)
class AdversarialRegularization(Unproven):
    """Adds ``strength`` times the gain of an attack network to the loss, and trains that network beside the model.

    The network h reads what the model answers (``sees``: probabilities as in the paper, or logits as in its authors'
    code) and the label, through layers of ``hidden`` units. Before each step of the model, h takes ``attack_steps``
    steps of Adam at ``attack_lr`` up its gain ½ E log h(member) + ½ E log(1 - h(other)), on as many members as records
    of the defender's own; then the model steps down its loss plus ``strength`` · ½ E log h(its batch). The first
    ``warm_up`` epochs are plain. The model answers h in evaluation mode; each only moves its own weights. The records
    to compare with are the reserve: they come to look like members themselves, so that nobody may be audited on them.

    Nothing is guaranteed: the game's optimum would make both kinds' answers alike, and no training reaches it. Attacks
    on labels alone and with shadow models of the same kind find what is left. Costs 1 + ``attack_steps`` times the
    training or more. Nasr, Shokri & Houmansadr 2018, "Machine Learning with Membership Privacy using Adversarial
    Regularization", CCS, section 4.
    """

    name: ClassVar[str] = "adversarial_regularization"
    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.COUPLES_RECORDS, Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "noise", "lira")
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Nasr et al. 2018"

    strength: float = 2.0
    attack_steps: int = 2
    attack_lr: float = 1e-3
    hidden: tuple[int, ...] = (128, 64)
    warm_up: int = 1
    sees: Sees = "probabilities"

    def __post_init__(self) -> None:
        given: object = self.hidden
        widths = tuple(given) if isinstance(given, list | tuple) else ()
        if not widths:
            raise ConfigError(f"Expected hidden to be a list of layer widths, got {given!r}.")
        for width in widths:
            whole("every entry of hidden", width, 1)
        object.__setattr__(self, "hidden", widths)
        number("strength", self.strength, 0, float("inf"))
        number("attack_lr", self.attack_lr, 0, float("inf"), open_ends=True)
        whole("attack_steps", self.attack_steps, 1)
        whole("warm_up", self.warm_up, 0)
        if self.sees not in get_args(Sees):
            raise ConfigError(f"Expected sees to be probabilities or logits, got {self.sees!r}.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe that plays the game; raises ConfigError without a reserve."""
        found = torch_recipe(recipe, self.name)
        if found.mixup is not None:
            raise ConfigError(f"The defence '{self.name}' shows h single labels, which mixup blends.")
        return GameRecipe(inner=found, network=found, defence=self, reserve=needed(reserve, self.name))


class GameRecipe(RivalRecipe):
    """Trains each model against an attack network of its own."""

    def trained(
        self, setup: Setup, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], on_epoch: OnEpoch | None
    ) -> list[State]:
        """Play one game per model."""
        from vestige.defend.training.games import Game
        from vestige.defend.training.schemes import train

        options: Any = self.defence
        games = [
            Game(setup.plan, options, own, self.reserve, seed, len(records.classes))
            for own, seed in zip(rows, seeds, strict=True)
        ]
        return train(setup, rows, seeds, games, threads=self.network.threads, on_epoch=on_epoch)
