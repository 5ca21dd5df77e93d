"""Early stopping: training ends when it no longer helps on records of the defender's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.stopping import Stopping
from vestige.defend.base import Named, Trait
from vestige.defend.training.common import Unproven, number, torch_recipe
from vestige.defend.training.estimators import stopped
from vestige.defend.training.rival import whole
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import IntArray, Recipe


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Unproven):
    """Stops once the loss on the defender's own records has not fallen for ``patience`` epochs; the best weights stay.

    An epoch counts as better when its loss is lower by more than ``margin``. The records are the reserve that the audit
    sets aside: no model trains on them and nobody is audited on them. The loss is the plain one, whatever training aims
    at. The recipe's schedule still runs over all of its epochs. An estimator stops by its own rule, on a part of its
    training records. Nothing is guaranteed; it is the curve that any other defence has to beat. Song & Mittal 2021,
    "Systematic Evaluation of Privacy Risks of Machine Learning Models", USENIX Security, section 5.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Song & Mittal 2021"

    patience: int = 10
    margin: float = 0.0

    def __post_init__(self) -> None:
        whole("patience", self.patience, 1)
        number("margin", self.margin, 0, float("inf"))

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe that watches the reserve; raises ConfigError without one."""
        if isinstance(recipe, SklearnRecipe):
            return stopped(recipe, self.patience)
        found = torch_recipe(recipe, "early_stopping")
        if not len(reserve):
            raise ConfigError(
                "The defence 'early_stopping' needs records of the defender's own to judge epochs on.",
                hint="Raise [data] population.",
            )
        rows = tuple(map(int, reserve))
        return replace(found, stopping=Stopping(rows=rows, patience=self.patience, margin=self.margin))
