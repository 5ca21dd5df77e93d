"""From a config to its candidates: every combination, with what aims at each defence, and reasons for gaps."""

import numpy as np
import pytest

from vestige.config.comparisons import TradeoffConfig
from vestige.config_files import load_config
from vestige.errors import ConfigError
from vestige.seeds import rng
from vestige.tradeoff.expand import EARLY, HEURISTIC, PRIVATE, UNDEFENDED, expand
from vestige.tradeoff.ranges import open_values, put, range_of

RECIPE = {"kind": "torch", "model": "mlp", "hidden": [8], "epochs": 32}


def config_of(tradeoff, **changes):
    told = {"data": {"source": "digits"}, "recipe": RECIPE, "audit": {"attacks": ["loss", "lira"]}}
    return load_config({**told, "tradeoff": tradeoff, **changes}, environ={})


def by_method(config):
    found = {}
    for one in expand(config):
        found.setdefault(one.method, []).append(one)
    return found


def test_baselines_are_there_unless_they_are_left_out():
    found = by_method(config_of({}))
    assert list(found) == [UNDEFENDED, EARLY, HEURISTIC, PRIVATE]
    assert [one.epochs for one in found[EARLY]] == [1, 2, 4, 8, 16, 24]
    assert [one.config.defences[0].options["noise_multiplier"] for one in found[HEURISTIC]] == TradeoffConfig().noise
    assert [one.config.defences[0].options["epsilon"] for one in found[PRIVATE]] == [1.0, 3.0, 8.0]
    assert list(by_method(config_of({"baselines": []}))) == [UNDEFENDED]


def test_lists_are_swept_and_ranges_tuned():
    chain = [
        {"kind": "label_smoothing", "smoothing": [0.1, 0.2]},
        {"kind": "round", "digits": [1, 2, 3]},
    ]
    recipe = {"lr": {"low": 0.01, "high": 0.1, "log": True}, "batch_size": [32, 64]}
    found = by_method(config_of({"baselines": [], "defences": [{"chain": chain, "recipe": recipe}]}))
    made = found["label_smoothing + round"]
    assert len(made) == 12
    assert len({one.id for one in made}) == 12
    assert made[0].settings == {"batch_size": 32, "label_smoothing smoothing": 0.1, "round digits": 1}
    assert list(made[0].ranges) == [("recipe", "lr")]
    settled = made[0].settled({("recipe", "lr"): 0.07})
    assert settled.recipe.options["lr"] == 0.07
    assert settled.recipe.options["batch_size"] == 32
    assert [one.options for one in settled.defences] == [{"smoothing": 0.1}, {"digits": 1}]


def test_what_is_tuned_is_tuned_for_everybody_but_where_it_is_said():
    told = {"baselines": [], "tune": {"lr": {"low": 0.01, "high": 0.1}, "hidden": [[8], [16]]}}
    chain = {"chain": [{"kind": "top_k", "k": 3}], "recipe": {"lr": 0.5}}
    found = by_method(config_of({**told, "defences": [chain]}))
    assert set(found[UNDEFENDED][0].ranges) == {("recipe", "lr"), ("recipe", "hidden")}
    assert set(found["top_k"][0].ranges) == {("recipe", "hidden")}
    assert found["top_k"][0].config.recipe.options["lr"] == 0.5
    assert found["top_k"][0].config.recipe.options["hidden"] == [8]


def test_every_defence_meets_the_attacks_that_aim_at_it():
    found = by_method(config_of({"baselines": [], "defences": [{"chain": [{"kind": "label_only"}]}]}))
    assert found[UNDEFENDED][0].config.audit.attacks == ["loss", "lira"]
    attacks = found["label_only"][0].config.audit.attacks
    assert attacks[:2] == ["loss", "lira"]
    assert len(attacks) > 2
    assert all(one.config.shadow.defences == "known" for one in found["label_only"])
    smoothed = [{"chain": [{"kind": "label_smoothing"}]}]
    (usual,) = by_method(config_of({"baselines": [], "defences": smoothed}))["label_smoothing"]
    assert [one["name"] for one in usual.config.audit.attacks[2:]] == ["loss", "modified_entropy"]
    # What no adversary of that access can run is not asked for, and would otherwise be skipped in every audit.
    blind = config_of({"baselines": [], "defences": smoothed})
    blind = blind.model_copy(update={"audit": blind.audit.model_copy(update={"access": "label", "attacks": ["gap"]})})
    assert by_method(blind)["label_smoothing"][0].config.audit.attacks == ["gap"]


@pytest.mark.parametrize(
    ("tradeoff", "words"),
    [
        ({"defences": [{"chain": [{"kind": "top_kk"}]}]}, "Did you mean"),
        ({"defences": [{"chain": [{"kind": "top_k", "kk": 3}]}]}, "kk"),
        ({"defences": [{"chain": [{"kind": "top_k", "k": [2, 0]}]}]}, "at least 1"),
        ({"defences": [{"chain": [{"kind": "top_k"}, {"kind": "l2"}], "name": "upside down"}]}, "training"),
        ({"defences": [{"chain": [{"kind": "top_k"}], "recipe": {"epoch": 3}}]}, "epoch"),
        ({"tune": {"lrr": {"low": 0.1, "high": 1.0}}}, "lrr"),
        ({"baselines": ["dp_sgd"], "dp_sgd": {"noize": 1.0}}, "noize"),
    ],
)
def test_a_typing_error_is_found_before_anything_is_trained(tradeoff, words):
    with pytest.raises(ConfigError, match=words) as raised:
        expand(config_of({"baselines": [], **tradeoff}))
    assert "\n" not in str(raised.value)


def test_a_curve_that_cannot_be_says_why_and_stays_in_the_list():
    tree = {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier"}
    curve = by_method(config_of({"baselines": ["early_stopping"]}, recipe=tree))[EARLY]
    assert len(curve) == 1
    assert "no epochs" in curve[0].reason


def test_the_configs_own_chain_is_a_candidate_and_the_claim_is_its_own():
    config = config_of({"baselines": []}, defences=[{"kind": "top_k", "k": 2}], claim={"epsilon": 1.0, "delta": 1e-5})
    found = by_method(config)
    assert found[UNDEFENDED][0].config.claim is None
    assert found[UNDEFENDED][0].config.defences == []
    assert found["as configured"][0].config.claim.epsilon == 1.0
    assert all(one.config.tradeoff == TradeoffConfig() for each in found.values() for one in each)


@pytest.mark.parametrize(
    ("tradeoff", "changes", "words"),
    [
        ({"epochs": [64]}, {}, "trains for 32"),
        ({"defences": [{"chain": []}]}, {}, "name of its own"),
        ({"defences": [{"chain": [{"kind": "top_k"}]}] * 2}, {}, "two are called"),
        ({"defences": [{"name": "DP-SGD", "chain": [{"kind": "top_k"}]}]}, {}, "taken"),
        ({"defences": [{"chain": [{"kind": "top_k", "k": []}]}]}, {}, "at least one value"),
        ({"defences": [{"chain": [{"kind": "top_k", "k": {"low": 3, "high": 1}}]}]}, {}, "range"),
        ({"defences": [{"chain": [{"kind": "top_k", "k": list(range(1, 600))}]}]}, {}, "more than 500"),
        ({}, {"canary": {"kind": "gradient"}}, "plants records"),
        ({}, {"shadow": {"data": "disjoint"}}, "relaxes"),
        ({}, {"target": {"model": "m.pt", "members": "ids.txt"}}, "trains its own targets"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(tradeoff, changes, words):
    with pytest.raises(ConfigError, match=words):
        expand(config_of(tradeoff, **changes))


def test_ranges_stay_within_their_ends_and_wholes_are_whole():
    random = rng(0, "test")
    log, whole = range_of({"low": 1e-3, "high": 10.0, "log": True}, "x"), range_of({"low": 1, "high": 3}, "x")
    draws = np.array([log.draw(random) for _ in range(4000)])
    assert draws.min() >= 1e-3
    assert draws.max() <= 10
    # Even in the logarithm: each of the four decades gets a quarter.
    assert np.allclose(np.histogram(np.log10(draws), bins=4, range=(-3, 1))[0] / 4000, 0.25, atol=0.03)
    assert {whole.draw(random) for _ in range(100)} == {1, 2, 3}
    assert log.middle == pytest.approx(0.1)


def test_tables_within_tables_are_found_and_set():
    table = {"params": {"C": {"low": 0.1, "high": 1.0}, "penalty": ["l1", "l2"]}}
    lists, ranges = open_values(table, "x", ("recipe",))
    assert lists == {("recipe", "params", "penalty"): ["l1", "l2"]}
    assert list(ranges) == [("recipe", "params", "C")]
    assert put({"recipe": table}, ("recipe", "params", "C"), 0.5)["recipe"]["params"] == {
        "C": 0.5,
        "penalty": ["l1", "l2"],
    }
    assert table["params"]["C"] == {"low": 0.1, "high": 1.0}
