"""AuditConfig: everything a run is told, from TOML, YAML, --set and VESTIGE_* variables. Unknown keys are errors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """A table of the config: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """[data]: which records."""

    source: str = Field("digits", description="a name from `vestige list datasets`, or a path to .npz .csv .parquet .safetensors")
    label: str = Field("label", description="name of the label column (files)")
    id: str | None = Field(None, description="name of the id column (files); row numbers when absent")
    group: str | None = Field(None, description="name of the column that says which rows are one person's (files)")
    categorical: Literal["onehot", "ordinal", "frame"] = "onehot"
    limit: int | None = Field(None, ge=2, description="audit a random subset of this many records")
    population: float = Field(0.2, ge=0, lt=1, description="share of the records held out from every model")
    duplicates: Literal["keep", "drop"] = "keep"


class TargetConfig(Section):
    """[target]: an existing model; omitted, a target is trained by the recipe on a random half."""

    kind: str | None = Field(None, description="torch | sklearn | xgboost | lightgbm")
    model: str | None = Field(None, description="path to the trained model")
    members: str | None = Field(None, description="column of the data, or a file of ids, that says who was trained on")
    trust: bool = Field(False, description="allow a model file that executes code when loaded")


class RecipeConfig(BaseModel):
    """[recipe]: how the target and its shadow models are trained; further keys are the recipe's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = Field("torch", description="torch | sklearn | 'package.module:function'")

    @property
    def options(self) -> dict[str, Any]:
        """The recipe's own keys."""
        return dict(self.__pydantic_extra__ or {})


class DefenceConfig(BaseModel):
    """[[defences]]: one layer; further keys are the defence's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str


class ShadowConfig(Section):
    """[shadow]: the adversary's own models."""

    count: int | None = Field(None, ge=0, le=100_000, description="how many; omitted: what the attacks need")
    fraction: float | None = Field(None, gt=0, lt=1, description="share of the pool each trains on; omitted: the target's")
    design: Literal["blocks", "bernoulli"] = "blocks"
    data: str = "same"
    architecture: str | dict[str, Any] = "same"
    executor: str = "inline"
    workers: int = Field(2, ge=1)
    keep_models: bool = Field(True, description="keep trained weights in the store, so that new signals need no new training")


class AuditSection(Section):
    """[audit]: what the adversary does."""

    attacks: str | list[str | dict[str, Any]] = "standard"
    access: Literal["label", "score", "white_box"] = "score"
    fpr: list[float] = [0.001, 0.01]
    targets: int = Field(1, ge=1, description="how many models of the pool take the target's place in turn")
    calibration_targets: int = Field(4, ge=0, description="shadow models used to set thresholds and calibrate posteriors")
    queries: list[str] = Field([], description="augmented queries besides the plain one: flip, shift:PIXELS (images)")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    records_in_log: int = Field(20, ge=0, description="how many of the most exposed records the log and report name")

    @field_validator("fpr")
    @classmethod
    def _rates(cls, value: list[float]) -> list[float]:
        if not value or any(not 0 < rate < 1 for rate in value):
            raise ValueError("expected false-positive rates strictly between 0 and 1")
        return sorted(set(value))


class GateRule(Section):
    """One rule of [gate]: the largest value that passes, and which end of the interval is judged."""

    max: float
    attack: str | None = None
    judge: Literal["value", "low", "high"] = "value"


class AuditConfig(Section):
    """A whole audit's configuration."""

    name: str = "audit"
    seed: int = Field(0, ge=0)
    store: str | None = Field(None, description="folder of the content-addressed store")
    data: DataConfig = DataConfig()
    target: TargetConfig | None = None
    recipe: RecipeConfig = RecipeConfig()
    defences: list[DefenceConfig] = []
    shadow: ShadowConfig = ShadowConfig()
    audit: AuditSection = AuditSection()
    gate: dict[str, GateRule] = {}
