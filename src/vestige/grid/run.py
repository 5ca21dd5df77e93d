"""Run a grid: every cell an audit over one store, each log written as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vestige.auditing.inputs import Fetching, Inputs, from_config
from vestige.auditing.judging import judged, rules_of
from vestige.auditing.keeping import keep, kept
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.config_files import load_config
from vestige.errors import AccessError, UsageError, VestigeError
from vestige.gate import Rule
from vestige.grid.correlation import correlations
from vestige.grid.expand import AXES, Cell, expand
from vestige.grid.results import GridCell, GridLog, cell_of
from vestige.log import AuditLog
from vestige.progress import Progress, Silence
from vestige.provenance import provenance
from vestige.store import Store
from vestige.target import Access

CELLS = "cells"


def run(
    source: AuditConfig | str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    rules: Sequence[Rule] | None = None,
    progress: Progress | None = None,
    fetching: Fetching | None = None,
) -> GridLog:
    """Run every cell of a config's [grid] and return the grid's log.

    ``out``: a folder for grid.json, and in ``cells`` for the log and report of each audit; what an earlier run of the
    same grid finished there is not run again. ``rules``: of the gate, judged in every cell that has what they judge;
    by default the config's. What cannot run says why in its place. An interrupt keeps the finished cells.
    """
    config = source if isinstance(source, AuditConfig) else load_config(source)
    started = time.perf_counter()
    work = _Work(
        config=config,
        cells=expand(config),
        folder=None if out is None else Path(out),
        rules=list(rules_of(config) if rules is None else rules),
        progress=progress or Silence(),
        fetching=fetching,
    )
    interrupted = False
    try:
        work.all()
    except KeyboardInterrupt:
        interrupted = True
    log = work.log(interrupted=interrupted, seconds=time.perf_counter() - started)
    if work.folder is not None:
        work.folder.mkdir(parents=True, exist_ok=True)
        log.save(work.folder)
    return log


@dataclass(kw_only=True)
class _Work:
    """A grid being run."""

    config: AuditConfig
    cells: list[Cell]
    folder: Path | None
    rules: list[Rule]
    progress: Progress
    fetching: Fetching | None
    done: dict[str, GridCell] = field(default_factory=dict)
    inputs: dict[str, Inputs] = field(default_factory=dict)

    def all(self) -> None:
        store = Store.default(self.config.store)
        self.progress.begin("cells", len(self.cells))
        for group in _groups(self.cells):
            audits = [(cell, self._audit(cell, store)) for cell in group]
            ready = [audit for _, audit in audits if isinstance(audit, Audit)]
            for cell, audit in audits:
                # Whoever sees most comes first, and has measured what those who see less will want.
                self.done[cell.id] = audit if isinstance(audit, GridCell) else self._run(cell, audit, ready)
                self.progress.advance("cells", note=cell.id)
        self.progress.end("cells")

    def _audit(self, cell: Cell, store: Store) -> Audit | GridCell:
        try:
            audit = Audit(inputs=self._inputs(cell.config), config=cell.config, store=store)
            asked = Access.parse(cell.config.audit.access)
            if audit.access < asked:
                raise UsageError(f"The target shows {audit.access.label} access at most, not {asked.label}.")
        except VestigeError as error:
            return GridCell(id=cell.id, place=cell.place, status="refused", reason=str(error))
        return audit

    def _inputs(self, config: AuditConfig) -> Inputs:
        key = f"{config.data.source} {config.recipe.model_dump_json()}"
        if key not in self.inputs:
            self.inputs = {key: from_config(config, fetching=self.fetching)}  # one at a time: they may be large
        return self.inputs[key]

    def _run(self, cell: Cell, audit: Audit, others: Sequence[Audit]) -> GridCell:
        folder = None if self.folder is None else self.folder / CELLS / cell.id
        before = kept(folder, audit)
        try:
            whole = self._inputs(cell.config)
            log = before or replace(audit, inputs=whole, also=_wanted(audit, others)).run(self.progress)
        except AccessError as error:
            return GridCell(id=cell.id, place=cell.place, status="refused", reason=str(error))
        except VestigeError as error:
            return GridCell(id=cell.id, place=cell.place, status="failed", reason=str(error))
        if log.status == "interrupted":
            raise KeyboardInterrupt
        rules = [rule for rule in self.rules if _judges(rule, log)]
        log = judged(log, rules) if rules else log
        if before is None and folder is not None:
            keep(log, folder)
        return cell_of(
            cell.id,
            cell.place,
            log,
            where=f"{CELLS}/{cell.id}/audit.json" if self.folder is not None else "",
            kept=before is not None,
            failed_rules=[finding.id for finding in log.findings if not finding.passed],
        )

    def log(self, *, interrupted: bool, seconds: float) -> GridLog:
        cells = [
            self.done.get(cell.id) or GridCell(id=cell.id, place=cell.place, status="missing", reason="interrupted")
            for cell in self.cells
        ]
        failed = any(cell.status in ("failed", "partial") for cell in cells)
        failed = failed or all(cell.status == "refused" for cell in cells)
        return GridLog(
            status="interrupted" if interrupted else "partial" if failed else "complete",
            name=self.config.name,
            config=self.config.model_dump(mode="json"),
            provenance=provenance(),
            axes={name: list(dict.fromkeys(cell.place[name] for cell in self.cells)) for name in AXES},
            fpr=self.config.audit.fpr,
            cells=cells,
            correlations=correlations(cells, confidence=self.config.audit.confidence),
            seconds=round(seconds, 3),
        )


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells pool by pool; in each those that see most come first."""
    pools: dict[str, list[Cell]] = {}
    for cell in cells:
        pools.setdefault(cell.pool, []).append(cell)
    return [sorted(group, key=lambda cell: -Access.parse(cell.config.audit.access)) for group in pools.values()]


def _wanted(audit: Audit, others: Sequence[Audit]) -> tuple[tuple[str, ...], ...]:
    """Return what audits of the same models will want of them that this one's own access shows.

    Not every kind of model can be kept in the store; one that cannot would be trained again for each new signal.
    """
    task = audit.inputs.records.task
    sets = [
        names
        for other in others
        if other.inputs.target is None and other.access <= audit.access
        for names in other.demand(other.split()).sets(task)
    ]
    return tuple(dict.fromkeys(sets))


def _judges(rule: Rule, log: AuditLog) -> bool:
    """Whether the cell has what a rule judges."""
    return rule.attack is None or any(rule.attack in (result.title, result.name) for result in log.attacks)
