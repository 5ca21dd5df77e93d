"""What every private training has: the loop's parameters, the engine, and recipes that it can change."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from vestige.backends.table_noise import TableNoise
from vestige.backends.torch import TorchRecipe
from vestige.defend.base import Named, Trait
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Part
    from vestige.defend.private.dp_recipe import PrivateRecipe
    from vestige.defend.private.randomness import Randomness
    from vestige.records import Records

Engine = Literal["auto", "batched", "opacus"]
Mode = Literal["hooks", "functorch", "ghost"]
GHOST = (
    "gradients' norms are Opacus' ghost norms in single precision: where the parts of a record's gradient cancel, the "
    "norm's square is too small by about 1e-7 of the square of their sizes, and no record is taken to be such a one"
)


@dataclass(frozen=True, kw_only=True)
class PrivateLoop:
    """Noisy steps with cut gradients, whatever the budget is and whoever it is of."""

    guarantee: ClassVar[Guarantee] = "G1"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.CLIPS_RECORDS})
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False

    delta: float | None = None
    max_grad_norm: float = 1.0
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    batch_norm: Literal["replace", "refuse"] = "replace"
    engine: Engine = "auto"
    mode: Mode = "hooks"
    release: bool = False

    def __post_init__(self) -> None:
        for name in ("max_grad_norm", "lr"):
            value = getattr(self, name)
            if value is not None and not (number(value) and value > 0):
                raise ConfigError(f"Expected {name} to be a number above 0, got {value!r}.")
        if self.delta is not None and not (number(self.delta) and 0 < self.delta < 1):
            raise ConfigError(f"Expected delta to be above 0 and below 1, got {self.delta!r}.")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"Expected {name} to be a whole number of at least 1, got {value!r}.")
        for name, known in (
            ("engine", get_args(Engine)),
            ("mode", get_args(Mode)),
            ("batch_norm", ("replace", "refuse")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"Expected {name} to be one of {', '.join(known)}, got {getattr(self, name)!r}.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> PrivateRecipe:  # noqa: ARG002
        """Return the recipe trained privately; raises ConfigError for one that is not a `TorchRecipe`."""
        from vestige.defend.private.dp_recipe import PrivateRecipe

        return PrivateRecipe(inner=self._changed(recipe), defence=self)

    def terms(self, epochs: int, batch_size: int, members: int) -> Terms:
        """Return rate, steps and noise for so many members."""
        raise NotImplementedError

    def part(self, random: Randomness, terms: Terms, records: Records, rows: IntArray) -> Part:
        """Return how often and how far each of one model's records may move it."""
        raise NotImplementedError

    def _changed(self, recipe: Recipe) -> TorchRecipe:
        if not isinstance(recipe, TorchRecipe):
            raise ConfigError(
                f"Private training works for torch recipes, and this one is a {type(recipe).__name__}.",
                hint="Set [recipe] kind = 'torch'; defences that train by a loop of their own cannot stand before it.",
            )
        if recipe.mixup is not None:
            raise ConfigError(
                "Mixup blends records, so that one record's gradient depends on another, which voids every claim.",
                hint="Remove mixup from the recipe.",
            )
        if recipe.stopping is not None:
            raise ConfigError(
                "Private training takes every step that it accounts for, and early stopping would end it before.",
                hint="Remove early_stopping, and set fewer epochs.",
            )
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(recipe, **changed) if changed else recipe

    def _assumed(self, terms: Terms) -> tuple[str, ...]:
        noise = (
            (
                "noise and samples come from a pseudo-random generator whose whole state the operating system drew",
                "normal numbers are sums of four, in floats of single precision",
            )
            if self.release
            else (
                "noise is reproducible from the seed: not a release",
                "normal numbers are floats of single precision",
            )
        )
        ghost = (GHOST,) if self.mode == "ghost" and self.engine != "batched" else ()
        replaced = ("batch normalisation, where the module has it, is replaced by group normalisation",)
        return (
            f"the number of records, to two digits ({terms.count}), is public",
            "every batch is a Poisson sample, and every step is taken, also with an empty one",
            *noise,
            *ghost,
            *(replaced if self.batch_norm == "replace" else ()),
        )


def number(value: object) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def excluded(recipe: TorchRecipe) -> tuple[str, ...]:
    """Return what no claim about a private training of this recipe covers."""
    found = ["hyper-parameter selection"]
    if recipe.normalize != "none":
        found.append("the scales of the features, where they were fitted to all records (normalize)")
    if isinstance(recipe.augment, TableNoise):
        found.append("which values each feature has, which the augmentation reads off all records")
    elif not isinstance(recipe.augment, str):
        found.append("an augmentation of one's own that mixes records")
    return tuple(found)
