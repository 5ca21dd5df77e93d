"""The models of an audit, trained and asked: its target, its shadow models, and those of other records."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vestige.attacks.assemble import Field
from vestige.auditing.knowledge import Elsewhere, gather_elsewhere
from vestige.progress import Progress
from vestige.records import Records
from vestige.shadow import Demand, ShadowPool, gather
from vestige.signals.base import Signals
from vestige.signals.measure import measure
from vestige.signals.predicted import as_seen
from vestige.split import Split
from vestige.target import Recipe

if TYPE_CHECKING:
    from vestige.auditing.results import Outcome
    from vestige.auditing.run import Audit


def ask_target(audit: Audit, demand: Demand, progress: Progress) -> tuple[dict[str, Signals] | None, float]:
    """Return what a given target answers, and in how many seconds; None when there is no such target."""
    target = audit.counting
    if target is None:
        return None, 0.0
    start = time.perf_counter()
    progress.begin("target", len(demand.rows))
    keys = [key for names in demand.sets(audit.inputs.records.task) for key in names]
    values = measure(
        target,
        audit.inputs.records,
        demand.rows,
        keys,
        queries=demand.queries,
        seed=demand.seed,
        resolution=demand.resolution,
    )
    progress.advance("target", len(demand.rows))
    progress.end("target")
    return values, time.perf_counter() - start


def train_target(audit: Audit, split: Split, demand: Demand, progress: Progress) -> dict[str, Signals]:
    """Train a target whose shadow models follow another recipe, and return what it answers."""
    alone = Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)
    table = gather_pool(audit, alone, audit.target_recipe(), demand, None, progress).signals
    return {key: table.model(key, 0) for key in table.columns}


def gather_pool(
    audit: Audit,
    split: Split,
    recipe: Recipe,
    demand: Demand,
    given: dict[str, Signals] | None,
    progress: Progress,
    meanwhile: Callable[[], None] | None = None,
) -> ShadowPool:
    """Return what models of this recipe answer, those trained here and those in the store."""
    shadow = audit.config.shadow
    return gather(
        split,
        recipe,
        audit.inputs.records,
        demand,
        audit.store,
        given=given,
        executor=shadow.executor,
        workers=shadow.workers,
        keep_models=shadow.keep_models,
        progress=progress,
        meanwhile=meanwhile,
    )


def gather_away(audit: Audit, outcome: Outcome, records: Records, progress: Progress) -> Elsewhere:
    """Return what shadow models of other records answer."""
    return gather_elsewhere(
        field_of(audit, outcome),
        records,
        audit.shadow_recipe(),
        audit.config.shadow,
        count=audit.shadows,
        demand=outcome.demand,
        store=audit.store,
        progress=progress,
    )


def field_of(audit: Audit, outcome: Outcome) -> Field:
    """Return what attacks are run on: the records, and what the models answer about them."""
    assert outcome.pool is not None
    return Field(
        records=audit.inputs.records,
        split=outcome.split,
        table=as_seen(outcome.pool.signals) if audit.blind else outcome.pool.signals,
        access=audit.access,
        seed=audit.config.seed,
        blind=audit.blind,
    )
