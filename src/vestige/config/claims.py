"""The differential privacy that a target is said to have, and the canaries that put it to the test."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from vestige.config.values import Int, Real, Section


class ClaimConfig(Section):
    """[claim]: the differential privacy that the target is said to have, held against every lower bound on ε."""

    epsilon: Real = Field(ge=0, description="the claimed ε")
    delta: Real = Field(default=0.0, ge=0, lt=1, description="the claimed δ")
    adjacency: Literal["add_remove", "replace_one"] = Field(
        default="add_remove", description="what neighbouring data sets are: one record more or less, or one exchanged"
    )
    unit: str = Field(default="record", min_length=1, description="what the claim protects: a record, a person, …")
    mechanism: Literal["gaussian", "subsampled_gaussian", "laplace", "randomized_response", "other"] = Field(
        default="other", description="what the noise is; bounds that assume Gaussian noise refuse any other"
    )
    mu: Real | None = Field(default=None, ge=0, description="for Gaussian noise, its μ where it is known")
    attack: str | None = Field(
        default=None,
        description="`vestige audit`: the attack whose scores are held against the claim; omitted: the first that runs "
        "of rmia, lira, their offline forms and loss",
    )
    guarantee: Literal["G1", "G2", "G3", "G4"] = Field(
        default="G1", description="G1 the released weights, G2 the answers, G3 utility only, G4 empirical only"
    )
    accountant: str = Field(default="", description="what computed the claim, such as 'dp-accounting 0.6 PLD'")
    assumptions: list[str] = Field(default=[], description="what must hold for the claim to, in words")
    excludes: list[str] = Field(
        default=["hyper-parameter selection"], description="what the claim leaves out, in words"
    )


class CanaryConfig(Section):
    """[canary]: records inserted by coin flips, for `vestige canary`.

    It refuses what could not be judged: a claim of class G3 or G4, and one of G2 under gradient scores; a claim for
    whole groups where a group has several records; a δ below the claim's; a first method that would only be shown, or
    has no answer for the design; and too few coins to show any leak.
    """

    kind: Literal["natural", "mislabelled", "out_of_distribution", "duplicated", "blank", "gradient"] = Field(
        default="natural",
        description="natural: records as they are | mislabelled | out_of_distribution: noise with a random label | "
        "duplicated: natural, several copies each | blank: nearly empty records | gradient: directions planted in "
        "each step's gradient (a training function that takes `steps`)",
    )
    count: Int = Field(default=1000, ge=1, le=1_000_000, description="how many canaries in each training")
    runs: Int = Field(default=1, ge=1, le=100_000, description="how many trainings, each with fresh coins")
    copies: Int | None = Field(
        default=None, ge=1, le=10_000, description="how often an included canary is inserted; omitted: 1, duplicated 4"
    )
    score: str = Field(
        default="loss",
        description="what is measured on a canary: loss, log_odds, hinge, entropy, … or gradient, which sums over "
        "training steps the product of its gradient with the step taken (torch)",
    )
    references: Int = Field(
        default=0, ge=0, le=10_000, description="models with coins of their own, on which scores are calibrated"
    )
    delta: Real | None = Field(
        default=None, ge=0, lt=1, description="δ of the bounds, at least the claim's; omitted: the claim's, or 1e-5"
    )
    confidence: Real = Field(default=0.95, gt=0.5, lt=1, description="with which all judged bounds hold together")
    methods: list[str] = Field(
        default=[],
        description="one_run, one_run_fdp, one_run_gdp, joint_region, clopper_pearson, gdp; the first is quoted; those "
        "whose assumptions the design meets are held against the claim; omitted: what fits the design",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
