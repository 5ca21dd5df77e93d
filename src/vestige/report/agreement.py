"""Whether the attacks find the same members, in words."""

from __future__ import annotations

from vestige.log import AuditLog
from vestige.report.wording import percent, rate


def said(log: AuditLog) -> str:
    """Return in one sentence how many members the attacks find together, and which two are most and least alike."""
    found = log.agreement
    if found is None:
        return ""
    words = (
        f"At {rate(found.fpr)} FPR each, the {len(found.attacks)} attacks together find {found.some:,} of "
        f"{log.population.members:,} members (and accuse {percent(found.wrong)} of non-members), "
        f"all of them {found.every:,}"
    )
    names = found.attacks
    pairs = [
        (value, f"{names[i]} and {names[j]}")
        for i, row in enumerate(found.jaccard)
        for j, value in enumerate(row)
        if i < j and value is not None
    ]
    if len(names) < 3 or len(pairs) < 2:
        return words + "".join(f" (Jaccard {value:.2f})" for value, _ in pairs[:1])
    (high, alike), (low, unlike) = max(pairs), min(pairs)
    return f"{words}; the sets are most alike for {alike} (Jaccard {high:.2f}), least for {unlike} ({low:.2f})"
