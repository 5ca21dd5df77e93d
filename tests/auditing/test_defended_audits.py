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
from vestige.store import Store
from vestige.target import Access

pytest.importorskip("torch")
SMALL = TorchRecipe(model="mlp", hidden=(16,), epochs=4, batch_size=32, lr=0.1, normalize="none")


def audit(tmp_path, access: str, attacks: list[str], defences: list[dict]):  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(0)
    x = draw.standard_normal((320, 6)).astype(np.float32)
    y = (x[:, 0] + draw.standard_normal(320) > 0).astype(int)
    config = AuditConfig.model_validate(
        {
            "data": {"source": "digits"},
            "defences": defences,
            "shadow": {"count": 2},
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
