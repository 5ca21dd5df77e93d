"""Who attacks: the models that the adversary trains, what it may see, and which attacks it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from vestige.config.values import Int, Real, Section


class ShadowConfig(Section):
    """[shadow]: the adversary's own models."""

    count: Int | None = Field(default=None, ge=0, le=100_000, description="how many; omitted: what the attacks need")
    fraction: Real | None = Field(
        default=None, gt=0, lt=1, description="share of the pool each trains on; omitted: the target's"
    )
    design: Literal["blocks", "bernoulli"] = Field(default="blocks", description="how records are dealt to the models")
    masks: str | None = Field(
        default=None, description="an .npy file of (count, records) 0/1: who trains on what, given by you"
    )
    data: str = Field(default="same", description="same | disjoint | another dataset's name")
    architecture: str | dict[str, Any] = Field(default="same", description="same | another [recipe] table")
    hyperparameters: Literal["known"] | dict[str, Any] = Field(
        default="known",
        description="known | a table of guesses: for keys of [recipe] a list to choose from, { low, high, log } to "
        "draw from, or one value; drawn once, by the seed",
    )
    defences: Literal["known", "unknown"] = Field(
        default="known",
        description="known: shadow models are trained and asked under the target's [[defences]] | unknown: under none, "
        "as by an adversary who does not adapt",
    )
    executor: str = Field(default="inline", description="inline | processes | ray")
    workers: Int = Field(default=2, ge=1, description="how many jobs at once; inline, of compiled networks alone")
    keep_models: bool = Field(
        default=True, description="keep trained weights in the store, so that new signals need no new training"
    )


class AuditSection(Section):
    """[audit]: what the adversary does."""

    attacks: str | list[str | dict[str, Any]] = Field(
        default="standard",
        description="a battery (quick, standard, full), names, or tables of name and parameters; beside a battery run "
        "the attacks that aim at the [[defences]] (quick: those that ask about a record once), a list stays as it is",
    )
    access: Literal["label", "score", "white_box"] = Field(default="score", description="what the adversary may see")
    labels: Literal["true", "predicted"] = Field(
        default="true",
        description="what the adversary takes for a record's label: the true one, or the one that a model names for it",
    )
    fpr: list[Real] = Field(
        default=[0.001, 0.01], description="false-positive rates at which the true-positive rate is given"
    )
    targets: Int = Field(default=1, ge=1, description="how many models of the pool take the target's place in turn")
    calibration_targets: Int = Field(
        default=4, ge=0, description="shadow models used to set thresholds and calibrate posteriors"
    )
    queries: list[str] = Field(
        default=[], description="augmented queries besides the plain one: flip and shift:PIXELS (images), noise:SIGMA"
    )
    budget: Int | None = Field(default=None, ge=1, description="the most queries per record that an attack may make")
    timing: bool = Field(default=False, description="the adversary also sees how long each answer takes")
    confidence: Real = Field(default=0.95, gt=0.5, lt=1, description="of every interval")
    records_in_log: Int = Field(
        default=20, ge=0, description="how many of the most exposed records the log and report name"
    )

    @field_validator("attacks", mode="before")
    @classmethod
    def _attacks(cls, value: Any) -> Any:
        if isinstance(value, str) and "," in value:
            value = [name.strip() for name in value.split(",") if name.strip()]
        if isinstance(value, tuple):
            value = list(value)
        if value in ([], ""):
            raise ValueError("a battery or at least one attack")
        for attack in value if isinstance(value, list) else []:
            if isinstance(attack, dict) and not isinstance(attack.get("name"), str):
                raise ValueError("attacks by name, or tables such as { name = 'lira', params = { centre = 'mean' } }")
        return value

    @field_validator("fpr")
    @classmethod
    def _rates(cls, value: list[float]) -> list[float]:
        if not value or any(not 0 < rate < 1 for rate in value):
            raise ValueError("a list of false-positive rates strictly between 0 and 1")
        return sorted(set(value))
