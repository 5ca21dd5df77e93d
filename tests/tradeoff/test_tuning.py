"""Tuning: on validation records alone, from the store the second time, and accounted for where training is private."""

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from command_line import vestige as command
from vestige.auditing.drawing import draw_target
from vestige.auditing.inputs import from_config
from vestige.auditing.run import Audit
from vestige.backends.sklearn import SklearnRecipe
from vestige.config_files import load_config
from vestige.defend.private.ledger import entries
from vestige.errors import DataError
from vestige.log_parts import Layer
from vestige.progress import Silence
from vestige.seeds import rng, seed_for
from vestige.store import Store
from vestige.tradeoff import TradeoffLog, run
from vestige.tradeoff.charge import charged, claimed
from vestige.tradeoff.expand import expand
from vestige.tradeoff.tuning import tune, validation_rows

BASE = {
    "name": "tuned",
    "data": {"source": "digits", "limit": 500},
    "recipe": {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier"},
    "shadow": {"count": 4},
    "audit": {"attacks": ["gap", "loss"], "fpr": [0.05]},
    "tradeoff": {"baselines": [], "trials": 6, "tune": {"params": {"max_depth": {"low": 1, "high": 12}}}},
}


def config_of(folder, **changes):
    return load_config({**BASE, "store": str(folder / "store"), **changes}, environ={})


@pytest.fixture
def fits(monkeypatch):
    """The training sets of every model that is fitted, with its depth."""
    seen, plain = [], SklearnRecipe.fit

    def counting(self, records, rows, seed):
        seen.append((self.estimator.max_depth, rows))
        return plain(self, records, rows, seed)

    monkeypatch.setattr(SklearnRecipe, "fit", counting)
    return seen


def tuned(config, folder, place=0):
    pytest.importorskip("optuna")
    candidate, split = expand(config)[place], draw_target(config, from_config(config))
    found = tune(
        candidate, Audit.from_config, Store(folder / "store"), trials=config.tradeoff.trials, progress=Silence()
    )
    return found, split


def test_the_best_on_validation_records_is_chosen_and_nobody_is_audited_on_them(tmp_path, fits):
    config = config_of(tmp_path)
    found, split = tuned(config, tmp_path)
    assert len(found.trials) == 6 or len(found.trials) == len({str(one.settings) for one in found.trials})
    best = max(found.trials, key=lambda one: one.accuracy)
    (depth,) = found.values.values()
    assert best.settings["params.max_depth"] == depth or best.accuracy == next(
        one.accuracy for one in found.trials if one.settings["params.max_depth"] == depth
    )
    rows = validation_rows(split, config.seed)
    assert not np.intersect1d(rows, split.audited).size
    assert all(np.array_equal(trained, split.rows(0)) for _, trained in fits)
    count = len(fits)
    again, _ = tuned(config, tmp_path)
    assert len(fits) == count
    assert again.values == found.values


def test_values_that_are_lists_can_be_tuned(tmp_path):
    pytest.importorskip("torch")
    recipe = {"kind": "torch", "model": "mlp", "epochs": 1, "batch_size": 32}
    told = {"baselines": [], "trials": 6, "tune": {"hidden": [[4], [8, 4]]}}
    found, _ = tuned(config_of(tmp_path, recipe=recipe, tradeoff=told), tmp_path)
    assert found.values[("recipe", "hidden")] in ([4], [8, 4])
    assert 1 <= len(found.trials) <= 2


def test_private_trials_are_independent_trainings_even_of_one_setting(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("dp_accounting")
    told = {"chain": [{"kind": "dp_sgd", "noise_multiplier": 1.0}], "recipe": {"lr": {"low": 0.5, "high": 0.5}}}
    config = config_of(
        tmp_path,
        recipe={"kind": "torch", "model": "logistic", "epochs": 1, "batch_size": 64},
        tradeoff={"baselines": [], "trials": 3, "defences": [told]},
        seed=2,
    )
    found, _ = tuned(config, tmp_path, place=1)
    accuracies = [one.accuracy for one in found.trials]
    assert len(accuracies) == int(rng(seed_for(config.seed, "tuning"), "draws").geometric(1 / 3))
    # Every draw is the same setting, and no training is the other: each has noise of its own.
    assert len(accuracies) > 1
    assert len(set(accuracies)) > 1
    assert found.alike


def test_settings_are_judged_by_the_models_that_the_adversary_faces(tmp_path):
    chain = [{"kind": "private_prediction", "epsilon": 0.1}]
    told = {
        "baselines": [],
        "trials": 2,
        "defences": [{"chain": chain, "recipe": {"params": {"max_depth": {"low": 12, "high": 12}}}}],
    }
    seen = {}
    for access in ("score", "white_box"):
        audit = {"attacks": ["gap"], "fpr": [0.05], "access": access}
        found, _ = tuned(config_of(tmp_path, tradeoff=told, audit=audit), tmp_path, place=1)
        seen[access] = found.trials[0].accuracy
    # Answers that are nearly all random stand in nobody's way who has the weights.
    assert seen["score"] < 0.3 < 0.6 < seen["white_box"]


def test_tuning_without_validation_records_is_refused(tmp_path):
    with pytest.raises(DataError, match="validation records"):
        tuned(config_of(tmp_path, data={"source": "digits", "limit": 500, "population": 0.02}), tmp_path)


def test_the_command_tells_every_trial_and_refuses_limits_that_are_none(tmp_path):
    pytest.importorskip("optuna")
    text = (
        f'name = "t"\nstore = "{tmp_path}/store"\n[data]\nsource = "digits"\nlimit = 500\n[recipe]\nkind = "sklearn"\n'
        'model = "sklearn.tree:DecisionTreeClassifier"\n[shadow]\ncount = 4\n[audit]\nattacks = ["gap", "loss"]\n'
        "fpr = [0.05]\n[tradeoff]\nbaselines = []\ntrials = 3\n[tradeoff.tune]\nparams = { max_depth = [2, 8] }\n"
    )
    (tmp_path / "t.toml").write_text(text)
    ended = command("tradeoff", tmp_path / "t.toml", "--out", tmp_path / "out", "--lose-at-most", "1")
    assert ended.code == 0, ended.err
    assert "Train as you do now" in ended.out
    log = TradeoffLog.load(tmp_path / "out")
    assert {one.settings["params.max_depth"] for one in log.points[0].trials} <= {2, 8}
    assert "Tuning of undefended" in (tmp_path / "out" / "tradeoff.html").read_text("utf-8")
    for words in (["--leak-at-most", "2"], ["--lose-at-most", "-1"]):
        refused = command("tradeoff", tmp_path / "t.toml", "--out", tmp_path / "out", *words)
        assert refused.code == 2
        assert len(refused.complaints) == 1


def test_a_defence_that_wants_another_recipe_is_a_finding_and_not_a_failure(tmp_path):
    told = {"baselines": [], "defences": [{"chain": [{"kind": "l2", "weight": 0.1}]}]}
    log = run(config_of(tmp_path, tradeoff=told))
    assert (log.status, log.exit_code) == ("complete", 0)
    assert [point.status for point in log.points] == ["complete", "refused"]
    assert log.points[1].reason


def gaussian_claim(noise, count):
    events = pytest.importorskip("dp_accounting")
    event = events.SelfComposedDpEvent(events.GaussianDpEvent(noise), count)
    return {"epsilon": 1.0, "delta": 1e-5, "guarantee": "G1", "adjacency": "add_remove", "ledger": list(entries(event))}


def slow_charge(rho, trials, delta):
    """Papernot & Steinke 2022, theorem 2 with η = 1, and once more the mechanism, for λ ↦ ρλ; then to (ε, δ)."""
    orders = np.concatenate([np.arange(1.1, 11, 0.1), np.arange(11, 64), 2.0 ** np.arange(6, 11)])
    choice = np.min(2 * (1 - 1 / orders) * rho * orders + 2 * math.log(trials) / orders)
    chosen = rho * orders + choice + math.log(trials) / (orders - 1)
    total = chosen + rho * orders
    return float(np.min(total + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)))


@pytest.mark.parametrize(("noise", "count", "trials"), [(10.0, 20, 20), (20.0, 50, 5), (5.0, 10, 100)])
def test_the_charge_is_the_theorems(noise, count, trials):
    rho = count / (2 * noise**2)
    assert charged(gaussian_claim(noise, count), trials) == pytest.approx(slow_charge(rho, trials, 1e-5), rel=0.01)


def test_what_is_left_out_of_a_claim_says_why():
    claim = gaussian_claim(10.0, 20)
    layers = [Layer(name="dp_sgd", guarantee="G1", claim=claim)]
    assert claimed([], trials=20, tuned=True, alike=True) is None
    assert claimed(layers, trials=20, tuned=True, alike=True).tuned > claim["epsilon"]
    assert claimed(layers, trials=20, tuned=False, alike=True).why == "nothing was tuned"
    assert "different budgets" in claimed(layers, trials=20, tuned=True, alike=False).why
    bare = [Layer(name="dp_sgd", guarantee="G1", claim={**claim, "ledger": []})]
    assert "ledger" in claimed(bare, trials=20, tuned=True, alike=True).why
    weak = [Layer(name="dp_sgd", guarantee="G4", claim={**claim, "guarantee": "G4"})]
    assert "nothing is promised" in claimed(weak, trials=20, tuned=True, alike=True).why
