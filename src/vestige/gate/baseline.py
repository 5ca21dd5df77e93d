"""The comparison with an earlier audit: what leaks more than before, beyond noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import scipy

from vestige.gate.figures import Measured, Result, figure_of, shown
from vestige.gate.rules import Finding

Verdict = Literal["worse", "same", "better", "not measured"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one attack in two audits; ``low`` and ``high`` bound new − old, larger = leaks more than before."""

    attack: str
    metric: str
    old: float
    new: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    message: str


def compare(old: Sequence[Result], new: Sequence[Result], *, confidence: float = 0.95) -> list[Change]:
    """Return how every figure that the old audit resolved has changed, worse meaning a larger leak beyond noise.

    The interval of the difference joins those of the two figures (Zou & Donner 2008), which must be at
    ``confidence``; it is widened by Bonferroni's rule, so that with all figures unchanged any is called different in
    at most 1 − ``confidence`` of comparisons.
    """
    pairs = list(_pairs(old, new))
    tail = (1 - confidence) / 2
    wider = float(scipy.special.ndtri(tail / max(len(pairs), 1)) / scipy.special.ndtri(tail))
    return [_change(attack, metric, before, after, why, wider) for attack, metric, before, after, why in pairs]


def _pairs(old: Sequence[Result], new: Sequence[Result]) -> Iterator[tuple[str, str, Measured, Measured | None, str]]:
    """Yield (attack, metric, old figure, new figure or None, why it is None)."""
    latest = {result.title: result for result in new}
    for before in (result for result in old if result.status == "ok"):
        after = latest.get(before.title)
        why = "" if after is None or after.status == "ok" else f"it {after.status}: {after.reason}"
        rates: list[tuple[str, float | None]] = [("tpr", point.fpr) for point in before.tpr]
        for metric, fpr in [("auc", None), ("balanced_accuracy", None), *rates]:
            was = figure_of(before, metric, fpr)
            if was is None or was.value is None:
                continue
            usable = after is not None and after.status == "ok"
            now = figure_of(after, metric, fpr) if after is not None and usable else None
            yield before.title, metric if fpr is None else f"{metric}@{fpr:g}", was, now, why


def _change(attack: str, metric: str, old: Measured, new: Measured | None, why: str, wider: float) -> Change:
    before = old.value or 0.0
    if new is None or new.value is None:
        reason = why or (new.reason if new is not None else "") or "the new audit does not have it"
        text = f"{metric} of {attack} was {shown(old)} and is not measured now: {reason.rstrip('.')}."
        return Change(
            attack=attack,
            metric=metric,
            old=before,
            new=None,
            low=None,
            high=None,
            verdict="not measured",
            message=text,
        )
    difference = new.value - before
    down, up = _reach(new)
    was_down, was_up = _reach(old)
    low = difference - wider * (down**2 + was_up**2) ** 0.5
    high = difference + wider * (up**2 + was_down**2) ** 0.5
    verdict: Verdict = "worse" if low > 0 else "better" if high < 0 else "same"
    words = {"worse": "worse beyond noise", "better": "better beyond noise", "same": "within noise"}[verdict]
    text = f"{metric} of {attack} went from {shown(old)} to {shown(new)}: {words}."
    return Change(
        attack=attack, metric=metric, old=before, new=new.value, low=low, high=high, verdict=verdict, message=text
    )


def _reach(figure: Measured) -> tuple[float, float]:
    """Return how far the interval reaches below and above the value; endlessly far without one."""
    if figure.value is None or figure.low is None or figure.high is None:
        return float("inf"), float("inf")
    return figure.value - figure.low, figure.high - figure.value


def findings_of(changes: Sequence[Change]) -> list[Finding]:
    """Return one finding per change: what got worse, or can no longer be told, does not pass."""
    return [
        Finding(
            id=f"baseline:{change.attack}.{change.metric}",
            attack=change.attack,
            metric=change.metric,
            value=change.new,
            limit=change.old,
            passed=change.verdict in ("same", "better"),
            message=change.message,
        )
        for change in changes
    ]
