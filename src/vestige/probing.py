"""Probes: measure what takes many queries or models on the target and on a few shadow models that take its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vestige.errors import AuditError, UsageError
from vestige.executors import EXECUTORS
from vestige.executors.outcomes import JobError
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.shadow import Demand, Job, fit_or_restore, model_key
from vestige.signals import create
from vestige.signals.base import Probe, Setting, Signals, SignalTable
from vestige.signals.predicted import ask_labels, relabelled
from vestige.split import Split
from vestige.store import Store, digest
from vestige.target import BoolArray, IntArray, Outputs, Recipe, Target

VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Lazy:
    """One shadow model, read from the store (or trained again) when it is first needed."""

    recipe: Recipe
    records: Records
    rows: IntArray
    seed: int
    store: str

    @cached_property
    def target(self) -> Target:
        """The model."""
        key = model_key(self.recipe, self.records, self.rows, self.seed)
        job = Job(
            recipe=self.recipe,
            records=self.records,
            rows=(self.rows,),
            seeds=(self.seed,),
            models=(key,),
            missing=((),),
            demand=Demand(keys=(), rows=self.rows[:0]),
            store=self.store,
            keep=True,
        )
        return fit_or_restore(job, Store(self.store))[0]

    @cached_property
    def mask(self) -> BoolArray:
        """Which records it trained on."""
        mask = np.zeros(len(self.records), dtype=np.bool_)
        mask[self.rows] = True
        return mask

    def history(self, asked: IntArray, visit: Callable[[Outputs], None]) -> None:
        """Train the model once more, and show its answers to ``asked`` after every epoch."""
        follow = getattr(self.recipe, "follow", None)
        if follow is None:
            raise UsageError(
                f"A model trained by {type(self.recipe).__name__} shows no snapshots of its training.",
                hint="Only torch recipes train epoch by epoch.",
            )
        follow(self.records, self.rows, self.seed, asked, visit)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeJob:
    """One probe of one model. ``target`` is None when the model is one of the pool's own: ``own`` says which."""

    name: str
    key: str
    setting: Setting
    own: Lazy | None
    target: Target | None
    place: str
    store: str
    blind: bool = False


def probe_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Return those of the signal keys that are probes."""
    return tuple(key for key in keys if isinstance(create(key), Probe))


def probe_pool(
    table: SignalTable,
    keys: Sequence[str],
    models: Sequence[int],
    split: Split,
    recipe: Recipe,
    records: Records,
    store: Store,
    *,
    first: Recipe | None = None,
    given: Target | None = None,
    given_key: str = "",
    budget: int | None = None,
    seed: int = 0,
    blind: bool = False,
    executor: str = "inline",
    workers: int = 2,
    progress: Progress | None = None,
) -> SignalTable:
    """Return the table with a column more per key, measured on ``models`` (row 0 the target) and None elsewhere.

    ``recipe`` trained the shadow models, and ``first`` the target where its own recipe is another. ``given``: a target
    that was not trained here, with a text that tells it from others; it is probed in this process.
    What is in the store is not measured again. ``blind``: the class that the probed model names takes the place of each
    record's label.
    """
    progress = progress or Silence()
    lazies = {m: _lazy(m, split, recipe, records, store) for m in range(1, 1 + split.shadows)}
    if given is None:
        lazies[0] = _lazy(0, split, first or recipe, records, store)
    jobs = [
        _job(key, model, lazies, split, recipe, records, store, given, given_key, budget, seed, blind)
        for key in keys
        for model in models
    ]
    progress.begin("probes", len(jobs), reused=sum(store.has("probes", job.place) for job in jobs))
    pending = [job for job in jobs if not store.has("probes", job.place)]
    # Clocks are read in this process, one model after the other: models beside each other slow each other down.
    here = [job for job in pending if job.target is not None or getattr(create(job.key), "timed", False)]
    there = [job for job in pending if job not in here]
    for job in here:
        perform(job)
        progress.advance("probes", note=job.name)
    _run(there, executor, workers, progress)
    progress.end("probes")
    columns: dict[str, Sequence[Signals | None] | Signals] = dict(table.columns)
    for place, key in enumerate(keys):
        own = jobs[place * len(models) : (place + 1) * len(models)]
        found = {model: _read(job, store) for model, job in zip(models, own, strict=True)}
        columns[key] = [found.get(m) for m in range(table.models)]
    return replace(table, columns=columns)


def _run(jobs: Sequence[ProbeJob], executor: str, workers: int, progress: Progress) -> None:
    if not jobs:
        return
    runner = EXECUTORS.create(executor, {"workers": workers} if executor != "inline" else {})
    try:
        for index, _ in runner.run(perform, jobs):
            progress.advance("probes", note=jobs[index].name)
    except JobError as error:
        raise next(iter(error.failures.values())) from error


def perform(job: ProbeJob) -> None:
    """Measure one probe and write it to the store."""
    target = job.target if job.own is None else job.own.target
    assert target is not None
    signal = create(job.key)
    assert isinstance(signal, Probe)
    setting = job.setting
    if job.blind:
        named = ask_labels(target, setting.records, setting.rows)
        setting = replace(setting, records=relabelled(setting.records, setting.rows, named))
    values = np.asarray(signal.probe(target, setting), np.float32)
    if values.ndim != 2 or len(values) != len(job.setting.rows):
        raise AuditError(f"The probe '{job.key}' returned shape {values.shape} for {len(job.setting.rows)} records.")
    Store(job.store).put("probes", job.place, {"values": values}, {"key": job.key})


def _read(job: ProbeJob, store: Store) -> Signals:
    artefact = store.get("probes", job.place)
    if artefact is None:
        raise AuditError(f"The store lost what the probe '{job.key}' found.", hint="Run the same command again.")
    values = artefact.arrays["values"]
    squeezed: Signals = values[:, 0] if values.shape[1] == 1 else values
    return squeezed[:, None]


def _lazy(model: int, split: Split, recipe: Recipe, records: Records, store: Store) -> Lazy:
    seed = seed_for(split.seed, "model", model)
    return Lazy(recipe=recipe, records=records, rows=split.rows(model), seed=seed, store=str(store.root))


def _job(
    key: str,
    model: int,
    lazies: Mapping[int, Lazy],
    split: Split,
    recipe: Recipe,
    records: Records,
    store: Store,
    given: Target | None,
    given_key: str,
    budget: int | None,
    seed: int,
    blind: bool,
) -> ProbeJob:
    references = [lazies[int(m)] for m in split.references(model)]
    own = None if model == 0 and given is not None else lazies[model]
    setting = Setting(
        records=records,
        rows=np.concatenate([split.audited, split.population]),
        spare=split.population,
        references=references,
        recipe=recipe,
        budget=budget,
        seed=seed_for(seed, "probe", key),
        history=None if own is None else own.history,
    )
    place = digest(
        "probe",
        {
            "key": key,
            "model": given_key if own is None else model_key(own.recipe, records, own.rows, own.seed),
            "references": [model_key(recipe, records, one.rows, one.seed) for one in references],
            "rows": digest("rows", {"rows": setting.rows.tobytes().hex()}),
            "budget": budget,
            "seed": setting.seed,
            "version": VERSION,
            **({"blind": True} if blind else {}),
        },
    )
    return ProbeJob(
        name=f"{key} on {'the target' if model == 0 else f'shadow model {model}'}",
        key=key,
        setting=setting,
        own=own,
        target=given if own is None else None,
        place=place,
        store=str(store.root),
        blind=blind,
    )
