"""Whether the attacks of an audit find the same members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vestige.auditing.protocol import Scores
from vestige.log import Agreement
from vestige.metrics.agreement import agreement

if TYPE_CHECKING:
    from vestige.auditing.results import Outcome


def agreed(outcome: Outcome) -> Agreement | None:
    """Return what the attacks catch on the target, at the largest false-positive rate asked for; None for one alone."""
    found = {label: one.target for label, one in outcome.scores.items() if isinstance(one, Scores)}
    fpr = max(outcome.audit.config.audit.fpr)
    if len(found) < 2 or int((~outcome.truth).sum()) * fpr < 1:
        return None
    seen = agreement(found, outcome.truth, fpr)
    return Agreement(
        fpr=fpr,
        attacks=list(seen.names),
        caught=list(seen.caught),
        some=seen.some,
        every=seen.every,
        wrong=seen.wrong,
        jaccard=[[None if value != value else round(float(value), 4) for value in row] for row in seen.jaccard],
    )
