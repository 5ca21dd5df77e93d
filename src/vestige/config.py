"""AuditConfig: everything a run is told, from TOML, YAML, --set and VESTIGE_* variables. Unknown keys are errors."""

from __future__ import annotations

import math
import os
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vestige.canonical import digest

FIGURES = ("tpr", "auc", "balanced_accuracy", "records_at_risk")


def _sentence(text: str) -> PydanticCustomError:
    return PydanticCustomError("sentence", "{text}", {"text": text})


def _number(value: Any) -> Any:
    # Python takes true for 1; a config that says `count = true` means something else.
    if isinstance(value, bool):
        raise ValueError("a number")
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Int = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Location = Annotated[str, BeforeValidator(_text)]


class Section(BaseModel):
    """A table of the config: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
        default="standard", description="a battery (quick, standard, full), names, or tables of name and parameters"
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


class GridConfig(Section):
    """[grid]: for `vestige audit --grid`, what takes turns; every combination is an audit of its own."""

    access: list[Literal["label", "score", "white_box"]] = Field(default=[], description="what adversaries may see")
    queries: list[Int] = Field(default=[], description="budgets of queries per record, as in [audit] budget")
    source: list[Location] = Field(default=[], description="which data, as in [data] source")
    recipe: list[dict[str, Any]] = Field(default=[], description="targets: [recipe] tables")
    data: list[str] = Field(default=[], description="the adversary's data, as in [shadow] data")
    architecture: list[str | dict[str, Any]] = Field(
        default=[], description="how the adversary's models are built, as in [shadow] architecture"
    )
    hyperparameters: list[Literal["known"] | dict[str, Any]] = Field(
        default=[], description="whether hyperparameters are known, as in [shadow] hyperparameters"
    )
    labels: list[Literal["true", "predicted"]] = Field(
        default=[], description="whether the true labels are known, as in [audit] labels"
    )
    attacks: list[str | dict[str, Any]] = Field(
        default=[], description="batteries and attacks, all run in every cell; omitted: [audit] attacks"
    )
    family: list[str] = Field(
        default=[],
        description="attack models, where one is learnt: mlp, logistic, boosting, forest, tree, knn, naive_bayes",
    )


class TradeoffChain(Section):
    """[[tradeoff.defences]]: one way of defending. A list gives one candidate per value, a range is tuned."""

    name: str = Field(default="", description="what the page calls it; omitted: the kinds of its chain")
    chain: list[DefenceConfig] = Field(
        default=[],
        description="[[defences]] tables, in order; a list in place of a value is swept, { low, high, log } is tuned",
    )
    recipe: dict[str, Any] = Field(
        default={}, description="keys of [recipe] that differ under it, values, lists and ranges alike"
    )


class TradeoffConfig(Section):
    """[tradeoff]: for `vestige tradeoff`, what is compared with training undefended; every candidate is an audit.

    The chain in [[defences]], where there is one, is a candidate too.
    """

    baselines: list[Literal["early_stopping", "heuristic_dp_sgd", "dp_sgd"]] = Field(
        default=["early_stopping", "heuristic_dp_sgd", "dp_sgd"],
        description="what every defence is held against, besides no defence",
    )
    epochs: list[Int] = Field(
        default=[], description="after how many epochs the early-stopping curve looks; omitted: six shares of them all"
    )
    noise: list[Real] = Field(
        default=[0.00625, 0.05, 0.2, 0.5, 1.0],
        description="noise multipliers of heuristic DP-SGD, whose ε may mean nothing",
    )
    epsilon: list[Real] = Field(default=[1.0, 3.0, 8.0], description="budgets of DP-SGD")
    dp_sgd: dict[str, Any] = Field(default={}, description="further parameters of both: values, lists and ranges")
    defences: list[TradeoffChain] = Field(default=[], description="[[tradeoff.defences]]: the chosen ones")
    tune: dict[str, Any] = Field(
        default={},
        description="keys of [recipe] that are tuned for every candidate alike: lists to choose from, and ranges",
    )
    trials: Int = Field(default=20, ge=1, le=10_000, description="how many settings are tried for each candidate")
    canaries: bool = Field(
        default=True,
        description="whether every candidate is also asked about canaries: mislabelled ones, one for 20 records, "
        "unless [canary] says otherwise",
    )
    leak_at_most: Real | None = Field(
        default=None, gt=0, le=1, description="recommend what keeps the highest accuracy and leaks at most this TPR"
    )
    lose_at_most: Real | None = Field(
        default=None, ge=0, le=100, description="recommend what leaks least and loses at most so many points"
    )


class GateRule(Section):
    """One rule of [gate]: the largest value that passes, and which end of the interval is judged."""

    max: Real
    attack: str | None = Field(default=None, description="judge this attack alone; omitted: every attack")
    judge: Literal["value", "low", "high"] = Field(default="value", description="which end of the interval is compared")


class FigureName(NamedTuple):
    """What a rule of the gate judges: a figure of one attack or (None) of all; the rate for ``tpr`` alone."""

    attack: str | None
    figure: str
    fpr: float | None


def figure_name(text: str) -> FigureName:
    """Read ``auc``, ``tpr@0.001`` or ``lira.tpr@0.01``; raises ValueError with a whole sentence.

    >>> figure_name("lira.tpr@0.01")
    FigureName(attack='lira', figure='tpr', fpr=0.01)
    """
    name, at, rate = text.partition("@")
    attack, _, figure = name.strip().rpartition(".")
    expected = f"Expected a figure such as 'auc', 'tpr@0.001' or 'lira.tpr@0.01', got '{text}'."
    if figure not in FIGURES:
        raise ValueError(f"{expected} Figures are: {', '.join(FIGURES)}.")
    if figure != "tpr":
        if at:
            raise ValueError(f"{expected} Only tpr is taken at a false-positive rate.")
        return FigureName(attack or None, figure, None)
    try:
        fpr = float(rate)
    except ValueError:
        fpr = math.nan
    if not 0 < fpr < 1:
        raise ValueError(f"{expected} The rate after '@' lies strictly between 0 and 1.")
    return FigureName(attack or None, figure, fpr)


def _rule(value: Any) -> Any:
    if isinstance(value, int | float):
        return {"max": value}
    if not isinstance(value, dict | GateRule):
        raise ValueError("a number, or a table such as { max = 0.01 }")
    return value


Rule = Annotated[GateRule, BeforeValidator(_rule, json_schema_input_type=float | GateRule)]


class AuditConfig(Section):
    """A whole audit's configuration."""

    name: str = Field(default="audit", min_length=1, description="names the output folder and the report")
    seed: Int = Field(default=0, ge=0, description="all randomness derives from it")
    store: Location | None = Field(default=None, description="folder of the content-addressed store")
    data: DataConfig = DataConfig()
    target: TargetConfig | None = None
    update: UpdateConfig | None = None
    recipe: RecipeConfig = RecipeConfig()
    defences: list[DefenceConfig] = []
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
                raise _sentence(f"[gate]: {error}") from error
            if attack and rule.attack not in (None, attack):
                raise _sentence(f"[gate]: '{key}' names the attack '{attack}', and its rule names '{rule.attack}'.")
            rules[key] = rule.model_copy(update={"attack": attack}) if attack else rule
        return rules

    @model_validator(mode="after")
    def _measured(self) -> AuditConfig:
        for key in self.gate:
            fpr = figure_name(key).fpr
            if fpr is not None and not any(math.isclose(fpr, rate) for rate in self.audit.fpr):
                raise _sentence(f"[gate] judges '{key}', and audit.fpr is {self.audit.fpr}: add {fpr:g} to audit.fpr.")
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
