"""What is audited: the records, an existing model or how one is trained, its updates and its defences."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vestige.config.values import Int, Location, Real, Section


class DataConfig(Section):
    """[data]: which records."""

    source: Location = Field(
        default="digits",
        description="a name from `vestige list datasets`, or a path to .npz .csv .parquet .safetensors",
    )
    label: str = Field(default="label", description="name of the label column (files)")
    id: str | None = Field(default=None, description="name of the id column (files); row numbers when absent")
    group: str | None = Field(
        default=None, description="name of the column that says which rows are one person's (files)"
    )
    categorical: Literal["onehot", "ordinal", "frame"] = Field(
        default="onehot", description="how columns of text become features: frame leaves them to the model"
    )
    task: Literal["classification", "regression"] | None = Field(
        default=None, description="what the labels of a file are, where whole numbers leave it open"
    )
    prior: str | None = Field(
        default=None,
        description="name of a column (files): the probability, known from elsewhere, that an existing target was "
        "trained on the record; ensembles with prior = true add it to what they find",
    )
    limit: Int | None = Field(default=None, ge=2, description="audit a random subset of this many records")
    population: Real = Field(default=0.2, ge=0, lt=1, description="share of the records held out from every model")
    duplicates: Literal["keep", "drop"] = Field(default="keep", description="what to do with records that occur twice")


class TargetConfig(Section):
    """[target]: an existing model; omitted, a target is trained by the recipe on a random half."""

    kind: str | None = Field(default=None, description="torch | sklearn | xgboost | lightgbm")
    model: Location | None = Field(default=None, description="path to the trained model")
    members: Location | None = Field(
        default=None, description="column of the data, or a file of ids, that says who was trained on"
    )
    trust: bool = Field(default=False, description="allow a model file that executes code when loaded")
    before: list[Location] = Field(
        default=[],
        description="paths of the model before its last update, the oldest first; members are then the updates'",
    )
    base: Location | None = Field(
        default=None, description="a file of ids: records that it was trained on before and after, which shadows share"
    )

    @field_validator("before", mode="before")
    @classmethod
    def _before(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | os.PathLike) else value


class UpdateConfig(Section):
    """[update]: models are trained, then updated by the members; the adversary has them before and after."""

    kind: Literal["fine_tune", "retrain", "unlearn"] = Field(
        default="fine_tune",
        description="fine_tune: training goes on with the members alone | retrain: anew, on the old records and the "
        "members | unlearn: anew, without the members",
    )
    base: Real = Field(
        default=0.5, gt=0, lt=1, description="share of the records set aside as what models have seen all along"
    )
    share: Real | None = Field(
        default=None,
        gt=0,
        le=1,
        description="how much of the base each model draws; omitted: half, or all where [target] base names it",
    )
    steps: Int = Field(default=1, ge=1, le=1000, description="so many updates, one after another")
    epochs: Int | None = Field(default=None, ge=1, description="of each fine-tuning; omitted: the recipe's")
    lr: Real | None = Field(default=None, gt=0, description="of fine-tuning; omitted: the recipe's")


class RecipeConfig(BaseModel):
    """[recipe]: how the target and its shadow models are trained; further keys are the recipe's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = Field(default="torch", description="torch | sklearn | 'package.module:function'")

    @property
    def options(self) -> dict[str, Any]:
        """The recipe's own keys."""
        return dict(self.__pydantic_extra__ or {})


class DefenceConfig(BaseModel):
    """[[defences]]: one layer; further keys are the defence's own."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = Field(description="a name from `vestige list defences`")

    @property
    def options(self) -> dict[str, Any]:
        """The defence's own keys."""
        return dict(self.__pydantic_extra__ or {})
