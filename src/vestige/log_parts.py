"""The parts of the log about differential privacy, and what every part is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CLAIM_RULE = "epsilon-claim"
"""The gate's rule on a claim: no bound that counts exceeds it."""


class Part(BaseModel):
    """A piece of the log: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Part):
    """A number with its 95 % interval; ``value`` is None when withheld, and ``reason`` says why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    reason: str = ""


class Divergence(Part):
    """How unlike the target's answers to members and to non-members are: the Jensen–Shannon divergence in bits.

    ``signal``: loss (the cross-entropy) or entropy; ``value``: 0 for one law, 1 for disjoint ones, corrected for what
    chance alone shows; ``plain``: the divergence of the two histograms as they are; ``chance``: what membership dealt
    out at random would show on average, and so the bias that was taken off.
    """

    signal: str
    value: Figure = Figure()
    plain: float
    chance: float


class Agreement(Part):
    """Whether the attacks find the same members of the target, each at a false-positive rate of ``fpr``.

    ``caught``: how many each finds; ``some``: at least one of them; ``every``: all of them; ``wrong``: the share of
    non-members that some attack accuses; ``jaccard``: for two attacks, those both find among those either does.
    """

    fpr: float
    attacks: list[str]
    caught: list[int]
    some: int
    every: int
    wrong: float
    jaccard: list[list[float | None]]


class Epsilon(Part):
    """A lower bound on ε (or, labelled so, an estimate) from one set of scores, with what it assumes.

    A ``bound`` lies below the true ε with probability ``confidence``; an ``estimate`` promises nothing. ``value``: None
    when the method refused, and ``reason`` says why; next to a value ``reason`` is a caveat. ``ceiling``: what a total
    leak would have shown, so that a claim above it could not have been refuted. ``primary``: chosen before the scores
    were seen to be the figure that is quoted. ``judged``: whether it counts against the claim; the judged bounds of one
    log share the error probability, so that all of them hold together. ``attack``: whose scores these were.
    """

    method: str
    assumption: str
    delta: float
    value: float | None = None
    confidence: float
    kind: Literal["bound", "estimate"] = "bound"
    ceiling: float | None = None
    design: str = ""
    reason: str = ""
    attack: str = ""
    primary: bool = False
    judged: bool = True

    def could_refute(self, claimed: float) -> bool:
        """Whether a total leak would have refuted a claim of ``claimed``."""
        return self.judged and self.kind == "bound" and self.ceiling is not None and self.ceiling > claimed

    def refutes(self, claimed: float) -> bool:
        """Whether this is a bound that counts, and exceeds the claim."""
        return self.judged and self.kind == "bound" and self.value is not None and self.value > claimed


class Claim(Part):
    """What differential privacy is said to hold for the target: the (ε, δ) that the bounds are held against."""

    epsilon: float
    delta: float = 0.0
    guarantee: str = "G1"
    unit: str = "record"
    adjacency: Literal["add_remove", "replace_one"] = "add_remove"
    mechanism: str = "other"
    mu: float | None = None
    accountant: str = ""
    ledger: list[dict[str, Any]] = []
    assumptions: list[str] = []
    excludes: list[str] = []


class Layer(Part):
    """One defence of the audited model: its parameters, its class of guarantee (G1 to G4), and what it claims.

    ``stage``: whether it changes the training or the answers. ``adaptive``: the attacks that aim at its mechanism, as a
    config names them, whether or not they were run.
    """

    name: str
    params: dict[str, Any] = {}
    guarantee: str = "G4"
    paper: str = ""
    claim: dict[str, Any] | None = None
    stage: Literal["training", "answers"] = "training"
    adaptive: list[str | dict[str, Any]] = []


class Reach(Part):
    """What an audit of this design would typically show (the median) of a leak whose true ε were ``epsilon``."""

    epsilon: float
    shown: float


class CanaryPower(Part):
    """What the audit could have shown, worked out before any score was seen.

    ``ceiling``: the primary bound had every canary been recognised; ``reach``: typical bounds for known leaks.
    ``could_fail``: whether any outcome would have refuted the claim; None when nothing was claimed.
    """

    ceiling: float | None = None
    reach: list[Reach] = []
    could_fail: bool | None = None
    message: str = ""


class CanaryFacts(Part):
    """The canaries of an audit: what they are, and what was done with them.

    ``count``: canaries in each of ``runs`` trainings; ``included`` and ``left_out``: coins over all runs. ``copies``:
    how often each included one was inserted, which makes the group of copies the ``unit`` of the bound before it is
    brought back to one record. ``score``: what was measured; ``references``: models with coins of their own that the
    scores were calibrated on.
    """

    kind: str
    count: int
    runs: int = 1
    included: int = 0
    left_out: int = 0
    copies: int = 1
    unit: str = "record"
    adjacency: Literal["add_remove", "replace_one"] = "add_remove"
    score: str = "loss"
    access: str = "score"
    references: int = 0
    rate: float = 0.5
    always: int = Field(default=0, description="records that every model trained on, beside the canaries")
    primary: str = ""
    seed: int = 0
    power: CanaryPower = CanaryPower()
    notes: list[str] = []
