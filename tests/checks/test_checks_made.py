"""Which checks were made: those that passed are named too, and each has its gravest outcome."""

import numpy as np

from vestige import gate
from vestige.auditing.inputs import Inputs
from vestige.auditing.judging import judged
from vestige.auditing.run import Audit
from vestige.backends.function import FunctionRecipe
from vestige.checks import CATALOGUE, check
from vestige.config import AuditConfig
from vestige.log import AuditLog
from vestige.log_entries import checked
from vestige.records import Records
from vestige.store import Store


def test_each_check_has_its_gravest_outcome_and_doubts_come_gravest_first():
    made = [
        ("duplicates", check("duplicates", "warning", "a")),
        ("outputs-tied", None),
        ("duplicates", None),
        ("blind-baseline", check("blind-baseline", "info", "b")),
        ("blind-baseline", check("blind-baseline", "error", "c")),
    ]
    doubts, outcomes = checked(made)
    assert [one.message for one in doubts] == ["c", "a", "b"]
    assert {one.id: one.outcome for one in outcomes} == {
        "duplicates": "warning",
        "outputs-tied": "passed",
        "blind-baseline": "error",
    }


def test_an_audit_names_every_check_that_it_made_and_none_that_it_could_not(tmp_path):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((300, 4)), draw.integers(2, size=300)

    def train(x, y, seed):
        place = np.random.default_rng(seed).standard_normal(4)
        return lambda asked: np.column_stack([1 - (p := 1 / (1 + np.exp(-(asked @ place)))), p])

    told = {"data": {"source": "digits"}, "shadow": {"count": 0}, "audit": {"attacks": ["loss"], "fpr": [0.1]}}
    inputs = Inputs(records=Records.build(x, y), recipe=FunctionRecipe(train))
    log = Audit(inputs=inputs, config=AuditConfig.model_validate(told), store=Store.default(tmp_path)).run()
    made = {one.id: one.outcome for one in log.checked}
    assert {one.id for one in log.checks} == {id for id, outcome in made.items() if outcome != "passed"}
    assert made["blind-baseline"] == made["duplicates"] == made["all-scores-equal"] == "passed"
    assert set(made) <= set(CATALOGUE)
    # No shadow model, no claim, and no attack that contains the loss: nothing to check there.
    assert not {"shadow-accuracy-gap", "claim-untested", "weaker-than-loss"} & set(made)
    assert AuditLog.from_json(log.to_json()).checked == log.checked
    judged_by = [gate.parse_rule("auc>0.99"), gate.parse_rule("auc>0.5")]
    twice = judged(judged(log, judged_by), judged_by[:1])
    assert [one.outcome for one in twice.checked if one.id == "interval-wider-than-margin"] == ["passed"]
    assert [one.id for one in judged(log, judged_by).checked if one.outcome != "passed"] == [
        *(id for id, outcome in made.items() if outcome != "passed"),
        "interval-wider-than-margin",
    ]
