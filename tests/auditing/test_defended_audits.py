"""Audits of defended models: what the adversary faces, and what the defences leave to see."""

from __future__ import annotations

import numpy as np
import pytest

from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.torch import TorchRecipe
from vestige.config import AuditConfig
from vestige.defend import layers_of
from vestige.records import Records
from vestige.report.defended import unrun
from vestige.store import Store
from vestige.target import Access

pytest.importorskip("torch")
SMALL = TorchRecipe(model="mlp", hidden=(16,), epochs=4, batch_size=32, lr=0.1, normalize="none")


def audit(tmp_path, access, attacks, defences, shadow=None):  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(0)
    x = draw.standard_normal((320, 6)).astype(np.float32)
    y = (x[:, 0] + draw.standard_normal(320) > 0).astype(int)
    config = AuditConfig.model_validate(
        {
            "data": {"source": "digits"},
            "defences": defences,
            "shadow": {"count": 2, **(shadow or {})},
            "audit": {"attacks": attacks, "access": access, "fpr": [0.1]},
        }
    )
    inputs = Inputs(records=Records.build(x, y), recipe=SMALL, defences=layers_of(defences), source="digits")
    return Audit(inputs=inputs, config=config, store=Store.default(tmp_path))


def test_whoever_has_the_weights_gets_past_defences_of_the_answers(tmp_path) -> None:  # type: ignore[no-untyped-def]
    label_only = [{"kind": "label_only"}]
    log = audit(tmp_path, "white_box", ["gap", "loss"], label_only).run()
    assert [result.status for result in log.attacks] == ["ok", "ok"]
    assert (log.attack("loss").distinct_scores or 0) > 50
    assert [(layer.name, layer.stage) for layer in log.defences] == [("label_only", "answers")]
    seen = audit(tmp_path, "score", ["gap"], label_only)
    assert seen.access == Access.LABEL
    assert seen.run().attack("gap").distinct_scores == 2


def test_only_defences_of_the_training_stand_in_the_way_of_white_box_access() -> None:
    layers = layers_of([{"kind": "l2"}, {"kind": "top_k"}])
    assert layers.facing(Access.SCORE) is layers
    assert [name for name, _ in layers.facing(Access.WHITE_BOX).named] == ["l2"]


def test_beside_a_battery_run_the_attacks_that_aim_at_the_defences(tmp_path) -> None:  # type: ignore[no-untyped-def]
    def labels(attacks, chain, access="score", **shadow):  # type: ignore[no-untyped-def]
        made = audit(tmp_path, access, attacks, chain, shadow)
        return [label for label, _ in made.attacks]

    plain, smooth = labels("standard", []), labels("standard", [{"kind": "label_smoothing"}])
    assert smooth == [*plain, "loss[band]"]  # the other one that aims at it is in the battery
    assert labels("quick", [{"kind": "hamp"}]) == ["loss", "rmia", "gap", "loss[band]", "modified_entropy[class]"]
    assert "noise" in labels("standard", [{"kind": "hamp"}])
    assert labels(["loss"], [{"kind": "label_smoothing"}]) == ["loss"]
    assert labels("standard", [{"kind": "label_smoothing"}], defences="unknown") == plain
    assert "gap" not in labels("quick", [{"kind": "top_k"}], access="white_box")  # whoever has the weights is past it
    assert labels("standard", [{"kind": "dmp"}], access="label") == labels("standard", [], access="label")


def test_what_is_added_to_a_battery_runs_and_the_audit_is_complete(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = audit(tmp_path, "score", "quick", [{"kind": "label_smoothing"}])
    log = made.run()
    assert log.status == "complete"
    assert {result.title: result.status for result in log.attacks}["loss[band]"] == "ok"
    assert not unrun(log)
    assert made.plan().attacks == tuple(result.title for result in log.attacks)


def test_a_claim_for_answers_is_not_held_against_whoever_needs_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("dp_accounting")
    answers = [{"kind": "private_prediction", "epsilon": 0.1, "answers": 200}]
    assert audit(tmp_path, "score", ["gap"], answers).config.claim is not None
    assert audit(tmp_path, "white_box", ["gap"], answers).config.claim is None
