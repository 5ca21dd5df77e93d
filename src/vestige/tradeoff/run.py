"""Run a trade-off: every candidate an audit over one store, each result written as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vestige.auditing.inputs import Fetching, Inputs, from_config, make_recipe
from vestige.auditing.keeping import keep, kept
from vestige.auditing.results import write_log
from vestige.auditing.run import Audit
from vestige.backends.checkpoints import stopped
from vestige.backends.torch import TorchRecipe
from vestige.canonical import digest
from vestige.config import AuditConfig, config_digest
from vestige.config_files import load_config
from vestige.defend import layers_of
from vestige.errors import AccessError, ConfigError, DataError, VestigeError
from vestige.progress import Progress, Silence
from vestige.provenance import provenance
from vestige.records import Records
from vestige.store import Store, write_atomically
from vestige.tradeoff.canaries import empty, planted
from vestige.tradeoff.expand import EARLY, UNDEFENDED, Candidate, expand
from vestige.tradeoff.exposed import Chosen, most_exposed
from vestige.tradeoff.history import remember
from vestige.tradeoff.judge import judged
from vestige.tradeoff.parts import Planted
from vestige.tradeoff.points import point_of
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint
from vestige.tradeoff.timing import seconds_of
from vestige.tradeoff.tuning import Tuning, tune

CANDIDATES = "candidates"
POINT = "point.json"
EXPOSED = "exposed"


def run(
    source: AuditConfig | str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    leak_at_most: float | None = None,
    lose_at_most: float | None = None,
    progress: Progress | None = None,
    fetching: Fetching | None = None,
) -> TradeoffLog:
    """Audit every candidate of a config's [tradeoff] and return their log.

    ``out``: a folder for tradeoff.json, and in ``candidates`` for the log and report of each audit; what an earlier run
    of the same trade-off finished there is not run again. ``leak_at_most``: recommend what keeps the highest accuracy
    and leaks at most this true-positive rate; ``lose_at_most``: what leaks least and loses at most so many points of
    accuracy; by default the config's, or both usual questions. What cannot run says why in its place. An interrupt
    keeps the finished candidates.
    """
    config = source if isinstance(source, AuditConfig) else load_config(source)
    started = time.perf_counter()
    work = _Work(
        config=config,
        candidates=expand(config),
        store=Store.default(config.store),
        folder=None if out is None else Path(out),
        progress=progress or Silence(),
        fetching=fetching,
    )
    interrupted = False
    try:
        work.all()
    except KeyboardInterrupt:
        interrupted = True
    if leak_at_most is None and lose_at_most is None:
        leak_at_most, lose_at_most = config.tradeoff.leak_at_most, config.tradeoff.lose_at_most
    log = work.log(interrupted=interrupted, seconds=time.perf_counter() - started)
    log = judged(log, leak_at_most=leak_at_most, lose_at_most=lose_at_most)
    if work.folder is not None:
        work.folder.mkdir(parents=True, exist_ok=True)
        log.save(work.folder)
    return log


@dataclass(kw_only=True)
class _Work:
    """A trade-off being run."""

    config: AuditConfig
    candidates: list[Candidate]
    store: Store
    folder: Path | None
    progress: Progress
    fetching: Fetching | None
    done: dict[str, TradeoffPoint] = field(default_factory=dict)
    loaded: Inputs | None = None
    plain: str = ""

    def all(self) -> None:
        self._check(self.inputs(self.candidates[0].config).records)
        self.progress.begin("candidates", len(self.candidates))
        for candidate in self.candidates:
            self.done[candidate.id] = self._point(candidate)
            self.progress.advance("candidates", note=candidate.id)
        self.progress.end("candidates")

    def inputs(self, config: AuditConfig) -> Inputs:
        """Return what a candidate's audit starts from; the records are the same for all of them."""
        if self.loaded is None:
            self.loaded = from_config(config.model_copy(update={"defences": []}), fetching=self.fetching)
        layers = layers_of([{"kind": one.kind, **one.options} for one in config.defences])
        return replace(self.loaded, recipe=make_recipe(config.recipe), defences=layers)

    @staticmethod
    def _check(records: Records) -> None:
        if not records.classes:
            raise DataError(
                "A trade-off compares accuracies, and these records have no classes.",
                hint="Set [data] task = 'classification' where the labels are classes.",
            )

    def _point(self, candidate: Candidate) -> TradeoffPoint:
        made = TradeoffPoint(
            id=candidate.id,
            method=candidate.method,
            settings=candidate.settings,
            baseline=candidate.baseline,
            status="refused",
            reason=candidate.reason,
        )
        if candidate.reason:
            return made
        tuning = Tuning()
        try:
            tuning = self._tuned(candidate)
            made = _with_tuning(made, tuning)
            audit = self._audit(candidate, tuning)
            audit.split()
            if candidate.method == UNDEFENDED:
                self.plain = config_digest(audit.config)
        except VestigeError as error:
            return made.model_copy(update={"reason": str(error)})
        except Exception as error:  # a user's own training function may raise anything while settings are tried
            return made.model_copy(update={"status": "failed", "reason": f"{type(error).__name__}: {error}"})
        try:
            return self._before(made, audit) or self._run(candidate, made, audit, tuning)
        except (AccessError, ConfigError) as error:
            return made.model_copy(update={"reason": str(error)})
        except VestigeError as error:
            return made.model_copy(update={"status": "failed", "reason": str(error)})
        except Exception as error:  # whatever goes wrong with one candidate, the others are run and kept
            return made.model_copy(update={"status": "failed", "reason": f"{type(error).__name__}: {error}"})

    def _tuned(self, candidate: Candidate) -> Tuning:
        if not candidate.ranges:
            return Tuning()

        def audit_of(config: AuditConfig) -> Audit:
            return Audit(inputs=self.inputs(config), config=config, store=self.store)

        return tune(candidate, audit_of, self.store, trials=self.config.tradeoff.trials, progress=self.progress)

    def _audit(self, candidate: Candidate, tuning: Tuning) -> Audit:
        config = candidate.settled(tuning.values)
        inputs = self.inputs(config)
        if candidate.epochs is not None and isinstance(inputs.recipe, TorchRecipe):
            inputs = replace(inputs, recipe=stopped(inputs.recipe, candidate.epochs))
        return Audit(inputs=inputs, config=config, store=self.store)

    def _place(self, id: str) -> Path | None:
        return None if self.folder is None else self.folder / CANDIDATES / id

    def _before(self, made: TradeoffPoint, audit: Audit) -> TradeoffPoint | None:
        """Return the candidate as an earlier run of the same audit left it, or None."""
        folder = self._place(made.id)
        if folder is None or kept(folder, audit) is None:
            return None
        try:
            before = TradeoffPoint.model_validate_json((folder / POINT).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if (before.id, before.trials, before.tuned) != (made.id, made.trials, made.tuned):
            return None
        if _canaries_of(before.planted) != _canaries_of(self._design(audit)):
            return None
        return before.model_copy(update={"kept": True, "run_seconds": 0.0})

    def _run(self, candidate: Candidate, made: TradeoffPoint, audit: Audit, tuning: Tuning) -> TradeoffPoint:
        started = time.perf_counter()
        if candidate.method in (UNDEFENDED, EARLY):
            self._remember(candidate, audit, tuning)
        outcome = audit.outcome(self.progress)
        log = write_log(outcome)
        if log.status == "interrupted":
            raise KeyboardInterrupt
        most, rates, chosen = most_exposed(outcome, self._usually_exposed())
        if candidate.method == UNDEFENDED and chosen:
            masks = {str(model): mask for model, mask in chosen.items()}
            self.store.put(EXPOSED, self._undefended(), masks, {})
        point = point_of(
            made,
            outcome,
            log,
            layers=candidate.layers,
            tuning=tuning,
            trials=self.config.tradeoff.trials,
            exposed=(most, rates),
            planted=planted(audit, self.progress) if self.config.tradeoff.canaries else None,
            seconds=seconds_of(audit),
            where=f"{CANDIDATES}/{made.id}/audit.json" if self.folder is not None else "",
            took=time.perf_counter() - started,
        )
        folder = self._place(made.id)
        if folder is not None:
            keep(log, folder)
            write_atomically(folder / POINT, point.model_dump_json(indent=2).encode())
        return point

    def _undefended(self) -> str:
        """Name the undefended audit, whose most exposed records later candidates may have to be judged by."""
        assert self.loaded is not None
        return digest("exposed", {"config": self.plain, "records": self.loaded.records.fingerprint})

    def _usually_exposed(self) -> Chosen:
        found = self.store.get(EXPOSED, self._undefended())
        return {} if found is None else {int(k): np.asarray(mask, bool) for k, mask in found.arrays.items()}

    def _design(self, audit: Audit) -> Planted | None:
        return empty(audit) if self.config.tradeoff.canaries else None

    def _remember(self, candidate: Candidate, audit: Audit, tuning: Tuning) -> None:
        """Train the history that the early-stopping curve and undefended training share, unless it is there."""
        curve = [one.epochs for one in self.candidates if one.method == EARLY and one.epochs is not None]
        recipe = self.inputs(candidate.settled(tuning.values)).recipe
        if not curve or not isinstance(recipe, TorchRecipe) or not audit.config.shadow.keep_models:
            return
        left = [e for e in (*curve, recipe.epochs) if candidate.method == UNDEFENDED or e == candidate.epochs]
        shadow = audit.config.shadow
        remember(
            recipe,
            audit.inputs.records,
            audit.split(),
            left,
            self.store,
            executor=shadow.executor,
            workers=shadow.workers,
            progress=self.progress,
        )

    def log(self, *, interrupted: bool, seconds: float) -> TradeoffLog:
        points = [
            self.done.get(one.id)
            or TradeoffPoint(
                id=one.id,
                method=one.method,
                settings=one.settings,
                baseline=one.baseline,
                status="missing",
                reason="interrupted",
            )
            for one in self.candidates
        ]
        failed = any(point.status in ("failed", "partial") for point in points)
        failed = failed or all(point.status == "refused" for point in points)
        return TradeoffLog(
            status="interrupted" if interrupted else "partial" if failed else "complete",
            name=self.config.name,
            config=self.config.model_dump(mode="json"),
            provenance=provenance(),
            chance=0.0 if self.loaded is None else _chance(self.loaded.records),
            confidence=self.config.audit.confidence,
            points=points,
            seconds=round(seconds, 3),
        )


def _with_tuning(made: TradeoffPoint, tuning: Tuning) -> TradeoffPoint:
    names = {".".join(map(str, path[1:] if path[0] == "recipe" else path)): v for path, v in tuning.values.items()}
    return made.model_copy(update={"trials": tuning.trials, "tuned": names})


def _canaries_of(one: Planted | None) -> tuple[Any, ...]:
    return () if one is None else (one.kind, one.count, one.runs, one.references, one.score, one.copies)


def _chance(records: Records) -> float:
    return float(np.bincount(np.asarray(records.y, np.int64)).max() / len(records))
