"""Training that goes on where another model's ended."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends import compiled
from vestige.backends.estimators import said
from vestige.backends.sklearn import SklearnRecipe, SklearnTarget
from vestige.backends.torch import TorchRecipe, TorchTarget
from vestige.errors import ModelError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import IntArray, Recipe, Target

HINT = "Use kind = 'retrain', which trains anew on the old and the new records."


def tune(
    recipe: Recipe,
    records: Records,
    rows: Sequence[IntArray],
    seeds: Sequence[int],
    starts: Sequence[Target],
    *,
    epochs: int | None = None,
    lr: float | None = None,
) -> list[Target]:
    """Train each of ``starts``, which the recipe trained before, on rows of its own; they themselves stay as they are.

    A torch recipe trains with a new optimiser for ``epochs`` at ``lr`` (None: its own). Estimators need
    ``partial_fit``, which shows the rows ``epochs`` times (None: once) in random order. Raises UsageError for a recipe
    that cannot go on.
    """
    if isinstance(recipe, TorchRecipe):
        return _torch(recipe, records, rows, seeds, starts, epochs, lr)
    if lr is not None:
        raise UsageError("[update] lr is for torch models; others keep the learning rate that they have.")
    if isinstance(recipe, SklearnRecipe):
        return [_estimator(records, *each, epochs) for each in zip(rows, seeds, starts, strict=True)]
    raise UsageError(
        f"A model trained by a {type(recipe).__name__} cannot be fine-tuned here.",
        hint=f"{HINT} Or let a training function return vestige.Updated([before, after]).",
    )


def _torch(
    recipe: TorchRecipe,
    records: Records,
    rows: Sequence[IntArray],
    seeds: Sequence[int],
    starts: Sequence[Target],
    epochs: int | None,
    lr: float | None,
) -> list[Target]:
    changes: dict[str, Any] = {name: v for name, v in (("epochs", epochs), ("lr", lr)) if v is not None}
    changed = replace(recipe, **changes)
    if compiled.takes(changed):
        from vestige.backends.compiled.setup import Setup as Compiled

        small = Compiled.of(changed, records)
        before = [one.state() for one in starts if isinstance(one, TorchTarget)]
        return [small.train(*own) for own in zip(rows, seeds, before, strict=True)]
    from vestige.backends.ensemble import train_many
    from vestige.backends.torch_setup import Setup

    setup = Setup.of(changed, records)
    weights = [one.moved_state() for one in starts if isinstance(one, TorchTarget)]
    states = train_many(setup.plan, setup.graph, rows, seeds, threads=recipe.threads, start=weights)
    if not all(bool(t.isfinite().all()) for state in states for t in state.values()):
        raise ModelError(
            "Fine-tuning ended in weights that are not finite numbers.", hint="Lower [update] lr, or its epochs."
        )
    return [setup.target({name: t.cpu() for name, t in state.items()}) for state in states]


def _estimator(records: Records, rows: IntArray, seed: int, start: Target, epochs: int | None) -> Target:
    assert isinstance(start, SklearnTarget)
    if not hasattr(start.estimator, "partial_fit"):
        raise UsageError(f"A {type(start.estimator).__name__} cannot be fine-tuned: it has no partial_fit.", hint=HINT)
    model, random = copy.deepcopy(start.estimator), rng(seed, "tuning")
    for _ in range(epochs or 1):
        order = random.permutation(rows)
        x = records.rows_of(order)
        if start.flatten and isinstance(x, np.ndarray) and x.ndim > 2:
            x = x.reshape(len(x), -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.partial_fit(x, _labels(start, records.y[order]))
            except Exception as error:  # such as a class that the model has not seen before
                raise ModelError(f"Fine-tuning a {type(model).__name__} failed: {said(error)}.", hint=HINT) from error
    return replace(start, estimator=model)


def _labels(start: SklearnTarget, y: NDArray[Any]) -> NDArray[Any]:
    """Return class indices as the labels that the estimator has for them."""
    if start.known is None or start.columns is None:
        return y
    strange = np.setdiff1d(y, start.columns)
    if len(strange):
        raise UsageError(
            f"The model before the update has not seen the class of number {int(strange[0])}, and partial_fit cannot "
            "add one.",
            hint="Set aside a larger [update] base.",
        )
    place = np.argsort(start.columns)
    labels: NDArray[Any] = np.asarray(start.known)[place[np.searchsorted(start.columns[place], y)]]
    return labels
