"""One small real trade-off: every candidate an audit, nothing trained twice, resumed after an interrupt."""

import json
import os
import signal
import sys
import time

import numpy as np
import pytest

pytest.importorskip("torch")

import command_line
import vestige
from vestige.backends.checkpoints import histories, stopped
from vestige.backends.torch import TorchRecipe
from vestige.config_files import load_config
from vestige.datasets import load_dataset
from vestige.log import AuditLog
from vestige.tradeoff import TradeoffLog

BASE = {
    "name": "small",
    "data": {"source": "digits", "limit": 600},
    "recipe": {"kind": "torch", "model": "mlp", "hidden": [32], "epochs": 20, "batch_size": 16},
    "shadow": {"count": 6},
    "audit": {"attacks": ["gap", "loss", "lira"], "fpr": [0.05], "targets": 2},
    "tradeoff": {
        "baselines": ["early_stopping"],
        "epochs": [2, 6],
        "defences": [
            {"chain": [{"kind": "top_k", "k": [1, 3]}]},
            {"name": "for trees", "chain": [{"kind": "dp_erm_output", "epsilon": 1.0}]},
        ],
    },
}


def config_of(folder, **changes):
    return load_config({**BASE, "store": str(folder / "store"), **changes}, environ={})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tradeoff")
    config = config_of(folder)
    return vestige.tradeoff(config, out=folder / "out"), folder / "out", config


def test_every_candidate_has_its_place_or_its_reason(ran):
    log, folder, _ = ran
    assert [point.method for point in log.points] == [
        "undefended", "early stopping", "early stopping", "top_k", "top_k", "for trees",
    ]  # fmt: skip
    assert log.points[-1].status == "refused"
    assert log.points[-1].reason
    for point in log.points[:-1]:
        assert point.placed
        assert point.utility.models == 7
        assert 0.3 < point.utility.accuracy.low <= point.utility.accuracy.value <= point.utility.accuracy.high <= 1
        assert point.leakage.low <= point.leakage.value <= point.leakage.high
        assert point.seconds > 0
        audit = AuditLog.load(folder / point.log)
        rates = {r.title: r.tpr[0].value for r in audit.attacks}
        assert point.leakage.value == max(rates.values())
    assert log.points[0].cost == 1.0
    # The answers keep the class with the largest score, so the models are as accurate as undefended ones.
    assert log.points[3].utility.accuracy.value == log.points[0].utility.accuracy.value
    assert log.points[3].guarantee == "G4"
    assert TradeoffLog.load(folder).points == log.points


def test_an_attack_aims_at_a_defence_with_the_parameters_that_the_defence_names(tmp_path):
    told = {"baselines": [], "defences": [{"chain": [{"kind": "label_smoothing"}]}]}
    recipe = {**BASE["recipe"], "epochs": 2}
    audit = {"attacks": ["modified_entropy"], "fpr": [0.05]}
    config = config_of(tmp_path, tradeoff=told, recipe=recipe, audit=audit, shadow={"count": 2})
    plain, smooth = vestige.tradeoff(config).points
    assert not any(result.adaptive for result in plain.results)
    aimed = {result.attack: result.adaptive for result in smooth.results}
    assert aimed == {"modified_entropy": False, "loss[band]": True, "modified_entropy[class]": True}


def test_accuracy_is_that_of_the_audits_own_models(ran):
    log, folder, _ = ran
    audit = AuditLog.load(folder / log.points[0].log)
    # The audit counts audited records alone, the trade-off the held-out ones too.
    whole = (audit.target.test_accuracy + 6 * audit.shadow.test_accuracy) / 7
    assert log.points[0].utility.accuracy.value == pytest.approx(whole, abs=0.03)


def test_the_curve_is_one_history(ran):
    _, folder, _ = ran
    curve = [AuditLog.load(folder / point.log) for point in ran[0].points[:3]]
    assert [log.shadow.trained for log in curve] == [0, 0, 0]
    assert ran[0].points[1].utility.accuracy.value < ran[0].points[0].utility.accuracy.value


@pytest.mark.parametrize("options", [{}, {"model": "mlp", "norm": "batch"}, {"optimizer": "adam", "schedule": "step"}])
def test_a_history_holds_what_a_stopped_training_ends_in(options):
    records = load_dataset("digits")
    recipe = TorchRecipe(**{"model": "mlp", "hidden": (8,), "epochs": 5, **options})
    rows = [np.arange(0, 200), np.arange(100, 350)]
    found = histories(recipe, records, rows, [3, 4], [1, 3, 5])
    for epoch in (1, 3, 5):
        for model, target in enumerate(stopped(recipe, epoch).fit_many(records, rows, [3, 4])):
            ours = found[model][epoch].state()
            assert all(np.array_equal(ours[name], array) for name, array in target.state().items())
    assert stopped(recipe, 5) is recipe
    assert stopped(recipe, 3).fingerprint() != stopped(recipe, 4).fingerprint()


class Interrupting:
    """Progress that interrupts after the third candidate."""

    def __init__(self):
        self.seen = []

    def begin(self, stage, total, *, reused=0):
        pass

    def advance(self, stage, done=1, *, note=""):
        if stage == "candidates":
            self.seen.append(note)
            if len(self.seen) == 3:
                raise KeyboardInterrupt

    def end(self, stage, *, note=""):
        pass


def test_an_interrupted_run_goes_on_and_ends_in_the_same_figures(ran, tmp_path):
    config = config_of(tmp_path)
    log = vestige.tradeoff(config, out=tmp_path / "out", progress=Interrupting())
    assert (log.status, log.exit_code) == ("interrupted", 130)
    assert [point.status for point in log.points[3:]] == ["missing"] * 3
    assert log.points[2].placed
    again = vestige.tradeoff(config, out=tmp_path / "out")
    assert [point.kept for point in again.points] == [True] * 3 + [False] * 3
    assert again.status == "complete"
    for one, other in zip(again.points, ran[0].points, strict=True):
        assert one.leakage == other.leakage
        assert one.exposed == other.exposed
        assert one.utility == other.utility
        assert one.dominated_by == other.dominated_by


def test_a_compliance_record_is_drawn_from_one_of_the_audits(ran):
    _, folder, _ = ran
    for place in (folder, folder / "tradeoff.json"):
        ended = command_line.vestige("report", place, "-f", "compliance")
        assert ended.code == 2
        assert "a tradeoff of 5 audits" in ended.err
        assert ended.err.count("\n") == 1
    named = ended.err.split("vestige report ")[1].split(" -f")[0]
    assert named.endswith("audit.json")
    told = command_line.vestige("report", named, "-f", "compliance")
    assert json.loads(told.out)["format"] == "vestige.compliance"


def test_another_config_is_not_read_from_the_old_folder(ran, tmp_path):
    _, folder, config = ran
    changed = config.model_copy(update={"seed": 1, "store": str(tmp_path)})
    small = changed.model_copy(
        update={"tradeoff": changed.tradeoff.model_copy(update={"baselines": [], "defences": []})}
    )
    kept = json.loads((folder / "candidates" / "000-undefended" / "point.json").read_text())
    place = tmp_path / "out" / "candidates" / "000-undefended"
    place.mkdir(parents=True)
    for name in ("audit.json", "point.json"):
        (place / name).write_text((folder / "candidates" / "000-undefended" / name).read_text())
    log = vestige.tradeoff(small, out=tmp_path / "out")
    assert not log.points[0].kept
    assert log.points[0].utility.parts != kept["utility"]["parts"]


def test_a_regression_has_no_accuracy_to_trade(tmp_path):
    x = np.random.default_rng(0).normal(size=(80, 3))
    np.savez(tmp_path / "r.npz", x=x, y=x[:, 0] + 0.5)
    config = config_of(tmp_path, data={"source": str(tmp_path / "r.npz"), "task": "regression"})
    with pytest.raises(vestige.VestigeError, match="no classes"):
        vestige.tradeoff(config)


OWN = """
import os
import time
from sklearn.tree import DecisionTreeClassifier

def grow(x, y, seed, depth=None):
    if depth == 13:
        raise RuntimeError("no such depth")
    time.sleep(float(os.environ.get("OWN_SECONDS", "0")))
    return DecisionTreeClassifier(max_depth=depth, random_state=seed % 2**31).fit(x, y)
"""
TREES = """
name = "trees"
[data]
source = "digits"
limit = 400
[recipe]
kind = "own_trees:grow"
[shadow]
count = 4
[audit]
attacks = ["gap", "loss"]
fpr = [0.05]
[tradeoff]
baselines = []
[[tradeoff.defences]]
name = "depth"
chain = [{ kind = "round", digits = 1 }]
recipe = { depth = [2, 13, 4] }
"""


@pytest.fixture
def trees(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    (tmp_path / "own_trees.py").write_text(OWN)
    (tmp_path / "trees.toml").write_text(TREES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))
    return tmp_path


def figures(folder):
    """Everything in a trade-off's log but what a clock said."""
    told = json.loads((folder / "tradeoff.json").read_text())
    for key in ("created", "seconds", "provenance"):
        told.pop(key)
    for point in told["points"]:
        for key in ("seconds", "cost", "run_seconds", "kept"):
            point.pop(key)
    return json.dumps(told)


def test_a_candidate_that_breaks_leaves_the_others(trees):
    ended = command_line.vestige("tradeoff", "trees.toml", "--out", trees / "out")
    assert ended.code == 3
    assert "no such depth" in ended.err
    assert "Traceback" not in ended.err
    log = TradeoffLog.load(trees / "out")
    assert [point.status for point in log.points] == ["complete", "complete", "failed", "complete"]
    assert [point.placed for point in log.points] == [True, True, False, True]
    assert all(one.choice for one in log.advice if one.question == "lose")


def test_what_breaks_unexpectedly_leaves_the_others_too(trees, monkeypatch):
    def broken(audit, progress):
        if "depth 2" in audit.config.name:
            raise ZeroDivisionError("a bug")
        return

    # The package hands out the function of that name, so the module is asked for by its own.
    monkeypatch.setattr(sys.modules["vestige.tradeoff.run"], "planted", broken)
    log = vestige.tradeoff(trees / "trees.toml", out=trees / "out")
    assert [point.status for point in log.points] == ["complete", "failed", "failed", "complete"]
    assert log.points[1].reason == "ZeroDivisionError: a bug"
    assert log.exit_code == 3


@pytest.mark.skipif(sys.platform != "linux", reason="kills a process group")
def test_a_killed_run_goes_on_and_ends_in_the_same_figures(trees, monkeypatch):
    assert command_line.vestige("tradeoff", "trees.toml", "--out", trees / "calm").code == 3
    monkeypatch.setenv("VESTIGE_STORE", str(trees / "other"))
    monkeypatch.setenv("OWN_SECONDS", "0.1")
    process = command_line.start("tradeoff", "trees.toml", "--out", str(trees / "out"))
    done = trees / "out" / "candidates" / "001-depth-depth-2"
    deadline = time.monotonic() + 60
    while not (trees / "out" / "candidates" / "000-undefended" / "point.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (trees / "out" / "tradeoff.json").exists()
    assert not (done / "point.json").exists()
    monkeypatch.setenv("OWN_SECONDS", "0")
    assert command_line.vestige("tradeoff", "trees.toml", "--out", trees / "out").code == 3
    assert TradeoffLog.load(trees / "out").points[0].kept
    assert figures(trees / "out") == figures(trees / "calm")


def test_a_typing_error_is_one_sentence(trees):
    (trees / "trees.toml").write_text(TREES.replace('"round"', '"rond"'))
    ended = command_line.vestige("tradeoff", "trees.toml", "--out", trees / "out")
    assert ended.code == 2
    assert len(ended.complaints) == 1
    assert "Did you mean 'round'" in ended.complaints[0]
    assert not list((trees / "out").rglob("*"))
