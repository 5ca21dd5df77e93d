"""Trainings that end early, after any number of their epochs, and all of them from one history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vestige.backends import compiled
from vestige.backends.schedules import SCHEDULES
from vestige.backends.torch import TorchRecipe
from vestige.errors import UsageError
from vestige.records import Records
from vestige.target import IntArray, Target


@dataclass(frozen=True)
class Until:
    """The learning rates of the first ``epochs`` of a training of ``whole`` epochs, to the bit."""

    schedule: str | Callable[[float], float]
    epochs: int
    whole: int

    def __call__(self, share: float) -> float:
        """Return the factor on the learning rate when a share of these epochs is done."""
        base = SCHEDULES[self.schedule] if isinstance(self.schedule, str) else self.schedule
        return float(base(round(share * self.epochs) / self.whole))


def stopped(recipe: TorchRecipe, epochs: int) -> TorchRecipe:
    """Return the recipe that ends after so many epochs, as if its training had been broken off there."""
    if not 1 <= epochs <= recipe.epochs:
        raise UsageError(f"Expected to stop after 1 to {recipe.epochs} epochs, got {epochs}.")
    if epochs == recipe.epochs:
        return recipe
    return replace(recipe, epochs=epochs, schedule=Until(recipe.schedule, epochs, recipe.epochs))


def histories(
    recipe: TorchRecipe, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], epochs: Sequence[int]
) -> list[dict[int, Target]]:
    """Return each model as it was after each of these epochs; every one is what `stopped` trains, to the byte."""
    asked = set(epochs)
    if compiled.takes(recipe):
        return [_compiled(recipe, records, own, seed, asked) for own, seed in zip(rows, seeds, strict=True)]
    from vestige.backends.ensemble import train_many
    from vestige.backends.torch_setup import Setup

    setup, found = Setup.of(recipe, records), [dict[int, Target]() for _ in seeds]

    def seen(model: int, epoch: int, state: dict[str, Any]) -> None:
        if epoch + 1 in asked:
            found[model][epoch + 1] = setup.target({name: tensor.cpu().clone() for name, tensor in state.items()})

    train_many(setup.plan, setup.graph, rows, seeds, threads=recipe.threads, on_epoch=seen)
    return found


def _compiled(recipe: TorchRecipe, records: Records, rows: IntArray, seed: int, asked: set[int]) -> dict[int, Target]:
    from vestige.backends.compiled.setup import Setup

    setup, found = Setup.of(recipe, records), dict[int, Target]()

    def seen(epoch: int, state: Any) -> None:
        if epoch + 1 in asked:
            found[epoch + 1] = setup.target({name: np.array(array) for name, array in state.items()})

    setup.train(rows, seed, on_epoch=seen)
    return found
