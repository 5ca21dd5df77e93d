"""Gradient norm: training makes the loss's gradient at its own records short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.lira import LiRA
from vestige.attacks.moments import collect, scalars
from vestige.attacks.orientation import filled
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.internal.gradients import GradientNorm as Signal
from vestige.signals.internal.gradients import Which
from vestige.target import Access, FloatArray

Calibration = Literal["none", "difference", "lira"]


@dataclass(frozen=True, kw_only=True)
class GradientNorm:
    """Member if the gradient of the loss at the record, by the model's weights, is short.

    Score (N,): minus the logarithm of the gradient's length; larger = more likely a member. The adversary needs the
    weights, and shadow models to calibrate with. ``layer``: of all layers together (``all``), of the ``first``, of the
    ``last``, or of a layer by its number. ``calibration``: ``difference`` takes away the mean over shadow models that
    did not train on the record, ``lira`` is the log-likelihood ratio of models that did and did not.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    paper: ClassVar[str] = (
        "Nasr, Shokri & Houmansadr, Comprehensive privacy analysis of deep learning, IEEE S&P 2019, section IV; "
        "calibration as in Watson et al., ICLR 2022, and Carlini et al., IEEE S&P 2022"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    layer: Which = "all"
    calibration: Calibration = "none"

    def __post_init__(self) -> None:
        Signal(layer=self.layer)
        if self.calibration not in get_args(Calibration):
            raise UsageError(
                f"Expected calibration to be {', '.join(get_args(Calibration))}, got '{self.calibration}'."
            )

    @property
    def key(self) -> str:
        """The signal it reads."""
        return key_of("gradient_norm", None if self.layer == "all" else {"layer": self.layer})

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records, through what is pooled where references are few."""
        return self.calibration != "none"

    @property
    def needs(self) -> Needs:
        """The gradient's length; and those under shadow models to calibrate with."""
        if self.calibration == "none":
            return Needs(signals=(self.key,))
        if self.calibration == "difference":
            return Needs(signals=(self.key,), shadows=1, side="out")
        return Needs(signals=(self.key,), shadows=LiRA().needs.shadows, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        if self.calibration == "lira":
            return LiRA(signal=self.key).score(evidence)
        own = scalars(evidence, self.key)
        if self.calibration == "difference":
            own = own - filled(collect(evidence, self.key)[0].mean)
        scores: FloatArray = -own.mean(axis=1)
        return scores
