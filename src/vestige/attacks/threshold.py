"""Threshold attacks: one number of the target's answer, oriented so that members have more.

With ``thresholds`` the score is the distance above a threshold learnt on shadow models, so that 0 is where the
adversary decides: one threshold for all records (``global``, same ranking) or one per class (``class``; a regression
has none, so one for all). ``band`` learns two thresholds per class, between which members lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.cuts import best_bands, best_cuts
from vestige.attacks.gaussian_regression import WANTS, gaussian_ratio
from vestige.attacks.learned import same_classes
from vestige.errors import AuditError, UsageError
from vestige.records import Task
from vestige.target import Access, BoolArray, FloatArray

Thresholds = Literal["none", "global", "class", "band"]
SONG_MITTAL = "Song & Mittal, Systematic evaluation of privacy risks of machine learning models, USENIX Security 2021"
YEOM = "Yeom, Giacomelli, Fredrikson & Jha, Privacy risk in machine learning, CSF 2018"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A threshold attack on one signal; subclasses name the signal and its sign.

    ``thresholds``: ``none``, or learnt on shadow models, which the adversary needs for that alone: one for all records
    (``global``, the same ranking) or one for each class (``class``). Scores are then distances above the threshold, so
    that the adversary decides at 0. ``band`` learns two for each class, and scores how far within them a record lies:
    against defences that hold losses up, of which members may lie on both sides of others.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = SONG_MITTAL
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    signal: ClassVar[str]
    sign: ClassVar[float] = 1.0

    thresholds: Thresholds = "none"

    def __post_init__(self) -> None:
        if self.thresholds not in get_args(Thresholds):
            raise UsageError(f"Expected thresholds to be none, global, class or band, got '{self.thresholds}'.")

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: on their shadow values, through a threshold."""
        return self.thresholds != "none"

    @property
    def needs(self) -> Needs:
        """The signal; and shadow models for thresholds, of which a few say all there is to say."""
        if self.thresholds == "none":
            return Needs(signals=(self.signal,))
        return Needs(signals=(self.signal,), shadows=1, wants=WANTS, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member; with thresholds ≥ 0 is the verdict "member"."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence`` above thresholds learnt on the shadow models of ``known``.

        ``known`` may hold other records of the same classes. Raises AuditError when it has no shadow model.
        """
        own = self.sign * evidence.target(self.signal)[:, 0].astype(np.float64)
        if self.thresholds == "none":
            return own
        if not len(known.masks):
            raise AuditError(f"Thresholds for {type(self).__name__} need at least one shadow model, got none.")
        values = self.sign * known.reference(self.signal)[:, :, 0].astype(np.float64)
        flat, members = values.ravel(), known.masks.ravel()
        if self.thresholds == "band":
            return self._within(own, flat, members, known, evidence)
        pooled = float(best_cuts(flat, members, np.zeros(flat.size, np.int64), 1)[0])
        pooled = 0.0 if np.isnan(pooled) else pooled
        if self.thresholds == "global" or not known.classes:
            return own - pooled
        same_classes(known, evidence)
        cuts = best_cuts(flat, members, np.tile(np.asarray(known.labels, np.int64), len(values)), known.classes)
        # A class that no shadow model can teach about is cut where all classes together are.
        return own - np.where(np.isnan(cuts), pooled, cuts)[np.asarray(evidence.labels, np.int64)]

    def _within(
        self, own: FloatArray, values: FloatArray, members: BoolArray, known: Evidence, evidence: Evidence
    ) -> FloatArray:
        """Return how far inside its class's band each record lies; below 0, how far outside."""
        everyone = best_bands(values, members, np.zeros(values.size, np.int64), 1)[0]
        bands = np.where(np.isnan(everyone), 0.0, everyone)[None]
        labels = np.zeros(len(own), np.int64)
        if known.classes:
            same_classes(known, evidence)
            shown = np.tile(np.asarray(known.labels, np.int64), values.size // len(known.labels))
            found = best_bands(values, members, shown, known.classes)
            bands, labels = np.where(np.isnan(found), bands, found), np.asarray(evidence.labels, np.int64)
        inside: FloatArray = np.minimum(own - bands[labels, 0], bands[labels, 1] - own)
        return inside


@dataclass(frozen=True, kw_only=True)
class Gap(Metric):
    """Member if and only if the target names the true class: the attack that any other has to beat.

    Score (N,): 1 if correct, else 0; larger = more likely a member. The adversary needs one label for each record, and
    knows the true one. Its balanced accuracy is ½ + ½ (train accuracy - test accuracy). Section 5 of the paper.
    """

    access: ClassVar[Access] = Access.LABEL
    paper: ClassVar[str] = f"{YEOM}, section 5"
    signal: ClassVar[str] = "correct"


@dataclass(frozen=True, kw_only=True)
class Loss(Metric):
    """The smaller the target's loss on a record, the more likely it is a member.

    Score (N,): minus the loss; larger = more likely a member. The adversary needs the target's answer and the true
    label or value, which is the least that any score attack takes. With ``gaussian`` (regression only) the score is the
    log-likelihood ratio of the residual under two normal laws, members' and non-members', whose deviations are
    estimated on shadow models; ≥ 0 means "member". Section 3 of the paper.
    """

    paper: ClassVar[str] = f"{YEOM}, section 3"
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})
    signal: ClassVar[str] = "loss"
    sign: ClassVar[float] = -1.0

    gaussian: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gaussian and self.thresholds != "none":
            raise UsageError("The Gaussian form of the loss attack sets its own threshold.", hint="Drop 'thresholds'.")

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through a threshold or the residuals' deviations."""
        return self.gaussian or self.thresholds != "none"

    @property
    def needs(self) -> Needs:
        """The loss, or the residual and shadow models."""
        if self.gaussian:
            return Needs(signals=("residual",), shadows=1, wants=WANTS, side="both")
        return super().needs

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        return gaussian_ratio(evidence) if self.gaussian else super().score(evidence)


@dataclass(frozen=True, kw_only=True)
class Confidence(Metric):
    """The more probable the target finds the true class, the more likely the record is a member.

    Score (N,): log p_y, which ranks as p_y does but keeps its digits near 1; larger = more likely a member. The
    adversary needs the target's answer and the true label. Section 3 of the paper.
    """

    signal: ClassVar[str] = "log_probability"


@dataclass(frozen=True, kw_only=True)
class Entropy(Metric):
    """The less spread the target's answer, whatever the true class, the more likely the record is a member.

    Score (N,): minus the entropy; larger = more likely a member. The adversary needs the target's answer and no label,
    and for want of one can do worse than the gap attack. Section 3 of the paper.
    """

    signal: ClassVar[str] = "entropy"
    sign: ClassVar[float] = -1.0


@dataclass(frozen=True, kw_only=True)
class ModifiedEntropy(Metric):
    """Entropy that counts confidence in a wrong class as doubt: with class thresholds the strongest plain metric.

    Score (N,): minus the modified entropy, -(1 - p_y) log p_y - Σ p_j log(1 - p_j) over the other classes; larger =
    more likely a member. The adversary needs the target's answer and the true label; and a shadow model for class
    thresholds, which are what the paper has. Section 3 of the paper.
    """

    signal: ClassVar[str] = "modified_entropy"
    sign: ClassVar[float] = -1.0
