"""Augmentation: training on records that were changed at random, anew every time they are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast, get_args

from vestige.backends.table_noise import Kind, TableNoise
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe

Images = Literal["flip", "shift", "flip+shift"]


@dataclass(frozen=True, kw_only=True)
class Augment(Unproven):
    """Changes every record at random each time that it is shown in training, and never when answering.

    ``kind``, for images: ``flip`` mirrors left to right with probability one half, ``shift`` moves by up to four pixels
    each way, ``flip+shift`` does both. For tables, where each feature is changed with probability ``share``: ``bits``
    takes the other value of features that have two, ``resample`` the value of one of the defender's own records, and
    ``mixed`` does the first where it can and the second elsewhere; features are those that the network reads, one-hot
    columns included. Nothing is guaranteed, and who asks about the changed versions of a record may find more than
    about a plain model. Yu, Zhang, Chen, Yin & Liu 2021, "How Does Data Augmentation Affect Privacy in Machine
    Learning?", AAAI.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ("augmentation",)
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Yu et al. 2021"

    kind: Images | Kind = "mixed"
    share: float = 0.05

    def __post_init__(self) -> None:
        known = (*get_args(Images), *get_args(Kind))
        if self.kind not in known:
            raise ConfigError(f"Expected kind to be one of {', '.join(known)}, got {self.kind!r}.")
        number("share", self.share, 0, 1)
        if self.kind not in ("resample", "mixed"):
            object.__setattr__(self, "reserve", False)
        if self.kind not in get_args(Images):
            # What moves images says nothing of tables.
            object.__setattr__(self, "adaptive", ("noise",))

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe that changes its records; raises ConfigError for one that does already."""
        found = torch_recipe(recipe, "augment")
        if found.augment != "none":
            raise ConfigError(
                "The defence 'augment' would replace the recipe's own augmentation.", hint="Set [recipe] augment."
            )
        if self.kind in get_args(Images):
            return replace(found, augment=self.kind)
        if self.reserve and not len(reserve):
            raise ConfigError(f"The augmentation '{self.kind}' needs records of the defender's own.")
        rows = tuple(map(int, reserve)) if self.reserve else ()
        noise = TableNoise(cast(Kind, self.kind), float(self.share), rows)
        return replace(found, augment=noise)
