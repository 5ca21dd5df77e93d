"""The compliance record's types: versioned, strict, and the same for every log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vestige.log import Epsilon, Figure, Part, Slice, TprPoint

FORMAT = "vestige.compliance"
VERSION = 1

Standing = Literal["recorded", "not_recorded", "person", "confirm"]
"""recorded: the log says so; not_recorded: the log could have said so and does not; person: only a person can say;
confirm: words of a tool about a legal text, which a person has to compare with the original.
"""
MARKS: dict[Standing, str] = {
    "recorded": "from the log",
    "not_recorded": "not recorded",
    "person": "to be filled by a person",
    "confirm": "to be confirmed by a person",
}
Level = Literal["not assessed", "not distinguishable from chance at this power", "low", "medium", "high"]


class Statement(Part):
    """One field: what the log says of a topic, or who has to say it."""

    id: str = Field(description="stable, such as R4.epochs")
    topic: str
    standing: Standing
    text: str = Field(description="what the log says; for an open field, what is asked")
    sources: list[str] = Field(default=[], description="JSON Pointers (RFC 6901) into the log")
    entry: str = Field(default="", description="what a person wrote; the tool leaves it empty")

    @model_validator(mode="after")
    def _sourced(self) -> Statement:
        if (self.standing == "recorded") != bool(self.sources):
            raise ValueError(f"{self.id}: a recorded statement names its sources, and only a recorded one does")
        return self


class Section(Part):
    """A part of the record, and the legal sources (by id) that ask for it."""

    id: str
    title: str
    basis: list[str] = []
    statements: list[Statement]


class LogReference(Part):
    """Which log the record was made from; ``sha256`` is that of audit.json as it is written."""

    name: str
    created: str
    status: str
    sha256: str


class Test(Part):
    """One attack of the audit."""

    __test__ = False
    attack: str
    access: str
    status: Literal["ok", "failed", "skipped"]
    reason: str = ""
    params: dict[str, Any] = {}
    auc: Figure = Figure()
    rates: list[TprPoint] = []
    queries_per_record: int = 1
    shadow_models: int = 0
    source: str


class Strongest(Part):
    """The most that any attack found at one false-positive rate.

    ``upper`` is the largest upper end. The truly strongest attack is one of them, and its own interval ends no higher,
    so the largest true rate lies below it with the confidence that one end of one interval has: no correction for the
    number of attacks is needed on this side.
    """

    fpr: float
    attack: str = ""
    tpr: Figure = Figure()
    upper: float | None = None
    sources: list[str] = []


class Band(Part):
    """A level of likelihood, up to and including this true-positive rate; None: any."""

    level: Level
    up_to: float | None


class Likelihood(Part):
    """How likely a member is recognised, in bands; ``not assessed`` wherever evidence is missing, with the reasons.

    ``at_least``: what has been shown all the same, from the lower ends of the intervals.
    """

    level: Level
    at_least: Level = "not assessed"
    strongest: Strongest
    reasons: list[str] = []
    sources: list[str] = []


class Measure(Part):
    """A defence that was in force: its class of guarantee, what that means, and the claim that goes with it."""

    name: str
    guarantee: str
    means: str
    survives: str
    params: dict[str, Any] = {}
    claim: dict[str, Any] | None = None
    paper: str = ""
    source: str


class Exposed(Part):
    """One record, by id alone: no features, no label, and not whether it was trained on."""

    id: str
    exposure: float | None = None
    posterior: Figure = Figure()
    source: str


class AtRisk(Part):
    """Records at risk under one attack."""

    attack: str
    threshold: float
    records: int
    members: int
    share: Figure
    most_exposed: list[Exposed] = []
    slices: list[Slice] = []
    source: str = "/risk"


class Element(Part):
    """One element of the question of anonymity, and how much of it this audit answers."""

    id: str
    element: str
    answer: Literal["answered in part", "not answered", "for a person"]
    text: str
    sources: list[str] = []


class Gap(Part):
    """Something that was not tested."""

    kind: Literal["attack", "figure", "adversary", "data", "leak"]
    text: str
    sources: list[str] = []


class Reference(Part):
    """A legal or normative text, and what it is taken to ask for; nobody has compared this with the original."""

    id: str
    title: str
    asks: str
    standing: Literal["confirm"] = "confirm"
    entry: str = ""


class ComplianceRecord(Part):
    """Evidence of one audit for whoever assesses the processing; it draws no legal conclusion."""

    format: Literal["vestige.compliance"] = "vestige.compliance"
    version: Literal[1] = 1
    log: LogReference
    confidence: float | None = Field(default=None, description="of every interval; None: the log does not say")
    likelihood: Likelihood
    bands: list[Band]
    defended: bool | None = Field(default=None, description="whether defences were in force; None: not recorded")
    measures: list[Measure] = []
    bounds: list[Epsilon] = Field(default=[], description="lower bounds on ε, as in the log")
    tests: list[Test] = []
    strongest: list[Strongest] = []
    at_risk: AtRisk | None = None
    anonymity: list[Element]
    untested: list[Gap]
    assumptions: list[Statement]
    sections: list[Section]
    references: list[Reference]

    def statements(self) -> list[Statement]:
        """Return every field, in order."""
        return [*(one for section in self.sections for one in section.statements), *self.assumptions]

    def to_json(self, indent: int | None = 2) -> str:
        """Return the record as JSON text."""
        return self.model_dump_json(indent=indent)
