"""Long et al.: attack only the records that stand alone, where a model has the least to generalise from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Floats
from vestige.attacks.reference import tail_log_odds
from vestige.errors import AuditError, UsageError
from vestige.records import Task
from vestige.seeds import rng
from vestige.target import Access, BoolArray, FloatArray

_BLOCK = 2048
_POOL = 20_000  # records that neighbours are looked for among: distances cost records × pool × features
_SAME = 1e-4  # relative difference below which two distances are the same, whatever the order of summation


@dataclass(frozen=True, kw_only=True)
class Long:
    """Tail probability among OUT references for records without near neighbours; abstains on the others.

    Score (N,) float64; larger = more likely a member. The ``fraction`` of records farthest from their nearest neighbour
    in feature space (columns scaled to unit variance) are scored as by Attack-R; every other record gets a score below
    all of theirs, ordered the same way, so that a threshold that admits no more than the selected records acts as the
    paper's abstaining attack. ``signal`` is any scalar signal, turned so that members have more of it. Sections 4 and 5
    of the paper. Raises UsageError for a fraction outside (0, 1].
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Long, Wang, Bu, Bindschaedler, Wang, Tang, Gunter & Chen, "
        "A pragmatic approach to membership inferences on machine learning models, IEEE EuroS&P 2020"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    fraction: float = 0.1
    signal: str = "loss"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UsageError(f"Expected fraction to be above 0 and at most 1, got {self.fraction}.", hint="Try 0.1.")

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: they are its neighbours."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal of OUT references, and the records' features."""
        return Needs(signals=(self.signal,), shadows=1, side="out", features=True)

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        scores = tail_log_odds(evidence, self.signal)
        chosen = self.selected(evidence)
        if not chosen.all():
            scores[~chosen] += scores[chosen].min() - scores[~chosen].max() - 1.0
        return scores

    def selected(self, evidence: Evidence) -> BoolArray:
        """Return (N,) True for the records the attack speaks about; the others are abstentions."""
        if evidence.features is None:
            raise AuditError("The attack 'long' looks for neighbours in the records' features, but there are none.")
        distances = nearest(evidence.features, rng(evidence.seed, "long", "pool"))
        last = len(distances) - max(1, round(self.fraction * len(distances)))
        cut = np.partition(distances, last)[last]
        chosen: BoolArray = distances >= cut * (1 - _SAME)
        return chosen


def nearest(features: FloatArray, draw: np.random.Generator) -> Floats:
    """Return each record's squared distance to the nearest other one, with columns scaled to unit variance."""
    x = np.asarray(features, np.float32).reshape(len(features), -1)
    if len(x) < 2:
        return np.zeros(len(x))
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, np.float32(1))
    pool = np.arange(len(x)) if len(x) <= _POOL else np.sort(draw.choice(len(x), _POOL, replace=False))
    neighbours = x[pool]
    place = np.full(len(x), -1)
    place[pool] = np.arange(len(pool))
    lengths = np.einsum("nd,nd->n", x, x)
    result = np.empty(len(x))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squares = lengths[rows, None] + lengths[pool] - 2 * (x[rows] @ neighbours.T)
        own = place[rows]
        squares[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        result[rows] = squares.min(axis=1)
    return np.maximum(result, 0.0)
