"""Many audits at once: what takes turns in a grid, and which defences a trade-off compares."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vestige.config.target import DefenceConfig
from vestige.config.values import Int, Location, Real, Section


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
