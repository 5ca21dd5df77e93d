"""AuditConfig: everything a run is told, from TOML, YAML, --set and VESTIGE_* variables. Unknown keys are errors."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator, model_validator

from vestige.canonical import digest
from vestige.config.adversary import AuditSection, ShadowConfig
from vestige.config.claims import CanaryConfig, ClaimConfig
from vestige.config.comparisons import GridConfig, TradeoffConfig
from vestige.config.gate import GateRule, Rule, figure_name
from vestige.config.target import DataConfig, DefenceConfig, RecipeConfig, TargetConfig, UpdateConfig
from vestige.config.values import Int, Location, Section, sentence


class AuditConfig(Section):
    """A whole audit's configuration."""

    name: str = Field(default="audit", min_length=1, description="names the output folder and the report")
    seed: Int = Field(default=0, ge=0, description="all randomness derives from it")
    store: Location | None = Field(default=None, description="folder of the content-addressed store")
    data: DataConfig = DataConfig()
    target: TargetConfig | None = None
    update: UpdateConfig | None = None
    recipe: RecipeConfig = RecipeConfig()
    defences: list[DefenceConfig] = Field(default=[])
    shadow: ShadowConfig = ShadowConfig()
    audit: AuditSection = AuditSection()
    claim: ClaimConfig | None = None
    canary: CanaryConfig = CanaryConfig()
    grid: GridConfig = GridConfig()
    tradeoff: TradeoffConfig = TradeoffConfig()
    gate: dict[str, Rule] = Field(
        default={}, description="largest figures that pass: 'tpr@0.001' = 0.01, or { max = 0.01, judge = 'low' }"
    )

    @field_validator("gate")
    @classmethod
    def _gate(cls, value: dict[str, GateRule]) -> dict[str, GateRule]:
        rules = {}
        for key, rule in value.items():
            try:
                attack = figure_name(key).attack
            except ValueError as error:
                raise sentence(f"[gate]: {error}") from error
            if attack and rule.attack not in (None, attack):
                raise sentence(f"[gate]: '{key}' names the attack '{attack}', and its rule names '{rule.attack}'.")
            rules[key] = rule.model_copy(update={"attack": attack}) if attack else rule
        return rules

    @model_validator(mode="after")
    def _measured(self) -> AuditConfig:
        for key in self.gate:
            fpr = figure_name(key).fpr
            if fpr is not None and not any(math.isclose(fpr, rate) for rate in self.audit.fpr):
                raise sentence(f"[gate] judges '{key}', and audit.fpr is {self.audit.fpr}: add {fpr:g} to audit.fpr.")
        return self


_NOT_RESULTS: dict[str, Any] = {
    "name": True,
    "store": True,
    "gate": True,
    "shadow": {"executor", "workers", "keep_models"},
    "audit": {"records_in_log"},
    # Canaries have an audit of their own. A claim counts: with one, the target is drawn by independent coins.
    "canary": True,
    "grid": True,
    "tradeoff": True,
}


def config_digest(config: AuditConfig) -> str:
    """Return the hash of everything that decides an audit's figures: not its name, nor how the work is done."""
    return digest("config", config.model_dump(mode="json", exclude=_NOT_RESULTS))


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of a config file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **AuditConfig.model_json_schema()}
