"""The figures a gate reads: what it asks of an audit's results, whatever made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Measured(Protocol):
    """A figure with its interval, as an audit log or `vestige.metrics` has it."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def reason(self) -> str: ...


class MeasuredAt(Measured, Protocol):
    """A true-positive rate at a false-positive rate."""

    @property
    def fpr(self) -> float: ...


class Result(Protocol):
    """One attack's outcome; ``title`` tells variants of one attack apart."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def auc(self) -> Measured: ...
    @property
    def balanced_accuracy(self) -> Measured: ...
    @property
    def tpr(self) -> Sequence[MeasuredAt]: ...


class AtRisk(Protocol):
    """The share of members at risk under one attack."""

    @property
    def attack(self) -> str: ...
    @property
    def share_at_risk(self) -> Measured: ...


def figure_of(result: Result, metric: str, fpr: float | None = None) -> Measured | None:
    """Return an attack's figure, or None when the audit did not ask for it."""
    if metric == "auc":
        return result.auc
    if metric == "balanced_accuracy":
        return result.balanced_accuracy
    return next((point for point in result.tpr if fpr is not None and abs(point.fpr - fpr) <= 1e-9 * fpr), None)


def shown(figure: Measured) -> str:
    """Return a figure and its interval as text."""
    if figure.value is None:
        return f"withheld ({figure.reason})" if figure.reason else "withheld"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"
