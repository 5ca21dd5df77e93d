"""What the audit means in one plain sentence, with its uncertainty and with the reasons not to believe it.

**Scale.** A leak is judged by how often an accusation would be right if members and non-members were equally
common. At a threshold with true-positive rate TPR and false-positive rate FPR that is TPR / (TPR + FPR); for a
guess on everybody it is the balanced accuracy. Chance is 50 % on both. Below 60 % (TPR/FPR < 1.5) the level is
*low*: two accusations in five are wrong. From 90 % (TPR/FPR ≥ 9) it is *high*: the adversary can name members and
mean it. Between them it is *moderate*. The area under the ROC curve sets no level, because it averages over
thresholds at which nobody would accuse anybody: a few records can be fully exposed at an AUC near 0.5.

**Which false-positive rate.** The smallest one asked for at which ten or more false accusations are expected among
the non-members, else the largest that was resolved. The rule looks at counts only, so it cannot pick the rate that
happens to look worst or best.

**Which attack.** The one whose interval has the highest lower end, which favours evidence over luck. The best of
several still flatters, so a leak counts as shown only if chance lies below the interval after Bonferroni widening
for the number of attacks tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from vestige.log import AttackResult, AuditLog, Figure, Operational, TprPoint
from vestige.report import canaries, claims, defended
from vestige.report.wording import ACCESS, confidence, count, listed, number, percent, rate, sentence, span
from vestige.simultaneous import widened

Level = Literal["low", "moderate", "high", "unknown"]

MODERATE = 0.6
HIGH = 0.9
EXPECTED_FALSE_ALARMS = 10

CLAIMS = {
    "high": "this model leaks membership",
    "moderate": "this model leaks membership to some extent",
    "low": "these attacks found little leakage of membership",
    "unknown": "the audit is too small to tell",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The level, the one sentence, and what else a careful reader should know."""

    level: Level
    sentence: str
    details: list[str] = field(default_factory=list)


def right(tpr: float, fpr: float, prior: float = 0.5) -> float:
    """Return how often an accusation is right when a share ``prior`` of the accused were members."""
    caught, wronged = prior * tpr, (1 - prior) * fpr
    return caught / (caught + wronged) if caught + wronged > 0 else prior


def band(accuracy: float) -> Level:
    """Return the level for how often an accusation is right at even odds."""
    return "high" if accuracy >= HIGH else "moderate" if accuracy >= MODERATE else "low"


def finished(log: AuditLog) -> list[AttackResult]:
    """Return the attacks that ran to their end."""
    return [result for result in log.attacks if result.status == "ok"]


def asked_at(result: AttackResult, fpr: float) -> TprPoint | None:
    """Return the attack's figure at this false-positive rate, withheld or not; None if it was not asked for."""
    return next((point for point in result.tpr if math.isclose(point.fpr, fpr, rel_tol=1e-9)), None)


def rates(log: AuditLog) -> list[float]:
    """Return every false-positive rate that was asked for, in order."""
    return sorted({point.fpr for result in log.attacks for point in result.tpr})


def resolved_rates(log: AuditLog) -> list[float]:
    """Return the rates at which at least one finished attack has a figure."""
    return [fpr for fpr in rates(log) if any(point_at(result, fpr) for result in finished(log))]


def withheld(log: AuditLog) -> list[tuple[float, str]]:
    """Return the other rates that a finished attack was asked for, each with the reason why it has no figure."""
    asked = {point.fpr: point.reason for result in finished(log) for point in result.tpr if point.value is None}
    missing = sorted(set(asked) - set(resolved_rates(log)))
    return [(fpr, asked[fpr] or "no reason was recorded") for fpr in missing]


def point_at(result: AttackResult, fpr: float) -> TprPoint | None:
    """Return the attack's figure at this false-positive rate, if it was resolved."""
    point = asked_at(result, fpr)
    return point if point is not None and point.value is not None else None


def practical(result: AttackResult, fpr: float | None) -> Operational | None:
    """Return the operating point aimed at this false-positive rate, or the attack's main one if no rate is given."""
    points = result.operating_points or ([result.operational] if result.operational else [])
    if fpr is None:
        return result.operational
    return next((point for point in points if math.isclose(point.fpr_asked, fpr, rel_tol=1e-9)), None)


def headline_fpr(log: AuditLog) -> float | None:
    """Return the false-positive rate that the verdict is about; None when none was resolved."""
    resolved = resolved_rates(log)
    expected = [fpr for fpr in resolved if fpr * log.population.nonmembers >= EXPECTED_FALSE_ALARMS - 1e-9]
    return expected[0] if expected else resolved[-1] if resolved else None


def _low(figure: Figure | None) -> float:
    if figure is None or figure.value is None:
        return -1.0
    return figure.value if figure.low is None else figure.low


def ranked(log: AuditLog) -> list[AttackResult]:
    """Return the finished attacks, strongest first: by the lower end at the headline rate, then of the AUC."""
    fpr = headline_fpr(log)
    return sorted(finished(log), key=lambda r: (-_low(point_at(r, fpr) if fpr else None), -_low(r.auc)))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """One way of judging the leak: its level, and whether the data could have shown one."""

    level: Level
    shown: bool


def _read(figure: Figure, chance: float, accuracies: tuple[float, float], tries: int, level: float) -> _Reading:
    value, ceiling = accuracies
    wide = widened(figure, tries, level)
    shown = wide.low is not None and wide.low > chance
    if shown:
        return _Reading(level=band(value), shown=True)
    return _Reading(level="unknown" if band(ceiling) == "high" or wide.low is None else "low", shown=False)


ORDER = {"unknown": 0, "low": 1, "moderate": 2, "high": 3}


def _level(log: AuditLog, attacks: Sequence[AttackResult], fpr: float | None) -> _Reading:
    """Judge at the low false-positive rate and on average; what either one shows counts."""
    tries, level = len(attacks), confidence(log)
    readings: list[_Reading] = []
    point = point_at(attacks[0], fpr) if fpr else None
    if point is not None and fpr is not None and point.value is not None:
        ends = right(point.value, fpr), right(point.high if point.high is not None else point.value, fpr)
        readings.append(_read(point, fpr, ends, tries, level))
    average = max((r.balanced_accuracy for r in attacks), key=_low)
    if average.value is not None:
        high = average.high if average.high is not None else average.value
        reading = _read(average, 0.5, (average.value, high), tries, level)
        # Without a resolved rate, a balanced accuracy near chance says nothing about the few records most at risk.
        if not readings and reading.level == "low":
            reading = _Reading(level="unknown", shown=reading.shown)
        if not readings or reading.shown:
            readings.append(reading)
    return max(readings, key=lambda r: ORDER[r.level], default=_Reading(level="unknown", shown=False))


def _adversary(attacks: Sequence[AttackResult]) -> str:
    levels = [name for name in ("label", "score", "white_box") if any(r.access == name for r in attacks)]
    return f"An adversary who {ACCESS[levels[-1] if levels else 'score']}"


def _measured(log: AuditLog, best: AttackResult, fpr: float | None, tries: int) -> str:
    """Say what the strongest attack achieves, without the claim."""
    who, level = _adversary([best]), rate(confidence(log))
    point = point_at(best, fpr) if fpr else None
    if point is not None and point.value is not None and fpr is not None:
        wide = span(widened(point, tries, confidence(log)))
        interval = f"{level} interval {wide}; " if wide else ""
        return (
            f"{who} recognises {percent(point.value)} of the training records while wrongly accusing {rate(fpr)} "
            f"of others ({interval}chance would be {rate(fpr)})"
        )
    accuracy = best.balanced_accuracy
    if accuracy.value is not None:
        wide = span(widened(accuracy, tries, confidence(log)))
        interval = f"{level} interval {wide}; " if wide else ""
        claim = f"{who} tells members from non-members {percent(accuracy.value)} of the time"
        return f"{claim} ({interval}chance would be 50 %)"
    return f"{who} reaches an AUC of {number(best.auc)} (chance would be 0.5)"


def _within(figure: Figure) -> str:
    return f" ({span(figure)})" if span(figure) else ""


def _details(log: AuditLog, attacks: Sequence[AttackResult], fpr: float | None) -> list[str]:
    best, tries = attacks[0], len(attacks)
    lines: list[str] = [claims.said(log)] if log.claim is not None else []
    point = point_at(best, fpr) if fpr else None
    if tries > 1:
        text = f"Strongest of the {tries} attacks tried: {best.title}. The best of several flatters"
        alone = span(point) if point else ""
        lines.append(
            f"{text}, so the interval above allows for all of them; alone it is {alone}." if alone else f"{text}."
        )
    else:
        lines.append(f"Only one attack was tried: {best.title}. A stronger one may find more.")
    if point is not None and fpr is not None and point.value:
        even, rare = right(point.value, fpr), right(point.value, fpr, 0.01)
        lines.append(
            f"Base rate: such an accusation is right {percent(even)} of the time if half of the accused were members, "
            f"and {percent(rare)} if one in a hundred was."
        )
    if best.auc.value is not None:
        lines.append(f"Averaged over all thresholds: AUC {number(best.auc)}, where 0.5 is chance.")
    usable = practical(best, fpr)
    if usable is not None and usable.tpr.value is not None and usable.fpr.value is not None:
        lines.append(
            f"In practice the threshold must be set on shadow models: set for {rate(usable.fpr_asked)}, it "
            "wrongly accuses "
            f"{percent(usable.fpr.value)}{_within(usable.fpr)} and recognises "
            f"{percent(usable.tpr.value)}{_within(usable.tpr)}."
        )
    lines += defended.said(log)
    if log.risk is not None and log.risk.at_risk:
        lines.append(
            f"{count(log.risk.at_risk, 'training record')} can be named with a probability of "
            f"{rate(log.risk.threshold)} or more, at even odds."
        )
    return lines


def _missing(log: AuditLog) -> str:
    absent = [result.title for result in log.attacks if result.status != "ok"]
    return f"{listed(absent)} did not run" if absent else ""


def _of_canaries(log: AuditLog) -> Verdict:
    """Judge a canary audit by its quoted bound: it says how often the surest guesses may be right."""
    text, details = canaries.meaning(log)
    errors, best, state = [c for c in log.checks if c.level == "error"], claims.quoted(log), claims.standing(log)
    if errors:
        causes = listed([f"‘{check.id}’" for check in errors])
        text = f"Do not rely on this audit: the check{'s' if len(errors) > 1 else ''} {causes} failed."
        return Verdict(level="unknown", sentence=text, details=[sentence(c.message) for c in errors])
    if best is None or best.value is None or log.status != "complete":
        return Verdict(level="unknown", sentence=text, details=details)
    if state == "refuted":
        return Verdict(level="high", sentence=text, details=details)
    level = band(canaries.odds(best.value))
    resolved = best.ceiling is not None and canaries.odds(best.ceiling) >= HIGH and state != "toothless"
    return Verdict(level=level if level != "low" or resolved else "unknown", sentence=text, details=details)


def verdict(log: AuditLog) -> Verdict:
    """Return what the audit means; level ``unknown`` when it should not be believed or could not tell."""
    if log.canary is not None:
        return _of_canaries(log)
    attacks = ranked(log)
    # A refuted claim is no reason to doubt the figures: it is told beside them.
    errors = [check for check in log.checks if check.level == "error" and check.id != "epsilon-claim"]
    missing = _missing(log)
    if not attacks:
        reason = {"interrupted": "it was interrupted", "failed": "it failed"}.get(
            log.status, missing or "no attack was asked for"
        )
        text = f"No verdict: no attack of this audit finished, because {reason}."
        return Verdict(level="unknown", sentence=text, details=[sentence(check.message) for check in errors])

    fpr = headline_fpr(log)
    reading = _level(log, attacks, fpr)
    measured, details = _measured(log, attacks[0], fpr, len(attacks)), _details(log, attacks, fpr)
    if missing:
        details.insert(0, f"Not everything that was asked for was tested: {missing}.")
    if errors:
        causes = listed([f"‘{check.id}’" for check in errors])
        text = (
            f"Do not rely on this audit: the check{'s' if len(errors) > 1 else ''} {causes} failed. "
            f"For what it is worth, it measured this. {measured}."
        )
        return Verdict(level="unknown", sentence=text, details=[*(sentence(c.message) for c in errors), *details])

    level = reading.level
    if log.status == "complete":
        claim = CLAIMS[level]
        if level == "low" and not reading.shown:
            claim = "no leakage of membership was shown beyond chance"
        return Verdict(level=level, sentence=f"{measured}: {claim}.", details=details)
    word = {"interrupted": "was interrupted", "failed": "failed"}.get(log.status, "is not complete")
    if level in ("moderate", "high"):
        return Verdict(
            level=level, sentence=f"{measured}: {CLAIMS[level]}, at least, for the audit {word}.", details=details
        )
    return Verdict(
        level="unknown",
        sentence=f"No verdict: the audit {word}, and what was left out may find more. {measured}.",
        details=details,
    )
