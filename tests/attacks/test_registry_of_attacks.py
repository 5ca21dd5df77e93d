from __future__ import annotations

import pytest

from vestige.attacks import ATTACKS, BATTERIES, facts, params_of, resolve, unfit
from vestige.attacks.threshold import Gap, ModifiedEntropy
from vestige.errors import UsageError
from vestige.target import Access

PROMISED = [
    "gap",
    "loss",
    "confidence",
    "entropy",
    "modified_entropy",
    "risk_score",
    "shokri",
    "ml_leaks_1",
    "ml_leaks_2",
    "ml_leaks_3",
    "attack_p",
    "attack_r",
    "calibrated",
    "sablayrolles",
    "long",
    "lira",
    "lira_offline",
    "rmia",
    "rmia_offline",
    "quantile",
]


def test_every_promised_name_is_there_and_has_its_facts():
    assert set(PROMISED) <= set(ATTACKS.names())
    for name in PROMISED:
        known = facts(name)
        assert known.name == name
        assert known.paper
        assert known.description.endswith(".")
        assert known.access in ("label", "score")
        assert known.signals
        assert known.shadows > 0 or known.side in ("none", "out")


def test_a_battery_has_labels_of_its_own_for_every_attack():
    for name in BATTERIES:
        labels = [label for label, _ in resolve(name)]
        assert len(labels) == len(set(labels)) > 1
    assert [label for label, _ in resolve("standard")] == [
        "gap",
        "loss",
        "modified_entropy[class]",
        "calibrated",
        "attack_r",
        "lira",
        "lira_offline",
        "rmia",
        "rmia_offline",
    ]
    names = {label.partition("[")[0] for label, _ in resolve("full")}
    assert names == set(PROMISED)


def test_label_access_has_batteries_of_its_own():
    assert [label for label, _ in resolve("quick", access="label")] == ["gap", "noise"]
    full = dict(resolve("full", access="label"))
    assert full["gap"] == Gap()
    assert {"boundary", "augmentation", "augmentation[learned]", "transfer", "yoqo", "yoqo[online]"} <= set(full)
    assert all(attack.access == Access.LABEL for attack in full.values())


def test_a_budget_cuts_what_chooses_its_queries():
    chosen = dict(resolve("full", access="label", budget=200))
    assert chosen["boundary"].queries == 200
    assert chosen["noise"].queries == 100
    assert dict(resolve(["noise"], access="label", budget=50))["noise"].queries == 49
    assert [label for label, _ in resolve("standard", access="label", budget=10)] == ["gap", "noise", "augmentation"]
    with pytest.raises(UsageError, match="budget of 1 "):
        resolve(["noise"], access="label", budget=1)


def test_regression_takes_the_attacks_and_signals_that_it_has():
    chosen = dict(resolve("full", task="regression"))
    assert {"loss", "loss[gaussian]", "attack_p", "lira[negative_log_loss]"} <= set(chosen)
    for label, attack in chosen.items():
        assert unfit(attack, task="regression") == "", label
    assert "loss[gaussian]" not in dict(resolve("full"))


def test_names_and_params_may_be_mixed_and_are_not_repeated():
    spec = ["gap", {"name": "modified_entropy", "params": {"thresholds": "class"}}, "quick", "gap"]
    chosen = resolve(spec)
    assert [label for label, _ in chosen] == ["gap", "modified_entropy[class]", "loss", "rmia"]
    assert chosen[1][1] == ModifiedEntropy(thresholds="class")
    assert resolve("lira")[0][0] == "lira"


def test_labels_that_would_clash_spell_out_the_parameter():
    spec = [{"name": "risk_score", "params": {"bins": b}} for b in (5, 10)]
    assert [label for label, _ in resolve(spec)] == ["risk_score", "risk_score[bins=10]"]


def test_an_attack_asked_for_by_name_stays_with_its_reason():
    ((_, attack),) = resolve(["lira"], access=Access.LABEL)
    assert "score access" in unfit(attack, access=Access.LABEL)
    ((_, attack),) = resolve(["gap"], task="regression")
    assert "not for regression" in unfit(attack, task="regression")


def test_params_rebuild_the_attack():
    for _, attack in resolve("full"):
        assert type(attack)(**params_of(attack)) == attack


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lria", "'lira'"),
        (["standrad"], "standard"),
        ([{"name": "lira", "params": {"varience": "pooled"}}], "variance"),
        ([{"name": "lira", "variance": "pooled"}], "inside 'params'"),
        ([{"params": {}}], "Expected an attack"),
        ([], "No attack"),
        ([{"name": "modified_entropy", "params": {"thresholds": "clas"}}], "global"),
    ],
)
def test_what_names_nothing_is_refused(spec, says):
    with pytest.raises(UsageError, match=says):
        resolve(spec)
