"""Shadow models: train and measure what the store lacks, one job per handful of models, each result safe once written.

Every model is measured right after it was trained, while it is in memory; what is kept is a few numbers per record and,
when asked, its weights. A run that is killed therefore loses at most the models that were being trained at that moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vestige.errors import AuditError, ModelError, VestigeError
from vestige.executors import EXECUTORS
from vestige.executors.outcomes import JobError
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.signals.base import Signals, SignalTable
from vestige.signals.measure import measure
from vestige.signals.predicted import CLASS, marked
from vestige.split import Split
from vestige.store import Store, digest
from vestige.target import BatchRecipe, IntArray, Recipe, Target

if TYPE_CHECKING:
    from vestige.target import FloatArray

Lacking = tuple[tuple[str, ...], str]
"""The names of signals that belong in one artefact, and its store key."""

SIGNALS_VERSION = 1
STANDARD = ("loss", "log_odds", "hinge", "entropy", "modified_entropy", "max_log_probability", "correct")
STANDARD_REGRESSION = ("loss", "residual", "negative_log_loss")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is wanted of every model: signal ``keys`` on ``rows`` (audited records first), asked with these ``queries``.

    ``resolution``: what an exact zero among probabilities stands for, when a given target has shown it. ``blind``: the
    adversary lacks the true labels, so that signals are measured against the class that each model names, too.
    ``also``: artefacts that nobody waits for, but that are measured of models which are trained or loaded anyway.
    """

    keys: tuple[str, ...]
    rows: IntArray
    queries: tuple[str, ...] = ()
    seed: int = 0
    label_only: bool = False
    resolution: float | None = None
    blind: bool = False
    also: tuple[tuple[str, ...], ...] = ()

    def sets(self, task: str) -> list[tuple[str, ...]]:
        """Return the artefacts that hold the keys: the standard ones together, each further one alone."""
        seen = [*dict.fromkeys((CLASS, *map(marked, self.keys)))] if self.blind else []
        if self.label_only:
            plain = ("correct",) if self.blind else tuple(self.keys) or ("correct",)
            return [plain, tuple(seen)] if seen else [plain]
        standard = STANDARD if task == "classification" else STANDARD_REGRESSION
        if not seen:
            return [standard, *((key,) for key in self.keys if key not in standard)]
        # The standard signals against the truth say how accurate a model is, which no attack is shown.
        theirs = (CLASS, *map(marked, standard))
        return [standard, theirs, *((key,) for key in seen if key not in theirs)]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A handful of models to train (or restore) and measure."""

    recipe: Recipe
    records: Records
    rows: tuple[IntArray, ...]
    seeds: tuple[int, ...]
    models: tuple[str, ...]
    missing: tuple[tuple[Lacking, ...], ...]
    demand: Demand
    store: str
    keep: bool


@dataclass(frozen=True, kw_only=True)
class ShadowPool:
    """Every model's signals, row 0 the target, and what it took to get them."""

    split: Split
    signals: SignalTable
    trained: int
    reused: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a pool would need: the store key of each model, and for each the artefacts that the store lacks."""

    models: tuple[str, ...]
    artefacts: tuple[dict[tuple[str, ...], str], ...]
    missing: dict[int, tuple[Lacking, ...]] = field(default_factory=dict)

    @property
    def reused(self) -> int:
        """How many models the store already has."""
        return len(self.models) - len(self.missing)


def model_key(recipe: Recipe, records: Records, rows: IntArray, seed: int) -> str:
    """Return the store key of one trained model."""
    parts = {
        "recipe": recipe.fingerprint(),
        "records": records.fingerprint,
        "rows": digest("rows", {"rows": np.asarray(rows, np.int64).tobytes().hex()}),
        "seed": seed,
    }
    return digest("model", parts)


def look(split: Split, recipe: Recipe, records: Records, demand: Demand, store: Store, *, first: int = 0) -> Work:
    """Return what the store lacks; models before ``first`` (a target that was given) are not looked for."""
    rows_digest = digest("rows", {"rows": demand.rows.tobytes().hex()})
    models, artefacts = [], []
    missing = {}

    def place_of(key: str, names: tuple[str, ...]) -> str:
        return digest(
            "signals",
            {
                "model": key,
                "names": list(names),
                "rows": rows_digest,
                "queries": list(demand.queries),
                "seed": demand.seed if demand.queries else 0,
                "resolution": demand.resolution,
                "version": SIGNALS_VERSION,
            },
        )

    for model in range(first, 1 + split.shadows):
        seed = seed_for(split.seed, "model", model)
        key = model_key(recipe, records, split.rows(model), seed)
        parts: dict[tuple[str, ...], str] = {}
        for names in demand.sets(records.task):
            parts[names] = place_of(key, names)
        lacks = tuple((names, place) for names, place in parts.items() if not store.has("signals", place))
        models.append(key)
        artefacts.append(parts)
        if lacks:
            more = [(names, place_of(key, names)) for names in demand.also if names not in parts]
            missing[model] = (*lacks, *(pair for pair in more if not store.has("signals", pair[1])))
    return Work(models=tuple(models), artefacts=tuple(artefacts), missing=missing)


def gather(
    split: Split,
    recipe: Recipe,
    records: Records,
    demand: Demand,
    store: Store,
    *,
    given: Mapping[str, Signals] | None = None,
    executor: str = "inline",
    workers: int = 2,
    keep_models: bool = True,
    progress: Progress | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> ShadowPool:
    """Return the signals of every model, training and measuring only what the store lacks.

    ``given``: the signals of a target that was not trained here; it takes row 0. ``meanwhile``: called after the first
    job, while others run. Raises ModelError when training fails.
    """
    progress = progress or Silence()
    start = time.perf_counter()
    first = 0 if given is None else 1
    trained = reused = 0
    notes: list[str] = []
    total = 1 + split.shadows - first
    for attempt in range(3):
        work = look(split, recipe, records, demand, store, first=first)
        if attempt == 0:
            reused = work.reused
            progress.begin("models", total, reused=reused)
        jobs = _jobs(work, split, recipe, records, demand, store, keep_models)
        trained += _run(jobs, executor, workers, progress, notes, meanwhile)
        columns, lost = _read(work, store, first, given)
        if not lost:
            break
    else:
        raise ModelError(
            "The store keeps losing what is written to it.", hint="Check the disk, or choose another store."
        )
    progress.end("models")
    table = SignalTable(columns, len(demand.rows), 1 + split.shadows)
    return ShadowPool(
        split=split,
        signals=table,
        trained=trained,
        reused=reused,
        seconds=time.perf_counter() - start,
        notes=tuple(dict.fromkeys(notes)),
    )


def _jobs(
    work: Work, split: Split, recipe: Recipe, records: Records, demand: Demand, store: Store, keep: bool
) -> list[Job]:
    first = 1 + split.shadows - len(work.models)
    pending = sorted(work.missing)
    if not pending:
        return []  # without loading the library that would train them
    size = _chunk_size(recipe, records)
    jobs = []
    for start in range(0, len(pending), size):
        group = pending[start : start + size]
        jobs.append(
            Job(
                recipe=recipe,
                records=records,
                rows=tuple(split.rows(model) for model in group),
                seeds=tuple(seed_for(split.seed, "model", model) for model in group),
                models=tuple(work.models[model - first] for model in group),
                missing=tuple(work.missing[model] for model in group),
                demand=demand,
                store=str(store.root),
                keep=keep,
            )
        )
    return jobs


def threads_of(recipe: Recipe, workers: int) -> int:
    """Return how many models are trained at once in one process: one, where training keeps Python busy."""
    return min(workers, os.cpu_count() or 1) if getattr(recipe, "threaded", False) else 1


def _chunk_size(recipe: Recipe, records: Records) -> int:
    choose = getattr(recipe, "chunk_size", None)
    return max(1, int(choose(records))) if callable(choose) else 1


def _run(
    jobs: Sequence[Job],
    executor: str,
    workers: int,
    progress: Progress,
    notes: list[str],
    meanwhile: Callable[[], None] | None = None,
) -> int:
    if not jobs:
        return 0
    trained = 0
    inline = executor == "inline"
    runner = EXECUTORS.create(
        executor, {"threads": threads_of(jobs[0].recipe, workers)} if inline else {"workers": workers}
    )
    finished = 0
    Store(jobs[0].store).check_writable()
    try:
        for index, done in runner.run(perform, jobs):
            trained += done.trained
            notes.extend(done.notes)
            finished += len(jobs[index].models)
            progress.advance("models", len(jobs[index].models))
            if meanwhile is not None:
                meanwhile()
                meanwhile = None
    except JobError as error:
        raise _stopped(error, finished, sum(len(job.models) for job in jobs)) from error
    return trained


def _stopped(error: JobError, finished: int, wanted: int) -> VestigeError:
    """Return the first failure itself, which says more than that a job failed, and what was finished all the same."""
    first = next(iter(error.failures.values()))
    if not isinstance(first, VestigeError) or isinstance(first, AuditError):
        return error
    if finished:
        first.hint = f"{first.hint} {finished} of {wanted} models were finished and are in the store.".lstrip()
    return first


@dataclass(frozen=True)
class Done:
    """What a job reports back; the results themselves are in the store."""

    trained: int
    notes: tuple[str, ...] = ()


def perform(job: Job) -> Done:
    """Train or restore the job's models, measure what is missing, and write both to the store."""
    store = Store(job.store)
    targets, fresh = _ready(job, store)
    notes: list[str] = []
    for target, missing in zip(targets, job.missing, strict=True):
        notes.extend(getattr(target, "notes", ()))
        keys = [name for names, _ in missing for name in names]
        demand = job.demand
        values = measure(
            target,
            job.records,
            demand.rows,
            keys,
            queries=demand.queries,
            seed=demand.seed,
            resolution=demand.resolution,
        )
        for names, key in missing:
            store.put("signals", key, {name: values[name] for name in names}, {"names": list(names)})
    return Done(fresh, tuple(notes))


def fit_or_restore(job: Job, store: Store) -> list[Target]:
    """Return the job's models, from the store or trained now; what is trained is kept when the job says so."""
    return _ready(job, store)[0]


def _ready(job: Job, store: Store) -> tuple[list[Target], int]:
    """Return the job's models and how many of them had to be trained."""
    targets: list[Target | None] = [_restored(job, store, key) for key in job.models]
    fresh = [place for place, target in enumerate(targets) if target is None]
    for place, fitted in zip(fresh, _fit(job, fresh), strict=True):
        targets[place] = fitted
        if job.keep and hasattr(fitted, "state"):
            store.put("models", job.models[place], fitted.state(), {"seed": job.seeds[place]})
    return [target for target in targets if target is not None], len(fresh)


def _fit(job: Job, places: Sequence[int]) -> list[Target]:
    if not places:
        return []
    rows, seeds = [job.rows[place] for place in places], [job.seeds[place] for place in places]
    if isinstance(job.recipe, BatchRecipe):
        return job.recipe.fit_many(job.records, rows, seeds)
    return [job.recipe.fit(job.records, one, seed) for one, seed in zip(rows, seeds, strict=True)]


def _restored(job: Job, store: Store, key: str) -> Target | None:
    restore: Callable[..., Target] | None = getattr(job.recipe, "restore", None)
    if restore is None:
        return None
    kept = store.get("models", key)
    return None if kept is None else restore(job.records, kept.arrays)


def _read(
    work: Work, store: Store, first: int, given: Mapping[str, Signals] | None
) -> tuple[dict[str, list[Signals]], bool]:
    columns: dict[str, list[Signals]] = {}
    if first:
        assert given is not None
        columns = {key: [values] for key, values in given.items()}
    for parts in work.artefacts:
        for names, place in parts.items():
            artefact = store.get("signals", place)
            if artefact is None:
                return {}, True
            for key in names:
                if not first or key in columns:
                    columns.setdefault(key, []).append(artefact.arrays[key])
    return columns, False


def accuracies(table: SignalTable, split: Split, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return each model's accuracy on the records it trained on and on the others, from the ``correct`` signal."""
    masks = split.masks[:, rows]
    inside, outside = np.full(table.models, np.nan), np.full(table.models, np.nan)
    for model in range(table.models):
        correct = np.asarray(table.model("correct", model))[:, 0]
        mask = masks[model]
        if mask.any():
            inside[model] = correct[mask].mean(dtype=np.float64)
        if not mask.all():
            outside[model] = correct[~mask].mean(dtype=np.float64)
    return inside, outside
