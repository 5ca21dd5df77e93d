"""Whether the adversary of an audit sees how long answers take: something it knows besides its access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.probing import Lazy
from vestige.seeds import seed_for
from vestige.signals import create as signal_of
from vestige.signals.timing.channel import has_channel
from vestige.target import Recipe, Target

if TYPE_CHECKING:
    from vestige.auditing.run import Audit

NOT_GIVEN = "it times the target's answers, which this adversary may not: set [audit] timing = true if it can"
NO_CHANNEL = (
    "the target does not say how long its answers take: torch models do; give others a method timed, or wrap them in "
    "vestige.backends.latency.Stopwatch"
)
NO_SHADOW_CHANNEL = "its shadow models do not say how long their answers take, as the target does"


def times(attack: Attack) -> bool:
    """Whether the attack reads how long answers take."""
    return any(getattr(signal_of(key), "timed", False) for key in attack.needs.signals)


def unheard(audit: Audit, field: Field, models: Sequence[int], *, target: Recipe, shadow: Recipe) -> str:
    """Return why attacks that time answers cannot run, or an empty string; ``target``, ``shadow``: their recipes."""
    if not any(times(attack) for _, attack in audit.attacks):
        return ""
    if not audit.config.audit.timing:
        return NOT_GIVEN
    given = audit.counting
    if not has_channel(_trained(audit, field, 0, target) if given is None else given):
        return NO_CHANNEL
    if (given is not None or shadow is not target) and models:
        return "" if has_channel(_trained(audit, field, models[0], shadow)) else NO_SHADOW_CHANNEL
    return ""


def _trained(audit: Audit, field: Field, model: int, recipe: Recipe) -> Target:
    split = field.split
    seed = seed_for(split.seed, "model", model)
    return Lazy(
        recipe=recipe, records=field.records, rows=split.rows(model), seed=seed, store=str(audit.store.root)
    ).target
