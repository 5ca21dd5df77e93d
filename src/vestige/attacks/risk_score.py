"""The privacy risk score: the posterior probability of membership, read off histograms of shadow models' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.gaussian_regression import WANTS
from vestige.attacks.learned import same_classes
from vestige.errors import AuditError, UsageError
from vestige.records import Task
from vestige.target import Access, BoolArray, FloatArray, IntArray

FLOOR = 1e-10


@dataclass(frozen=True, kw_only=True)
class RiskScore:
    """The probability of membership given the modified entropy and the class, by Bayes' rule, from shadow models.

    Score (N,): a probability, from a pair of log-spaced histograms per class, in at most ``bins`` levels; larger = more
    likely a member. The adversary needs one shadow model and uses up to ten. ``prior``: how likely membership is before
    anything is seen. A value outside the shadows' range counts in the end bin, one in a bin that no shadow value fell
    in takes the nearest filled bin's posterior, and a class without shadow members or without shadow non-members uses
    the histograms of all classes together.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Song & Mittal, Systematic evaluation of privacy risks of machine learning models, "
        "USENIX Security 2021, section 5"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True

    bins: int = 5
    prior: float = 0.5

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise UsageError(f"Expected at least one bin, got {self.bins}.")
        if not 0.0 < self.prior < 1.0:
            raise UsageError(f"Expected a prior strictly between 0 and 1, got {self.prior}.")

    @property
    def needs(self) -> Needs:
        """Modified entropy of the target and of a few shadow models."""
        return Needs(signals=("modified_entropy",), shadows=1, wants=WANTS, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) posteriors in [0, 1], larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence`` from histograms of the shadow models of ``known``.

        ``known`` may hold other records of the same classes. Raises AuditError when it has no shadow model.
        """
        same_classes(known, evidence)
        own = _log(evidence.target("modified_entropy")[:, 0])
        if not len(known.masks):
            raise AuditError("The privacy risk score needs at least one shadow model, got none.")
        shadows = _log(known.reference("modified_entropy")[:, :, 0])
        labels = np.asarray(evidence.labels, np.int64)
        members, groups = known.masks.ravel(), np.tile(np.asarray(known.labels, np.int64), len(shadows))
        classed = _Histograms.fit(shadows.ravel(), members, groups, known.classes, self.bins)
        pooled = _Histograms.fit(shadows.ravel(), members, np.zeros_like(groups), 1, self.bins)
        return np.where(
            classed.filled[labels],
            classed.posterior(own, labels, self.prior),
            pooled.posterior(own, np.zeros_like(labels), self.prior),
        )


@dataclass(frozen=True, eq=False)
class _Histograms:
    """Per group: the range of the values and the share of members' and of non-members' values in each of B bins."""

    low: NDArray[np.float64]
    width: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    filled: BoolArray

    @classmethod
    def fit(cls, values: FloatArray, members: BoolArray, groups: IntArray, count: int, bins: int) -> _Histograms:
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(low, groups, values)
        np.maximum.at(high, groups, values)
        width = np.where(high > low, (high - low) / bins, 1.0)
        low = np.where(np.isfinite(low), low, 0.0)
        place = groups * bins + _bin(values, low[groups], width[groups], bins)
        shape = (count, bins)
        inside = np.bincount(place, members, count * bins).reshape(shape)
        outside = np.bincount(place, ~members, count * bins).reshape(shape)
        n_in, n_out = inside.sum(axis=1, keepdims=True), outside.sum(axis=1, keepdims=True)
        filled = np.asarray((n_in > 0) & (n_out > 0))[:, 0]
        return cls(low, width, inside / np.maximum(n_in, 1), outside / np.maximum(n_out, 1), filled)

    def posterior(self, values: FloatArray, groups: IntArray, prior: float) -> NDArray[np.float64]:
        bins = self.inside.shape[1]
        joint_in, joint_out = prior * self.inside, (1.0 - prior) * self.outside
        total = joint_in + joint_out
        # Distance from every bin to every filled one: the nearest stands in for an empty one.
        steps = np.abs(np.arange(bins)[:, None] - np.arange(bins)[None, :])
        nearest = np.argmin(np.where(total[:, None, :] > 0.0, steps[None], bins + 1), axis=2)
        with np.errstate(invalid="ignore"):
            per_bin = np.where(total > 0.0, joint_in / total, prior)
        table = np.take_along_axis(per_bin, nearest, axis=1)
        return np.asarray(table[groups, _bin(values, self.low[groups], self.width[groups], bins)], np.float64)


def _log(values: FloatArray) -> NDArray[np.float64]:
    return np.log(np.maximum(values.astype(np.float64), FLOOR))


def _bin(values: FloatArray, low: FloatArray, width: FloatArray, bins: int) -> IntArray:
    return np.clip(np.floor((values - low) / width), 0, bins - 1).astype(np.int64)
