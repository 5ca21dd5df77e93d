"""Nasr: what every layer of the model does with a record, judged by an attack model or by two clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.labelled import taught_scores
from vestige.attacks.learned import Double, Family, check_family
from vestige.errors import UsageError
from vestige.records import Task
from vestige.target import Access, FloatArray

KEY = "components"
LOSS = 1
EMBEDDED = (0, 1, 2, 3)  # the gradient's length, loss, uncertainty, whether the label is right
ROUNDS = 200


@dataclass(frozen=True, kw_only=True)
class Nasr:
    """What every layer does with a record: gradients, activations, answer, loss and label, component by component.

    Score (N,): the log-odds of membership, larger = more likely a member. The adversary needs the weights. By default
    the judge is an attack model that shadow models taught; or, when not ``supervised``, by the target alone: gradient
    length, loss, uncertainty and correctness are squeezed into one number (the best linear autoencoder, which is their
    first principal component) and records fall into two clusters along it, of which the one with the smaller gradients
    is the members'. Every component enters in a form that does not depend on how a model numbers its hidden units.
    ``family``, ``rows``: the kind of attack model and how many shadow rows of members, and of non-members, it learns
    from.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    paper: ClassVar[str] = (
        "Nasr, Shokri & Houmansadr, Comprehensive privacy analysis of deep learning: passive and active white-box "
        "inference attacks, IEEE S&P 2019, section III"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True

    supervised: bool = True
    family: Family = "mlp"
    rows: int = 10_000

    def __post_init__(self) -> None:
        check_family(self.family)
        if self.rows < 1:
            raise UsageError(f"Expected at least one row, got {self.rows}.")

    @property
    def trains(self) -> bool:
        """Whether it trains a model of its own."""
        return self.supervised

    @property
    def needs(self) -> Needs:
        """The components, of the target and, to learn from, of ten shadow models."""
        if not self.supervised:
            return Needs(signals=(KEY,))
        return Needs(signals=(KEY,), shadows=1, wants=10, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) log-odds, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``."""
        if self.supervised:
            return taught_scores(self.family, known, evidence, KEY, rows=self.rows, fallback=LOSS)
        own = evidence.target(KEY)[:, 0].astype(np.float64)
        return two_clusters(embedded(own[:, list(EMBEDDED)]))


def embedded(features: Double) -> Double:
    """Return (N,): the features' first principal component, turned so that longer gradients (column 0) are larger."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(
        spread > 1e-9 * (1 + np.abs(features).max(axis=0)), spread, 1
    )
    _, _, directions = np.linalg.svd(scaled, full_matrices=False)
    along: Double = scaled @ directions[0]
    turned: Double = along if scaled[:, 0] @ along >= 0 else -along
    return turned


def two_clusters(values: Double) -> Double:
    """Return (N,) log-odds of the lower of two Gaussian clusters of one width, fitted to the values by EM.

    One width makes the log-odds fall evenly along the values, so that clusters never change a ranking, only where it is
    cut.
    """
    width = values.var() if len(values) else 0.0
    if width < 1e-18:
        return np.zeros(len(values))
    low, high = np.quantile(values, [0.25, 0.75])
    floor = 1e-6 * width
    if high - low < np.sqrt(floor):
        low, high = values.min(), values.max()
    share = 0.5
    for _ in range(ROUNDS):
        odds = np.log((1 - share) / share) + ((values - low) ** 2 - (values - high) ** 2) / (2 * width)
        upper = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
        total = float(np.clip(upper.sum(), 1e-6, len(values) - 1e-6))
        low, high = ((1 - upper) @ values) / (len(values) - total), (upper @ values) / total
        width = max(((1 - upper) * (values - low) ** 2 + upper * (values - high) ** 2).mean(), floor)
        share = float(np.clip(total / len(values), 0.01, 0.99))
    # Clusters that fell together say nothing of where to cut, but the order along the values stays.
    slope = max((high - low) / width, 1e-6)
    middle = 0.5 * (low + high)
    return np.asarray(np.log((1 - share) / share) - slope * (values - middle), np.float64)
