"""Models followed while they train: what they answer after every epoch, and students of other models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.backends import compiled
from vestige.errors import MissingDependency, ModelError
from vestige.records import Records
from vestige.target import FloatArray, IntArray, Outputs

if TYPE_CHECKING:
    from vestige.backends.ensemble import Plan
    from vestige.backends.torch import TorchRecipe
    from vestige.backends.torch_setup import Setup

Visit = Callable[[Outputs], None]


def follow(recipe: TorchRecipe, records: Records, rows: IntArray, seed: int, asked: IntArray, visit: Visit) -> None:
    """Train the model that ``recipe.fit`` would, to the byte, and show its answers to ``asked`` after each epoch.

    A model that stopped early stays as it was after its best epoch: that is what is shown of all later ones.
    """
    if recipe.stopping is not None:
        shown: list[Outputs] = []
        best = _follow(recipe, records, rows, seed, asked, shown.append)
        for epoch in range(recipe.epochs):
            visit(shown[min(epoch, best)])
        return
    _follow(recipe, records, rows, seed, asked, visit)


def _follow(recipe: TorchRecipe, records: Records, rows: IntArray, seed: int, asked: IntArray, visit: Visit) -> int:
    """Show what is trained after each epoch, and return the epoch that the model is taken from."""
    if compiled.takes(recipe):
        from vestige.backends.compiled.setup import Setup as Compiled

        return Compiled.of(recipe, records).follow(records, rows, seed, asked, visit)
    setup = _setup(recipe, records)
    return _train(setup, setup.plan, rows, seed, recipe.threads, asked, visit)


def distil(
    recipe: TorchRecipe, records: Records, x: Any, soft: FloatArray, seed: int, asked: IntArray, visit: Visit | None
) -> None:
    """Train a student on another model's probabilities, and show its answers to ``asked`` after each epoch.

    ``recipe``: how it is trained, but for the loss, the cross-entropy against those probabilities at temperature 1, and
    the records, which are shown as the other model saw them, never augmented. ``records``: the pool that ``asked``
    counts in, and that scales are fitted on; ``x``: what the other model was asked about; ``soft``: (D, C), what it
    said; ``visit``: None to train alone, which only benchmarks want.
    """
    setup = _setup(replace(recipe, augment="none", loss="auto", mixup=None, stopping=None), records)
    import torch

    from vestige.backends.ensemble.soft_labels import SoftCrossEntropy

    raw = setup.features.bytes_of(x) if setup.plan.x.dtype == torch.uint8 else None
    taught = replace(
        setup.plan,
        x=torch.from_numpy(np.array(setup.features(x) if raw is None else raw)).to(setup.plan.device),
        y=torch.from_numpy(np.ascontiguousarray(soft, np.float32)).to(setup.plan.device),
        loss=SoftCrossEntropy(),
    )
    _train(setup, taught, np.arange(len(soft), dtype=np.int64), seed, recipe.threads, asked, visit)


def _setup(recipe: TorchRecipe, records: Records) -> Setup:
    try:
        from vestige.backends.torch_setup import Setup
    except ImportError as error:
        raise MissingDependency("torch", extra="torch", purpose="Training torch models") from error
    return Setup.of(recipe, records)


def _train(
    setup: Setup, plan: Plan, rows: IntArray, seed: int, threads: int, asked: IntArray, visit: Visit | None
) -> int:
    from vestige.backends.ensemble import train_many
    from vestige.backends.ensemble.snapshots import Snapshots
    from vestige.backends.ensemble.watching import Watch

    if visit is None:
        train_many(plan, setup.graph, [rows], [seed], threads=threads)
        return plan.epochs - 1
    shown, told = Snapshots(setup.plan, setup.graph, asked), visit
    watch = None if plan.stopping is None else Watch(plan, setup.graph, plan.stopping, 1)

    def on_epoch(_: int, epoch: int, state: dict[str, Any]) -> None:
        try:
            answers = setup.target(state).checked(shown.answers(state), len(asked))
        except ModelError as error:
            raise ModelError(
                f"Training with seed {seed} diverged in epoch {epoch + 1}.",
                hint="Lower lr, or set normalize = 'standard'.",
            ) from error
        told(Outputs("logits" if setup.classes else "values", answers if setup.classes else answers.reshape(-1)))

    train_many(plan, setup.graph, [rows], [seed], threads=threads, on_epoch=on_epoch, watch=watch)
    return plan.epochs - 1 if watch is None else watch.best[0].epoch
