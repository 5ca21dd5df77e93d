"""ε from a confidence interval for the ratio of two rates, as other tools report it, made by statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from vestige.errors import MissingDependency, UsageError
from vestige.metrics.epsilon.base import EpsilonBound, check_delta
from vestige.metrics.epsilon.thresholds import Counts, Thresholds
from vestige.metrics.epsilon.two_sample import Trials, both_sides, largest
from vestige.metrics.estimate import Array
from vestige.metrics.intervals import clopper_pearson as exact

Form = Literal["koopman", "log", "log-adjusted"]
METHODS: dict[str, str] = {"koopman": "score", "log": "log", "log-adjusted": "log-adjusted"}
APPROXIMATE = "a normal approximation, which exceeds the truth too often where members are fewer or counts are small"
SLACK = 12  # the log forms may shrink when the last errors vanish, so their largest value lies short of separation
FOR_DELTA = 0.05  # share of the error that bounds the TPR from below, which a positive δ needs


def ratio(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    form: Form = "koopman",
    delta: float = 0.0,
    confidence: float = 0.95,
    thresholds: Thresholds | None = None,
    trials: Trials = "one_run",
) -> EpsilonBound:
    """Return ln of the lower end of an interval for TPR/FPR, or for TNR/FNR if that is larger: an estimate.

    ``members``: (n₁,), ``nonmembers``: (n₀,) scores, larger = more likely a member. ``form``: "koopman" inverts the
    score test (Koopman 1984), "log" and "log-adjusted" are normal on the log scale (Katz et al. 1978; Walter 1975).
    Enumerating every outcome at one fixed threshold, Koopman's lower end errs up to 1.3 times as often as it says with
    100 scores a side, the other two up to 1.2 times, and many times as often once non-members outnumber members; where
    nearly all scores lie above a threshold Koopman's exceeds 0 by some thousandths even on noise: hence estimates. A
    bound with the same aim is `joint_region`. Raises MissingDependency without statsmodels, else as `clopper_pearson`.
    """
    if form not in METHODS:
        raise UsageError(f"Expected form to be one of {', '.join(METHODS)}, got {form!r}.")
    lower = partial(_lower, method=METHODS[form], delta=check_delta(delta), interval=_statsmodels())
    return largest(
        members,
        nonmembers,
        lower,
        f"{form} ratio",
        delta,
        confidence,
        thresholds=thresholds,
        trials=trials,
        kind="estimate",
        slack=0 if form == "koopman" else SLACK,
        reason=APPROXIMATE,
    )


def _statsmodels() -> Callable[..., Any]:
    try:
        proportion = import_module("statsmodels.stats.proportion")
    except ImportError as error:
        raise MissingDependency("statsmodels", extra="stats", purpose="An interval for a ratio of rates") from error
    interval: Callable[..., Any] = proportion.confint_proportions_2indep
    return interval


def _lower(counts: Counts, errors: Array, *, method: str, delta: float, interval: Callable[..., Any]) -> Array:
    """Return the larger of both sides' lower ends, half of the error for each side."""
    return both_sides(counts, lambda side, _: _side(side, errors / 2, method, delta, interval))


def _side(counts: Counts, errors: Array, method: str, delta: float, interval: Callable[..., Any]) -> Array:
    spent = errors * (1 - FOR_DELTA) if delta > 0 else errors
    found = np.array(
        [
            _low(interval, method, *case)
            for case in zip(
                counts.hits.tolist(),
                counts.members.tolist(),
                counts.alarms.tolist(),
                counts.nonmembers.tolist(),
                spent.tolist(),
                strict=True,
            )
        ]
    )
    if delta > 0:
        # (p − δ)/q = (p/q)(1 − δ/p): the smallest p that the hits allow completes the bound.
        left = errors * FOR_DELTA
        low = np.array(
            [
                exact(hits, total, confidence=1 - 2 * error)[0]
                for hits, total, error in zip(counts.hits, counts.members, left, strict=True)
            ]
        )
        found = found * (1 - np.minimum(delta / np.maximum(low, 1e-300), 1.0))
    with np.errstate(divide="ignore"):
        logs: Array = np.log(found)
    return logs


def _low(
    interval: Callable[..., Any],
    method: str,
    hits: float,
    members: float,
    alarms: float,
    nonmembers: float,
    error: float,
) -> float:
    """Return the lower end of one interval for the ratio; 0 where the form has none."""
    if hits == 0 or (method == "log" and alarms == 0) or (hits == members and alarms == nonmembers):
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):  # from the upper end, which is infinite without alarms
        low, _ = interval(
            hits, members, alarms, nonmembers, compare="ratio", method=method, alpha=2 * error, correction=False
        )
    real = float(np.real(low))
    return real if real > 0 else 0.0
