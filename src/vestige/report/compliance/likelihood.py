"""Likelihood in bands, from the upper ends of what the attacks found; without the evidence it is not assessed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vestige.attacks import BATTERIES
from vestige.log import AttackResult, AuditLog, Figure, TprPoint
from vestige.report.compliance.references import BANDS, FPR
from vestige.report.compliance.schema import Band, Level, Likelihood, Strongest
from vestige.report.wording import confidence, rate, sentence
from vestige.simultaneous import widened

REFUTED = "epsilon-claim"
"""A check that condemns a claim, not the figures."""


def points(log: AuditLog, fpr: float) -> Iterator[tuple[int, int, AttackResult, TprPoint]]:
    """Yield each finished attack's figure at a false-positive rate: (its place, the figure's, attack, figure)."""
    for k, result in enumerate(log.attacks):
        for j, point in enumerate(result.tpr):
            if result.status == "ok" and math.isclose(point.fpr, fpr, rel_tol=1e-9):
                yield k, j, result, point


def strongest(log: AuditLog, fpr: float) -> Strongest:
    """Return the most that any attack found at this false-positive rate; without a figure, the reason."""
    found = list(points(log, fpr))
    resolved = [each for each in found if each[3].value is not None]
    if not resolved:
        why = next((point.reason for *_, point in found if point.reason), "")
        sources = [f"/attacks/{k}/tpr/{j}" for k, j, *_ in found]
        return Strongest(fpr=fpr, tpr=Figure(reason=why), sources=sources)
    best = max(resolved, key=lambda each: (each[3].value or 0.0, each[3].low or 0.0))
    ends = [point.high for *_, point in resolved]
    known = [end for end in ends if end is not None]
    upper = max(known) if len(known) == len(ends) else None
    reached = [(k, j) for k, j, _, point in resolved if upper is not None and point.high == upper]
    named = dict.fromkeys([(best[0], best[1]), *reached[:1]])
    return Strongest(
        fpr=fpr,
        attack=best[2].title,
        tpr=Figure(**best[3].model_dump(exclude={"fpr"})),
        upper=upper,
        sources=[f"/attacks/{k}/tpr/{j}" for k, j in named],
    )


def band(share: float, bands: Sequence[Band]) -> Level:
    """Return the first level that reaches up to this share."""
    return next(one.level for one in bands if one.up_to is None or share <= one.up_to)


def likelihood(log: AuditLog, bands: Sequence[Band] = BANDS, fpr: float = FPR) -> Likelihood:
    """Return the level, or ``not assessed`` with every reason; missing evidence never lowers it."""
    best = strongest(log, fpr)
    doubts = list(_doubts(log, best))
    sources = list(dict.fromkeys([*best.sources, *(pointer for _, found in doubts for pointer in found)]))
    shown: Level = "not assessed"
    if not any(check.level == "error" and check.id != REFUTED for check in log.checks) and log.canary is None:
        shown = _shown(log, bands, fpr)
    if doubts or best.upper is None:
        reasons = [text for text, _ in doubts]
        return Likelihood(level="not assessed", at_least=shown, strongest=best, reasons=reasons, sources=sources)
    return Likelihood(level=band(best.upper, bands), at_least=shown, strongest=best, sources=sources)


def _shown(log: AuditLog, bands: Sequence[Band], fpr: float) -> Level:
    """Return the band that the lower ends reach, each widened for the number of attacks; chance reaches none."""
    figures = [point for *_, point in points(log, fpr) if point.value is not None]
    lows = [widened(point, len(figures), confidence(log)).low for point in figures]
    low = max((end for end in lows if end is not None), default=None)
    return "not assessed" if low is None or low <= fpr else band(low, bands)


def _doubts(log: AuditLog, best: Strongest) -> Iterator[tuple[str, list[str]]]:
    """Yield why the likelihood cannot be assessed: (a sentence, where the log says so)."""
    if log.canary is not None:
        yield (
            "A canary audit bounds a training, and says nothing of how often this model's records are recognised.",
            ["/canary"],
        )
    if log.status != "complete":
        yield f"The audit is not complete: its status is {log.status}.", ["/status"]
    for k, check in enumerate(log.checks):
        if check.level == "error" and check.id != REFUTED:
            yield sentence(f"The check {check.id} failed: {check.message}"), [f"/checks/{k}"]
    for k, result in enumerate(log.attacks):
        if result.status != "ok":
            why = result.reason or "no reason was recorded"
            yield sentence(f"The attack {result.title} {_ended(result)}: {why}"), [f"/attacks/{k}"]
    for name in unrun(log):
        yield f"The attack {name} was asked for and is not in the log.", ["/config/audit/attacks"]
    if best.tpr.value is None:
        why = f": {sentence(best.tpr.reason)}" if best.tpr.reason else "."
        yield f"No attack has a true-positive rate at {rate(best.fpr)} false positives{why}", best.sources
    elif best.upper is None:
        yield f"A true-positive rate at {rate(best.fpr)} false positives has no interval.", best.sources
    section = log.config.get("shadow")
    if log.defences and isinstance(section, dict) and section.get("defences") == "unknown":
        yield (
            "The adversary did not adapt to the defences: their shadow models were trained without them.",
            ["/config/shadow/defences"],
        )


def _ended(result: AttackResult) -> str:
    return "was skipped" if result.status == "skipped" else "failed"


def unrun(log: AuditLog) -> list[str]:
    """Return the attacks that the config names one by one and the log does not have."""
    section = log.config.get("audit")
    asked = section.get("attacks") if isinstance(section, dict) else None
    names = [one.get("name") if isinstance(one, dict) else one for one in asked] if isinstance(asked, list) else []
    have = {name for result in log.attacks for name in (result.name, result.title)} | set(BATTERIES)
    plain = [str(name) for name in names if isinstance(name, str)]
    return [name for name in dict.fromkeys(plain) if name not in have and name.partition("(")[0] not in have]
