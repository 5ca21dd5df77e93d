from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import vestige
from vestige.errors import DataError
from vestige.log import AuditLog

CONFIG = """
name = "small"
[data]
source = "digits"
limit = 400
[recipe]
kind = "sklearn"
model = "sklearn.neighbors:KNeighborsClassifier"
params = { n_neighbors = 1 }
[canary]
kind = "mislabelled"
count = 150
"""
CLAIM = """
[claim]
epsilon = 1.0
delta = 1e-5
accountant = "by hand"
"""


@pytest.fixture
def run(tmp_path):
    def call(text, *options):
        config = tmp_path / "small.toml"
        config.write_text(text)
        return vestige("canary", config, "--out", tmp_path / "out", "--set", f"store={tmp_path / 'store'}", *options)

    return call


def test_a_run_leaves_its_folder_and_ends_well_without_a_claim(run, tmp_path):
    ended = run(CONFIG)
    assert ended.code == 0, ended.err
    log = AuditLog.load(tmp_path / "out")
    assert log.canary.count == 150
    assert log.config["canary"]["kind"] == "mislabelled"
    assert "a total leak would show as" in ended.err
    assert "Lower bounds on ε" in ended.out
    assert "Canaries show that this training leaks" in ended.out
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "ε is at least" in page
    assert "What this audit could have shown" in page


def test_a_claim_that_does_not_hold_is_exit_1_now_and_when_judged_again(run, tmp_path):
    ended = run(CONFIG + CLAIM)
    assert ended.code == 1
    assert "does not hold" in ended.out
    assert "The gate failed" in ended.err
    again = vestige("gate", tmp_path / "out")
    assert again.code == 1
    assert "FAIL" in again.out
    stricter = vestige("gate", tmp_path / "out", "--fail-on", "auc>0.99")
    assert stricter.out.count("epsilon-claim") == 0
    assert stricter.code == 1
    assert len(stricter.out.splitlines()) == 3


def test_a_claim_that_holds_passes_and_other_rules_are_judged_too(run):
    ended = run(CONFIG + "[claim]\nepsilon = 20.0\n[gate]\nauc = 0.6\n")
    assert ended.code == 1
    assert "could not have failed" in ended.out
    assert "auc" in ended.err


def test_json_goes_to_stdout_alone(run):
    ended = run(CONFIG, "--json", "-q")
    assert AuditLog.from_json(ended.out).canary.kind == "mislabelled"
    assert ended.err == ""


def test_a_plan_says_what_it_would_take_and_could_show(run, tmp_path):
    ended = run(CONFIG + CLAIM, "--plan", "--json")
    told = json.loads(ended.out)
    assert told["models"] == 1
    assert told["reused"] == 0
    assert told["power"]["could_fail"] is True
    assert not (tmp_path / "out").exists()
    assert "a total leak would show" in run(CONFIG, "--plan").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("canary.cuont=5",), "Did you mean 'count'"),
        (("canary.kind=natrual",), "natural"),
        (("canary.count=0",), "at least 1"),
        (("canary.count=500",), "at least 500 records"),
        (("canary.methods=[one_rum]",), "Did you mean 'one_run'"),
        (("claim.epsilon=-1",), "claim.epsilon"),
        (("claim.delta=0.1",), "claim.epsilon"),
        (("canary.kind=gradient",), "need a training function"),
        (("target.kind=torch",), "[target]"),
        (("gate.'lira.auc'=0.5",), "lira"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_2(run, options, words):
    ended = run(CONFIG, *[part for one in options for part in ("--set", one)])
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


def test_variables_of_the_environment_set_keys(run, monkeypatch):
    monkeypatch.setenv("VESTIGE_CANARY__COUNT", "60")
    monkeypatch.setenv("VESTIGE_CLAIM__EPSILON", "3")
    told = json.loads(run(CONFIG, "--plan", "--json").out)
    assert (told["canaries"], told["claim"]) == (60, 3.0)


PRIVATE = """
name = "private"
[data]
source = "digits"
limit = 500
[recipe]
kind = "torch"
model = "mlp"
hidden = [64]
epochs = 40
batch_size = 32
lr = 0.2
[[defences]]
kind = "dp_sgd"
epsilon = 4.0
[canary]
kind = "mislabelled"
count = 200
"""


def test_under_a_private_defence_the_bound_is_held_against_what_the_defence_claims(run, tmp_path):
    pytest.importorskip("dp_accounting")
    pytest.importorskip("torch")
    ended = run(PRIVATE)
    assert ended.code == 0, ended.err
    log = AuditLog.load(tmp_path / "out")
    assert [layer.name for layer in log.defences] == ["dp_sgd"]
    assert 3.9 < log.claim.epsilon <= 4.0
    assert log.claim.adjacency == "add_remove"
    judged = [one for one in log.epsilon if one.judged]
    assert judged
    assert all(one.value <= log.claim.epsilon and one.delta == log.claim.delta for one in judged)
    (finding, *_) = log.findings
    assert finding.limit == log.claim.epsilon
    assert "does not exceed the claimed ε" in finding.message
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "dp_sgd" in page
    undefended = PRIVATE.replace('[[defences]]\nkind = "dp_sgd"\nepsilon = 4.0\n', "")
    assert run(undefended).code == 0
    plain = AuditLog.load(tmp_path / "out")
    # The same training without the defence remembers its canaries, so it was the defence that was audited.
    assert plain.attacks[0].auc.value > log.attacks[0].auc.value + 0.15
    weaker = run(PRIVATE + "[claim]\nepsilon = 1.0\n")
    assert weaker.code == 2
    assert "[[defences]] prove" in weaker.err


def test_canaries_behind_answers_of_labels_are_guessed_by_the_label(run, tmp_path):
    defended = CONFIG + '[[defences]]\nkind = "label_only"\n'
    ended = run(defended)
    assert ended.code == 0, ended.err
    log = AuditLog.load(tmp_path / "out")
    assert (log.canary.score, log.canary.access, log.target.access) == ("correct", "label", "label")
    assert log.epsilon[0].value > 0.5
    told = run(defended, "--set", "canary.score=log_odds")
    assert told.code == 2
    assert "leave labels to be answered" in told.err
    past = run(defended, "--set", "audit.access=white_box", "--set", "canary.score=log_odds")
    assert past.code == 0, past.err
    assert AuditLog.load(tmp_path / "out").canary.access == "white_box"


def test_a_defenders_own_records_are_no_canaries_and_are_never_trained_on(tmp_path):
    pytest.importorskip("torch")
    from vestige.canary_commands import from_config
    from vestige.config_files import load_config

    told = {"data": {"source": "digits", "limit": 400}, "canary": {"count": 100}, "store": str(tmp_path)}
    audit = from_config(load_config({**told, "defences": [{"kind": "memguard"}]}, environ={}))
    own = set(audit.canaries.pool.ids[audit.canaries.own].tolist())
    assert len(own) == len(audit.reserve) == 40
    assert len(audit.canaries.pool) == 400
    assert not own & set(audit.records.ids.tolist())
    assert not own & set(audit.canaries.pool.ids[audit.canaries.scored].tolist())
    assert not audit.canaries.mask(np.ones(100, bool))[audit.canaries.own].any()
    assert audit.trained_by.reserve.tolist() == audit.canaries.own.tolist()
    short = {**told, "data": {"source": "digits", "limit": 60}, "canary": {"count": 20}}
    with pytest.raises(DataError, match="records of the defender's own"):
        from_config(load_config({**short, "defences": [{"kind": "memguard"}]}, environ={}))
