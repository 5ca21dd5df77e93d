"""Doubts about the figures: attacks that say nothing, point the wrong way, or contradict what else is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.checks.base import Check, Level, check

CLEARLY_BELOW = 0.45


class Measured(Protocol):
    """A figure with its interval."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def all_scores_equal(scores: Mapping[str, NDArray[Any]]) -> Check | None:
    """Warn when an attack gave all records one score; (N,) scores by attack."""
    flat = [name for name, values in scores.items() if len(values) > 1 and np.all(values == values[0])]
    return (
        check("all-scores-equal", "warning", f"Every record got the same score from {', '.join(flat)}.")
        if flat
        else None
    )


def auc_below_half(
    aucs: Mapping[str, Measured], *, misled_by: Sequence[str] = (), confidence: float = 0.95
) -> Check | None:
    """Doubt attacks whose AUC lies below one half beyond its interval, widened because several attacks are looked at.

    An error below 0.45, where no chance and no weak signal explains it. ``misled_by``: defences that change the
    answers; where other attacks find more under them than these miss, it is a warning.
    """
    wider = _bonferroni(len(aucs), confidence)
    below = {
        name: auc.value
        for name, auc in aucs.items()
        if auc.value is not None and auc.high is not None and auc.value + wider * (auc.high - auc.value) < 0.5
    }
    if not below:
        return None
    listed = ", ".join(f"{name} ({value:.3f})" for name, value in sorted(below.items(), key=lambda item: item[1]))
    sure = [auc.value - wider * (auc.value - auc.low) for auc in aucs.values() if auc.value and auc.low is not None]
    # With members and others exchanged, the strongest attacks would be the ones below.
    if misled_by and max(sure, default=0.0) - 0.5 > 0.5 - min(below.values()):
        message = (
            f"The AUC is below one half for {listed}: the answers as {' and '.join(misled_by)} changes them mislead "
            "it, while other attacks tell members. Whoever noticed would say the opposite."
        )
        return check("auc-below-half", "warning", message)
    level: Level = "error" if min(below.values()) < CLEARLY_BELOW else "warning"
    return check("auc-below-half", level, f"The AUC is below one half for {listed}.")


def weaker_than_loss(loss: Measured, references: Mapping[str, Measured], *, confidence: float = 0.95) -> Check | None:
    """Warn when an attack that uses reference models has a lower AUC than the plain loss, beyond both intervals."""
    if loss.value is None or loss.low is None:
        return None
    wider = _bonferroni(len(references), confidence)
    weak = []
    for name, auc in references.items():
        if auc.value is None or auc.high is None:
            continue
        if loss.value - auc.value > wider * float(np.hypot(loss.value - loss.low, auc.high - auc.value)):
            weak.append(f"{name} ({auc.value:.3f})")
    if not weak:
        return None
    return check(
        "weaker-than-loss", "warning", f"The plain loss has AUC {loss.value:.3f}, more than {', '.join(weak)}."
    )


def operating_point_off(points: Mapping[str, tuple[float, Measured]], *, times: float = 2.5) -> Check | None:
    """Warn about attacks whose threshold from shadow models misses its false-positive rate by a factor, beyond chance.

    ``points``: (rate asked, rate found on the target) by attack.
    """
    off = [
        f"{name} ({found.value:.2%} instead of {asked:.2%})"
        for name, (asked, found) in points.items()
        if found.value is not None and found.low is not None and found.low > times * asked
    ]
    if not off:
        return None
    return check("operating-point-off", "warning", f"False alarms are more frequent than set for {', '.join(off)}.")


def epsilon_claim(claimed: float, measured: float, *, delta: float, confidence: float) -> Check | None:
    """Refuse a claimed ε that the measured lower bound at the same δ exceeds."""
    if measured <= claimed:
        return None
    return check(
        "epsilon-claim",
        "error",
        f"The training claims ε = {claimed:g} at δ = {delta:g}; the audit shows at least {measured:.3g} "
        f"with {confidence:.0%} confidence.",
    )


def claim_untested(claimed: float, reason: str) -> Check:
    """Warn that no valid lower bound on ε could be computed, so that the claim was not tested at all."""
    return check("claim-untested", "warning", f"The claim of ε = {claimed:g} was not tested: {reason.rstrip('.')}.")


def cannot_refute(claimed: float, ceiling: float | None, *, records: int) -> Check | None:
    """Note when even a total leak would not have shown more than the claim, so that the audit could not have failed."""
    if ceiling is None or ceiling > claimed:
        return None
    return check(
        "cannot-refute",
        "info",
        f"With {records:,} records a total leak would show ε = {ceiling:.3g} at most, which is not above the claim of "
        f"{claimed:g}: that this audit did not refute the claim says nothing.",
    )


def interval_wider_than_margin(judged: Sequence[tuple[str, Measured, float]]) -> Check | None:
    """Warn about rules whose limit lies inside the figure's interval; each is (rule, figure, limit)."""
    unclear = [
        f"{rule} ({figure.value:.4g} in [{figure.low:.4g}, {figure.high:.4g}])"
        for rule, figure, limit in judged
        if figure.value is not None and figure.low is not None and figure.high is not None
        if figure.low <= limit < figure.high
    ]
    if not unclear:
        return None
    return check(
        "interval-wider-than-margin", "warning", f"The limit lies inside the interval of {', '.join(unclear)}."
    )


def _bonferroni(number: int, confidence: float) -> float:
    """Return how much wider than one interval each of ``number`` must be to hold together."""
    tail = (1 - confidence) / 2
    return float(scipy.special.ndtri(tail / max(number, 1)) / scipy.special.ndtri(tail))
