"""What is too dear to measure on every model: asked of the target, and of a few shadow models that take its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.canonical import digest
from vestige.probing import probe_keys, probe_pool
from vestige.progress import Progress
from vestige.target import Recipe

if TYPE_CHECKING:
    from vestige.auditing.run import Audit

STAND_INS = 3


def wanted(attacks: Sequence[Attack]) -> tuple[str, ...]:
    """Return the probes that these attacks read."""
    return probe_keys(tuple(dict.fromkeys(key for attack in attacks for key in attack.needs.signals)))


def places(models: Sequence[int], reported: int) -> list[int]:
    """Return the models that are probed: the target, then as many of its stand-ins as judging needs."""
    return [0, *models[: max(reported, STAND_INS)]]


def with_probes(
    audit: Audit,
    field: Field,
    attacks: Sequence[Attack],
    models: Sequence[int],
    recipes: tuple[Recipe, Recipe],
    progress: Progress,
) -> Field:
    """Return the field with what the attacks' probes found on ``models``; what is in the store is not asked again.

    ``recipes``: the target's, and the shadow models'.
    """
    keys = wanted(attacks)
    if not keys:
        return field
    shadow = audit.config.shadow
    table = probe_pool(
        field.table,
        keys,
        models,
        field.split,
        recipes[1],
        field.records,
        audit.store,
        first=recipes[0],
        given=audit.counting,
        given_key="" if audit.counting is None else _mark(field),
        budget=audit.config.audit.budget,
        seed=audit.config.seed,
        blind=field.blind,
        executor=shadow.executor,
        workers=shadow.workers,
        progress=progress,
    )
    return replace(field, table=table)


def _mark(field: Field) -> str:
    """Return what tells a given target from others: its answers to all records."""
    return digest("given", {key: field.table.model(key, 0) for key in field.table.columns})
