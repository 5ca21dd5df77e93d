"""Train what the coins say and score the canaries, by way of the store: what was done before is not done again.

A score that is a signal goes the way of every signal: many models at once, restored models asked anew. A score that is
a function, or that is taken during training, has jobs of its own, one model each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.fingerprints import fingerprint
from vestige.canary.coins import Flips
from vestige.canary.design import RISING, Design
from vestige.canary.making import Canaries
from vestige.errors import DataError, ModelError, UsageError, VestigeError
from vestige.executors import EXECUTORS
from vestige.executors.outcomes import JobError
from vestige.metrics.estimate import Array
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.shadow import Demand, ShadowPool, gather, look, model_key
from vestige.split import Split
from vestige.store import Store, digest
from vestige.target import IntArray, Recipe, Target

SCORES_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """``scores``: (models, rows of `Canaries.scored`), larger = more likely trained on; targets first, then references.

    ``accuracy``: each model's share of right answers on those it trained on and on the others, where it was measured.
    """

    scores: Array
    trained: int
    reused: int
    seconds: float
    accuracy: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labour:
    """Where the work is done."""

    store: Store
    executor: str = "inline"
    workers: int = 2
    keep_models: bool = True

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"Expected at least one worker, got {self.workers}.")


def split_of(canaries: Canaries, flips: Flips, design: Design) -> Split:
    """Return who trains on what, as every other part of the library reads it."""
    masks = np.stack([canaries.mask(coins) for coins in flips.all])
    return Split(
        masks,
        np.arange(len(masks), dtype=np.int64),
        canaries.scored,
        np.zeros(0, np.int64),
        seed_for(design.seed, "canary", "models"),
        "given",
    )


def demand_of(canaries: Canaries, design: Design) -> Demand:
    """Return which signals are wanted of every model."""
    name = str(design.score)
    return Demand(keys=(name,), rows=canaries.scored, seed=design.seed, label_only=name == "correct")


def count_missing(canaries: Canaries, flips: Flips, recipe: Recipe, design: Design, store: Store) -> int:
    """Return how many models are still to be trained and scored."""
    split = split_of(canaries, flips, design)
    if not callable(design.score):
        return len(look(split, recipe, canaries.pool, demand_of(canaries, design), store).missing)
    return sum(not store.has("canary", job.key) for job in jobs_of(split, canaries, recipe, design, store))


def scored(
    canaries: Canaries, flips: Flips, recipe: Recipe, design: Design, labour: Labour, progress: Progress
) -> Scored:
    """Return the canaries' scores under every model; raises ModelError when one cannot be trained or asked."""
    split = split_of(canaries, flips, design)
    if callable(design.score):
        jobs = jobs_of(split, canaries, recipe, design, labour.store)
        return run_jobs(jobs, own_score, labour, progress)
    pool = gather(
        split,
        recipe,
        canaries.pool,
        demand_of(canaries, design),
        labour.store,
        executor=labour.executor,
        workers=labour.workers,
        keep_models=labour.keep_models,
        progress=progress,
    )
    name, ids = str(design.score), canaries.pool.ids[canaries.scored]
    sign = RISING[name.partition("(")[0]]
    rows = [by_id(ids, dict(zip(ids.tolist(), one, strict=True))) for one in _column(pool, name)]
    return Scored(
        scores=sign * np.stack(rows),
        trained=pool.trained,
        reused=pool.reused,
        seconds=pool.seconds,
        accuracy=_accuracy(pool, flips, len(canaries)),
        notes=pool.notes,
    )


def _column(pool: ShadowPool, name: str) -> list[NDArray[Any]]:
    values = [np.asarray(pool.signals.model(name, k), np.float64) for k in range(pool.signals.models)]
    return [one.reshape(len(one), -1)[:, 0] for one in values]


def _accuracy(pool: ShadowPool, flips: Flips, count: int) -> tuple[float, float] | None:
    if "correct" not in pool.signals.columns:
        return None
    right = np.stack(_column(pool, "correct"))[: len(flips.targets), :count]
    inside, outside = right[flips.targets], right[~flips.targets]
    return (float(inside.mean()), float(outside.mean())) if len(inside) and len(outside) else None


def by_id(ids: NDArray[Any], scores: Mapping[Any, Any]) -> Array:
    """Return the scores in the order of ``ids``; raises DataError for one that is missing or not a number."""
    missing = [one for one in ids.tolist() if one not in scores]
    if missing:
        raise DataError(
            f"Expected a score for every canary, got none for {len(missing):,} of {len(ids):,}; for example for "
            f"'{missing[0]}'.",
            hint="A score function returns a mapping from each canary's id to a number, or one number per canary.",
        )
    try:
        values = np.array([float(scores[one]) for one in ids.tolist()], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected every canary's score to be a number: {error}.") from error
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f"Expected every canary's score to be finite, got {bad:,} NaN or infinite of {len(values):,}.",
            hint="Training may have diverged: lower its learning rate, or clip the score.",
        )
    return values


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """One model to train and score in a way of its own.

    ``rows``: to train on; ``places``: to score; ``coined``: all rows that not every model trains on; ``coins``: (m,).
    """

    recipe: Recipe
    pool: Records
    rows: IntArray
    places: IntArray
    coined: IntArray
    coins: NDArray[np.bool_]
    seed: int
    key: str
    design: Design
    store: str

    @property
    def name(self) -> str:
        """What a failure calls it."""
        return f"canary model {self.key[:8]}"


def jobs_of(split: Split, canaries: Canaries, recipe: Recipe, design: Design, store: Store) -> list[ScoreJob]:
    """Return one job per model."""
    made = []
    asked = fingerprint([design.score_name, design.score if callable(design.score) else None, SCORES_VERSION])
    for model in range(1 + split.shadows):
        seed, rows = seed_for(split.seed, "model", model), split.rows(model)
        parts = {
            "model": model_key(recipe, canaries.pool, rows, seed),
            "score": asked,
            "rows": digest("rows", {"rows": canaries.scored.tobytes().hex()}),
        }
        made.append(
            ScoreJob(
                recipe=recipe,
                pool=canaries.pool,
                rows=rows,
                places=canaries.scored,
                coined=canaries.coined,
                coins=split.masks[model][canaries.inside[:, 0]],
                seed=seed,
                key=digest("canary", parts),
                design=design,
                store=str(store.root),
            )
        )
    return made


def own_score(job: ScoreJob) -> None:
    """Train one model, let the user's function score it, and keep the scores."""
    target: Target = job.recipe.fit(job.pool, job.rows, job.seed)
    shown = job.pool.take(job.places)
    assert callable(job.design.score)
    try:
        found = job.design.score(target, shown)
    except VestigeError:
        raise
    except Exception as error:  # whatever the user's own function raises
        raise ModelError(
            f"The score function {job.design.score_name} failed: {type(error).__name__}: {error}.",
            hint="It takes a target and the canaries as records, and returns one number per canary.",
        ) from error
    if not isinstance(found, Mapping):
        values = np.asarray(found)
        if values.shape != (len(shown),):
            raise DataError(
                f"Expected the score function {job.design.score_name} to return {len(shown):,} numbers, one per "
                f"canary, got shape {values.shape}."
            )
        found = dict(zip(shown.ids.tolist(), values.tolist(), strict=True))
    keep(job, by_id(shown.ids, found))


def keep(job: ScoreJob, scores: Array) -> None:
    """Write one model's scores to the store."""
    Store(job.store).put("canary", job.key, {"scores": scores}, {"score": job.design.score_name})


def run_jobs(jobs: Sequence[ScoreJob], perform: Any, labour: Labour, progress: Progress) -> Scored:
    """Perform the jobs whose scores the store lacks, and read all of them back."""
    start, store = time.perf_counter(), labour.store
    pending = [job for job in jobs if store.get("canary", job.key) is None]
    progress.begin("models", len(jobs), reused=len(jobs) - len(pending))
    if pending:
        store.check_writable()
        options = {"workers": labour.workers} if labour.executor != "inline" else {}
        try:
            for _ in EXECUTORS.create(labour.executor, options).run(perform, pending):
                progress.advance("models")
        except JobError as error:
            first = next(iter(error.failures.values()))
            raise first if isinstance(first, VestigeError) else error from error
    progress.end("models")
    rows = []
    for job in jobs:
        kept = store.get("canary", job.key)
        if kept is None:
            raise ModelError("The store lost scores that were written to it.", hint="Check the disk, and run again.")
        rows.append(np.asarray(kept.arrays["scores"], np.float64))
    return Scored(
        scores=np.stack(rows),
        trained=len(pending),
        reused=len(jobs) - len(pending),
        seconds=time.perf_counter() - start,
    )
