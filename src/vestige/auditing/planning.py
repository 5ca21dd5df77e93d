"""An audit's plan: what the store lacks of it, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vestige.auditing.knowledge import elsewhere_count, unlabelled
from vestige.auditing.plan import Plan, attack_seconds, make_plan, probe
from vestige.shadow import Demand, Work, look, threads_of
from vestige.signals.predicted import CLASS, bare, is_marked
from vestige.split import Split

if TYPE_CHECKING:
    from vestige.auditing.run import Audit


def planned(audit: Audit) -> Plan:
    """Say what a run would train, query, take and keep; trains a few models a little to find out."""
    split = audit.split()
    demand = audit.demand(split)
    recipe = audit.target_recipe()
    given = audit.inputs.target is not None
    work = _work(audit, split, demand)
    inline, workers = audit.config.shadow.executor == "inline", audit.config.shadow.workers
    workers = threads_of(recipe, workers) if inline else workers
    cost = probe(recipe, audit.inputs.records, split, demand, workers=workers)
    targets = audit.config.audit.targets
    passes = 2 + max(audit.config.audit.calibration_targets, targets - 1)
    tools = [attack for _, attack in audit.attacks if not unlabelled(attack, blind=audit.blind)]
    seen = {bare(k): v for k, v in cost.signals.items() if not audit.blind or is_marked(k) or k == CLASS}
    return make_plan(
        name=audit.config.name,
        attacks=[label for label, _ in audit.attacks],
        split=split,
        demand=demand,
        work=work,
        cost=cost,
        given=given,
        targets=targets,
        elsewhere=elsewhere_count(audit.shadows) + 1 if audit.learns_elsewhere else 0,
        scoring=attack_seconds(tools, audit.inputs.records, split, demand, seen, passes=passes),
        processes=not inline and workers > 1,
        light=bool(getattr(recipe, "threaded", False)),
    )


def _work(audit: Audit, split: Split, demand: Demand) -> Work:
    """Return what the store lacks of the target and of the shadow models, each by its own recipe."""
    records, given = audit.inputs.records, int(audit.inputs.target is not None)
    if not audit.mixed:
        return look(split, audit.target_recipe(), records, demand, audit.store, first=given)
    alone = Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)
    target = look(alone, audit.target_recipe(), records, demand, audit.store, first=given)
    others = look(split, audit.shadow_recipe(), records, demand, audit.store, first=1)
    return Work(
        models=target.models + others.models,
        artefacts=target.artefacts + others.artefacts,
        missing={**target.missing, **others.missing},
    )
