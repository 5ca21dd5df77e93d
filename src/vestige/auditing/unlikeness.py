"""How unlike the target's answers to members and non-members are, whatever the attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vestige.log import Divergence
from vestige.log_entries import figure
from vestige.metrics.divergence import divergence
from vestige.metrics.estimate import Estimate

if TYPE_CHECKING:
    from vestige.auditing.results import Outcome

READ = ("loss", "entropy")


def divergences(outcome: Outcome) -> list[Divergence]:
    """Return the Jensen–Shannon divergence of each signal that the target showed; labels alone have none."""
    if outcome.pool is None:
        return []
    table, truth = outcome.pool.signals.slice(0, len(outcome.split.audited)), outcome.truth
    made = []
    for signal in READ:
        if signal not in table.columns:
            continue
        values = np.asarray(table.model(signal, 0))[:, 0].astype(np.float64)
        found = divergence(values[truth], values[~truth], confidence=outcome.audit.config.audit.confidence)
        shown: Estimate = found.corrected
        made.append(Divergence(signal=signal, value=figure(shown), plain=found.plain, chance=found.chance))
    return made
