"""Timing through a whole audit: knowledge that must be given, a channel that must be there, simulated seconds."""

from __future__ import annotations

import numpy as np
import pytest

import timed_targets
from timed_targets import Kernel, blobs, early

pytest.importorskip("sklearn")

from vestige import probing
from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.function import FunctionRecipe
from vestige.config_files import load_config
from vestige.report.threat import knowledge
from vestige.signals.timing import latency
from vestige.store import Store

RECORDS = blobs(160)
WITHOUT = {"name": "timing", "params": {"timing": False}}
LEARNED = {"name": "timing", "params": {"rule": "learned", "family": "logistic"}}


def run(tmp_path, *, timing, train=timed_targets.train, attacks=("loss", "timing"), given=None, **shadow):
    options = {
        "store": str(tmp_path),
        "data": {"population": 0.0},
        "shadow": {"count": 4, **shadow},
        "audit": {"attacks": list(attacks), "timing": timing, "fpr": [0.1]},
    }
    config = load_config(options, environ={})
    members = None if given is None else np.arange(len(RECORDS)) < 80
    recipe = None if train is None else FunctionRecipe(train)
    inputs = Inputs(records=RECORDS, recipe=recipe, target=given, members=members)
    return Audit(inputs=inputs, config=config, store=Store(tmp_path)).run()


def test_it_runs_when_the_adversary_hears_and_is_skipped_when_not(tmp_path):
    log = run(tmp_path, timing=True, attacks=["loss", "timing", WITHOUT, LEARNED])
    found = {attack.title: attack for attack in log.attacks}
    assert [attack.status for attack in log.attacks] == ["ok"] * 4
    assert found["timing"].queries_per_record == 10
    without = found["timing[timing=False]"]
    assert without.queries_per_record == 1
    assert without.auc == found["loss"].auc
    assert without.tpr == found["loss"].tpr
    # A kernel is surer about its own records, so its exits tell them; the seconds are simulated, and clear.
    assert found["timing"].auc.low > 0.6
    assert ("Also sees", "How long each answer takes.") in knowledge(log)

    log = run(tmp_path, timing=False, attacks=["loss", "timing", WITHOUT, LEARNED])
    found = {attack.title: attack for attack in log.attacks}
    assert [attack.status for attack in log.attacks] == ["ok", "skipped", "ok", "skipped"]
    assert "set [audit] timing = true" in found["timing"].reason
    assert "Also sees" not in dict(knowledge(log))


def test_what_was_timed_once_is_not_timed_again(tmp_path, monkeypatch):
    first = run(tmp_path, timing=True)
    monkeypatch.setattr(latency, "latencies", None)
    again = run(tmp_path, timing=True)
    assert again.attack("timing").auc == first.attack("timing").auc


def test_a_target_without_a_channel_is_not_attacked(tmp_path):
    log = run(tmp_path, timing=True, train=timed_targets.train_steady)
    assert [attack.status for attack in log.attacks] == ["ok", "skipped"]
    assert "does not say how long its answers take" in log.attack("timing").reason


def test_a_given_target_is_timed_and_its_queries_counted(tmp_path):
    inner = Kernel(RECORDS.x[:80], RECORDS.y[:80], 4)
    log = run(tmp_path, timing=True, train=None, given=early(inner), count=0)
    assert log.attack("timing").status == "ok"
    assert log.attack("timing").auc.low > 0.6
    assert log.cost.target_queries >= 9 * len(RECORDS)


@pytest.mark.parametrize("given", ["timed", "silent"])
def test_target_and_shadow_models_must_both_be_heard(tmp_path, given):
    inner = Kernel(RECORDS.x[:80], RECORDS.y[:80], 4)
    target = early(inner) if given == "timed" else inner
    log = run(tmp_path, timing=True, train=timed_targets.train_steady, given=target)
    reason = "shadow models do not say" if given == "timed" else "the target does not say"
    assert log.attack("timing").status == "skipped"
    assert reason in log.attack("timing").reason


def test_models_are_timed_one_after_the_other_whatever_the_executor(tmp_path, monkeypatch):
    beside = []
    monkeypatch.setattr(probing, "_run", lambda jobs, *rest: beside.extend(jobs))
    log = run(tmp_path, timing=True)
    assert log.attack("timing").status == "ok"
    assert beside == []
