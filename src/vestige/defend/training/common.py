"""What defences that change the loop of a torch recipe have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from vestige.backends.objectives import Relaxed, Softened
from vestige.backends.torch import TorchRecipe
from vestige.errors import ConfigError
from vestige.privacy_claim import PrivacyClaim
from vestige.target import Recipe


class Unproven:
    """What training defences without a guarantee have in common."""

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim | None:  # noqa: ARG002
        """Return None: nothing is proven."""
        return None


def torch_recipe(recipe: Recipe, name: str) -> TorchRecipe:
    """Return a torch recipe as it is; raises ConfigError, for the defence called ``name``, for any other."""
    if isinstance(recipe, TorchRecipe):
        return recipe
    raise ConfigError(
        f"The defence '{name}' changes how torch models are trained, and this recipe is a {type(recipe).__name__}.",
        hint="Set [recipe] kind = 'torch', and list this defence before others that wrap the recipe.",
    )


def softened(recipe: Recipe, name: str, **changes: Any) -> TorchRecipe:
    """Return the recipe with its cross-entropy softened further.

    Raises ConfigError where it trains on something else, or where another defence has set what this one would.
    """
    found = torch_recipe(recipe, name)
    if found.loss in ("auto", "cross_entropy"):
        return replace(found, loss=Softened(**changes))
    if isinstance(found.loss, Softened):
        for field in changes:
            if getattr(found.loss, field):
                raise ConfigError(f"The defence '{name}' would change the {field} that another defence has set.")
        labels = ("smoothing", "entropy")
        if all(changes.get(field) or getattr(found.loss, field) for field in labels):
            raise ConfigError(f"The defence '{name}' and another one each set what labels are softened to.")
        return replace(found, loss=replace(found.loss, **changes))
    raise ConfigError(f"The defence '{name}' changes the cross-entropy, and {_own(found)}.", hint="Remove one of them.")


def relaxed(recipe: Recipe, name: str, objective: Relaxed) -> TorchRecipe:
    """Return the recipe with its cross-entropy held up; raises ConfigError where it trains on something else."""
    found = torch_recipe(recipe, name)
    if found.loss not in ("auto", "cross_entropy"):
        raise ConfigError(f"The defence '{name}' relaxes the cross-entropy, and {_own(found)}.", hint="Remove one.")
    if found.mixup is not None:
        raise ConfigError(f"The defence '{name}' looks at the loss of single labels, which mixup blends.")
    return replace(found, loss=objective)


def _own(recipe: TorchRecipe) -> str:
    if isinstance(recipe.loss, Relaxed | Softened):
        return "another defence has changed it already"
    return "this recipe has a loss of its own" if callable(recipe.loss) else f"this recipe has loss = '{recipe.loss}'"


def number(name: str, value: Any, least: float, most: float, *, open_ends: bool = False) -> None:
    """Raise ConfigError for a parameter that is not a number from ``least`` to ``most``, or strictly between."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if good and (least < value < most if open_ends else least <= value <= most):
        return
    between = f"between {least:g} and {most:g}" if open_ends else f"from {least:g} to {most:g}"
    between = between if math.isfinite(most) else f"{'above' if open_ends else 'of at least'} {least:g}"
    raise ConfigError(f"Expected {name} to be a number {between}, got {value!r}.")
