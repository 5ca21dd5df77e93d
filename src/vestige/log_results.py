"""The parts of the log about attacks: what each of them found, and which records are at risk."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vestige.log_parts import Figure, Part


class TprPoint(Figure):
    """The true-positive rate at a false-positive rate that was asked for."""

    fpr: float


class Operational(Part):
    """What an adversary without ground truth gets: a threshold set on shadow models, then applied to the target."""

    fpr_asked: float
    fpr: Figure = Figure()
    tpr: Figure = Figure()
    reason: str = ""


class Curve(Part):
    """A ROC curve thinned to a drawable number of points, with a pointwise 95 % band."""

    fpr: list[float]
    tpr: list[float]
    low: list[float]
    high: list[float]

    @model_validator(mode="after")
    def _even(self) -> Curve:
        if not len(self.fpr) == len(self.tpr) == len(self.low) == len(self.high):
            raise ValueError("a curve's lists differ in length")
        return self


class Histogram(Part):
    """Shares of members and non-members per score bin; ``edges`` has one entry more."""

    edges: list[float]
    members: list[float]
    nonmembers: list[float]

    @model_validator(mode="after")
    def _even(self) -> Histogram:
        if not max(len(self.edges) - 1, 0) == len(self.members) == len(self.nonmembers):
            raise ValueError("a histogram's lists do not fit its edges")
        return self


class Slice(Part):
    """One class or group: how exposed its records are under the attack named in ``Risk``.

    ``auc``: with the interval of this slice alone. ``together``: with one that holds for all slices of its kind at
    once, so that the worst may be picked from them. ``p_rest``: how likely chance alone would set any slice of
    its kind this far apart from the records outside it (Holm); ``p_chance``: the same for the
    distance from an AUC of one half.
    """

    kind: Literal["class", "group"]
    name: str
    members: int
    nonmembers: int
    auc: Figure = Figure()
    mean_posterior: float | None = None
    together: Figure = Figure()
    p_rest: float | None = None
    p_chance: float | None = None


class RecordRisk(Part):
    """One record: its score, and the calibrated probability that it was a member given that score.

    ``exposure`` is the AUC an adversary would have on this record alone, over models that did and did not train on it:
    it does not depend on whether this target trained on it.
    """

    id: str
    label: str
    member: bool
    score: float
    posterior: Figure
    exposure: float | None = None


class Risk(Part):
    """Which records are at risk, under one attack (the strongest that could be calibrated)."""

    attack: str
    threshold: float = 0.9
    at_risk: int = 0
    share_at_risk: Figure = Figure()
    posterior_histogram: list[float] = Field(
        default_factory=list, description="shares of members in ten equal posterior bins"
    )
    exposure_quantiles: list[float] = Field(default_factory=list, description="0, 5, 25, 50, 75, 95, 100 % quantiles")
    calibration: list[tuple[float, float, int]] = Field(
        default_factory=list, description="(mean posterior, share of members, records) per bin, on the target"
    )
    slices: list[Slice] = []
    records: list[RecordRisk] = Field(default=[], description="the most exposed records first, a limited number")


class PerTarget(Part):
    """One model in the target's place."""

    target: int
    auc: float
    tpr: list[float | None]


class AttackResult(Part):
    """One attack's outcome; larger scores always meant "more likely a member"."""

    name: str
    label: str = ""
    params: dict[str, Any] = {}
    access: str = "score"
    status: Literal["ok", "failed", "skipped"] = "ok"
    reason: str = ""
    auc: Figure = Figure()
    balanced_accuracy: Figure = Figure()
    tpr: list[TprPoint] = []
    operational: Operational | None = None
    operating_points: list[Operational] = []
    queries_per_record: int = 1
    shadow_models: int = 0
    seconds: float = 0.0
    targets: list[PerTarget] = []
    between_target_sd: float | None = None
    distinct_scores: int | None = None
    roc: Curve | None = None
    histogram: Histogram | None = None
    paper: str = ""

    @property
    def title(self) -> str:
        """The label, or the name when the attack has only one variant."""
        return self.label or self.name

    def goes_by(self, named: str | dict[str, Any]) -> bool:
        """Whether this is what a config names: the attack, with every parameter that is given there.

        >>> AttackResult(name="confidence", params={"thresholds": "none"}).goes_by(
        ...     {"name": "confidence", "params": {"thresholds": "class"}}
        ... )
        False
        """
        if isinstance(named, str):
            return self.name == named
        wanted = named.get("params") or {}
        return self.name == named.get("name") and wanted.items() <= self.params.items()
