"""Shadow training: for each class, a model taught on shadow models' answers to tell members from non-members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Double, Family, Rows, Rule, calibrated, check_family, draw_rows, fit, same_classes
from vestige.errors import UsageError
from vestige.records import Task
from vestige.target import Access, FloatArray, IntArray

KEY = "log_probabilities"
SORTED_KEY = "top_probabilities"
HELD_OUT = 4
FEWEST = 24
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Shokri:
    """One attack model per class, on the whole answer in class order, taught by shadow models.

    Score (N,): the log-odds of membership, larger = more likely a member, calibrated class by class on shadow rows the
    attack model was not taught on, so that classes compare. Features are log-probabilities: near one-hot answers differ
    only there. A class with too few shadow rows is scored by one model for all classes, on the true class's
    log-probability and the largest ones. Without ``per_class`` there is one attack model for all classes, on the three
    largest log-probabilities, which mean the same for any number of classes (Truex et al., Demystifying membership
    inference attacks, TSC 2019). ``family``: the kind of attack model; ``rows``: how many shadow rows of members, and
    of non-members, it learns a class from at most, or everything. Raises MissingDependency without scikit-learn.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Shokri, Stronati, Song & Shmatikov, "
        "Membership inference attacks against machine learning models, IEEE S&P 2017, section V"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    family: Family = "logistic"
    per_class: bool = True
    rows: int = 500

    def __post_init__(self) -> None:
        check_family(self.family)
        if self.rows < 1:
            raise UsageError(f"Expected at least one row per class, got {self.rows}.")

    @property
    def any_classes(self) -> bool:
        """Whether what it learns on records of other classes applies to these."""
        return not self.per_class

    @property
    def needs(self) -> Needs:
        """Whole answers, or the largest parts of them, of the target and of ten shadow models."""
        return Needs(signals=(KEY if self.per_class else SORTED_KEY,), shadows=1, wants=10, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) log-odds, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``.

        ``known`` may hold other records of the same classes; of any without ``per_class``. Raises AuditError when it
        has no shadow model.
        """
        if not self.per_class:
            own = evidence.target(SORTED_KEY)[:, 0]
            rule = self._taught(draw_rows(known, SORTED_KEY, per_side=self.rows, by_class=False), known.seed)
            # Too few rows to learn anything from: the largest log-probability is what is left.
            return own[:, 0].astype(np.float64) if rule is None else rule(own)
        same_classes(known, evidence)
        own = evidence.target(KEY)[:, 0]
        labels = np.asarray(evidence.labels, np.int64)
        rows = draw_rows(known, KEY, per_side=self.rows, by_class=True)
        scores = np.full(len(evidence), np.nan)
        for c in np.unique(labels):
            rule = self._taught(rows.pick(rows.labels == c), known.seed)
            if rule is not None:
                scores[labels == c] = rule(own[labels == c])
        left = np.isnan(scores)
        if left.any():
            scores[left] = self._pooled(rows, own[left], labels[left], known.seed)
        return scores

    def _taught(self, rows: Rows, seed: int) -> Rule | None:
        if len(rows) < 2 * FEWEST:
            return None
        place = np.arange(len(rows)) % HELD_OUT == HELD_OUT - 1
        return calibrated(fit(self.family, rows.pick(~place), seed), rows.pick(place))

    def _pooled(self, rows: Rows, own: FloatArray, labels: IntArray, seed: int) -> Double:
        rows = Rows(_unclassed(rows.features, rows.labels), rows.members, rows.labels)
        features = _unclassed(own, labels)
        rule = self._taught(rows, seed)
        # Too few rows to learn anything from: the true class's log-probability is what is left.
        return features[:, 0].astype(np.float64) if rule is None else rule(features)


def _unclassed(log_p: FloatArray, labels: IntArray) -> FloatArray:
    """Return the true class's log-probability and the largest ones, falling: alike in meaning for all classes."""
    largest = -np.sort(-log_p, axis=1)[:, :SHOWN]
    return np.column_stack([log_p[np.arange(len(labels)), labels], largest])
