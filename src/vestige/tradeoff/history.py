"""The early-stopping curve: every model is trained once, and kept as it was after each of the epochs wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vestige.backends.checkpoints import histories, stopped
from vestige.backends.torch import TorchRecipe
from vestige.executors import EXECUTORS
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.shadow import model_key
from vestige.split import Split
from vestige.store import Store
from vestige.target import IntArray


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A handful of models; ``keys``: for each of them, the store key of every epoch."""

    recipe: TorchRecipe
    records: Records
    rows: tuple[IntArray, ...]
    seeds: tuple[int, ...]
    keys: tuple[dict[int, str], ...]
    store: str


def remember(
    recipe: TorchRecipe,
    records: Records,
    split: Split,
    epochs: Sequence[int],
    store: Store,
    *,
    executor: str,
    workers: int,
    progress: Progress,
) -> int:
    """Put every model of a split into the store as it was after each of ``epochs``; return how many were trained.

    An audit of `stopped` then finds them there. A recipe that stops early by itself has no such history, and each of
    its audits trains its own.
    """
    if getattr(recipe, "stopping", None) is not None:
        return 0
    recipes = {epoch: stopped(recipe, epoch) for epoch in epochs}
    places: list[tuple[IntArray, int, dict[int, str]]] = []
    for model in range(1 + split.shadows):
        rows, seed = split.rows(model), seed_for(split.seed, "model", model)
        keys = {epoch: model_key(one, records, rows, seed) for epoch, one in recipes.items()}
        if not all(store.has("models", key) for key in keys.values()):
            places.append((rows, seed, keys))
    if not places:
        return 0
    size = max(1, recipe.chunk_size(records))
    jobs = []
    for start in range(0, len(places), size):
        rows_, seeds, keys_ = zip(*places[start : start + size], strict=True)
        jobs.append(_Job(recipe=recipe, records=records, rows=rows_, seeds=seeds, keys=keys_, store=str(store.root)))
    options: dict[str, Any] = {"workers": workers}
    if executor == "inline":
        options = {"threads": workers if recipe.threaded else 1}
    progress.begin("models", 1 + split.shadows, reused=1 + split.shadows - len(places))
    for index, _ in EXECUTORS.create(executor, options).run(_perform, jobs):
        progress.advance("models", len(jobs[index].rows))
    progress.end("models")
    return len(places)


def _perform(job: _Job) -> int:
    store = Store(job.store)
    wanted = sorted(job.keys[0])
    found = histories(job.recipe, job.records, job.rows, job.seeds, wanted)
    for keys, seed, models in zip(job.keys, job.seeds, found, strict=True):
        for epoch, key in keys.items():
            store.put("models", key, models[epoch].state(), {"seed": seed})  # type: ignore[attr-defined]
    return len(found)
