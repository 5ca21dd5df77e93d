"""Canaries of a candidate: planted in the target's own records, found where a model remembers, held against claims."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from vestige.auditing.run import Audit
from vestige.canary.coins import flip
from vestige.canary.defended import bed
from vestige.config_files import load_config
from vestige.progress import Silence
from vestige.target import Access
from vestige.tradeoff import run
from vestige.tradeoff.canaries import design_for, empty, planted
from vestige.tradeoff.expand import expand
from vestige.tradeoff.parts import Planted
from vestige.tradeoff.points import _refuted


def audit_of(folder, depth, *, place=0, **changes):
    told = {
        "store": str(folder / "store"),
        "data": {"source": "digits", "limit": 900},
        "recipe": {
            "kind": "sklearn",
            "model": "sklearn.tree:DecisionTreeClassifier",
            "params": {"max_depth": depth},
        },
        "shadow": {"count": 4},
        "audit": {"attacks": ["gap"], "fpr": [0.05]},
        "tradeoff": {"baselines": []},
        **changes,
    }
    return Audit.from_config(expand(load_config(told, environ={}))[place].config)


def test_a_tree_that_remembers_everything_gives_every_canary_away_and_a_stump_none(tmp_path):
    whole, stump = (planted(audit_of(tmp_path, depth), Silence()) for depth in (None, 1))
    assert (whole.kind, whole.score, whole.reason) == ("mislabelled", "loss", "")
    assert whole.at(0.05).value > 0.8
    assert whole.epsilon > 1
    assert whole.at(0.05).low <= whole.at(0.05).value <= whole.at(0.05).high
    assert stump.at(0.05).low < 0.15
    assert (stump.epsilon or 0.0) < 1
    again = planted(audit_of(tmp_path, None), Silence())
    assert again == whole


def test_labels_alone_are_guessed_by_the_label(tmp_path):
    told = {"baselines": [], "defences": [{"chain": [{"kind": "label_only"}]}]}
    found = planted(audit_of(tmp_path, None, place=1, tradeoff=told), Silence())
    assert found.score == "correct"
    assert found.reason == ""
    # Whatever is not remembered is answered wrongly: nobody else has the wrong label of a canary.
    assert found.at(0.05).value > 0.5


def test_whoever_has_the_weights_is_not_stopped_by_what_is_answered(tmp_path):
    told = {"baselines": [], "defences": [{"chain": [{"kind": "label_only"}]}]}
    seen = {"attacks": ["loss"], "fpr": [0.05], "access": "white_box"}
    open_, shut = (
        planted(audit_of(tmp_path, None, place=place, tradeoff=told, audit=seen), Silence()) for place in (0, 1)
    )
    assert shut.reason == ""
    assert shut == open_


def test_what_is_promised_of_answers_is_not_promised_to_whoever_has_the_weights(tmp_path):
    pytest.importorskip("dp_accounting")
    chain = [{"kind": "private_prediction", "epsilon": 0.1, "answers": 500}]
    told = {
        "store": str(tmp_path / "store"),
        "data": {"source": "digits", "limit": 400},
        "recipe": {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier"},
        "shadow": {"count": 2},
        "tradeoff": {"baselines": [], "defences": [{"chain": chain}], "canaries": False},
    }
    shown = {}
    for access in ("score", "white_box"):
        audit = {"attacks": ["gap"], "fpr": [0.1], "access": access, "budget": 1}  # each answer counts
        log = run(load_config({**told, "audit": audit}, environ={}))
        shown[access] = log.points[1]
    assert (shown["score"].guarantee, shown["score"].claim.guarantee) == ("G2", "G2")
    assert (shown["white_box"].guarantee, shown["white_box"].claim) == ("", None)
    assert shown["score"].utility.accuracy.value < shown["white_box"].utility.accuracy.value - 0.2


def test_what_canary_says_is_planted_and_what_cannot_be_says_why(tmp_path):
    told = {"kind": "duplicated", "count": 30, "runs": 3, "references": 0, "score": "log_odds"}
    found = planted(audit_of(tmp_path, 3, canary=told), Silence())
    assert (found.kind, found.count, found.runs, found.copies, found.score) == ("duplicated", 30, 3, 4, "log_odds")
    assert found.at(0.05).high > found.at(0.05).low
    assert (
        planted(audit_of(tmp_path, 3, canary=told, audit={"attacks": ["gap"], "fpr": [0.01]}), Silence())
        .at(0.01)
        .reason
    )  # 45 coins at most say nothing of one in a hundred
    many = planted(audit_of(tmp_path, 3, canary={"count": 5000}), Silence())
    assert "at least 5,000 records" in many.reason
    assert many.at(0.05).value is None
    assert many.at(0.05).reason == many.reason


def test_canaries_lie_among_the_targets_records_and_the_defenders_own_are_never_trained_on(tmp_path):
    audit = audit_of(tmp_path, 3)
    records, rows = audit.inputs.records, audit.split().rows(0)
    design = design_for(audit.config, len(rows), Access.SCORE)
    assert design.count == int(0.05 * len(rows))
    own = audit.split().population[:25]
    found = bed(records.take(rows), records.take(own), design)
    assert len(found.pool) == len(rows) + 25
    assert {str(one) for one in found.pool.ids[-25:]} == {str(one) for one in records.ids[own]}
    coins = flip(design).targets[0]
    mask = found.mask(coins)
    assert not mask[-25:].any()
    assert mask.sum() == len(rows) - (~coins).sum()
    assert found.always == len(rows) - design.count
    assert np.array_equal(mask[found.inside[:, 0]], coins)


def test_a_bound_above_the_claim_is_a_doubt():
    assert _refuted(None) == []
    assert _refuted(Planted(epsilon=3.0)) == []
    assert _refuted(Planted(epsilon=3.0, claimed=4.0)) == []
    (words,) = _refuted(Planted(epsilon=5.0, claimed=4.0, method="one_run"))
    assert "ε ≥ 5 (one_run)" in words


def test_a_claim_is_held_against_the_canaries_own_trainings(tmp_path):
    pytest.importorskip("dp_accounting")
    pytest.importorskip("torch")
    told = {"baselines": [], "defences": [{"chain": [{"kind": "dp_sgd", "noise_multiplier": 1.0}]}]}
    recipe = {"kind": "torch", "model": "logistic", "epochs": 1, "batch_size": 64}
    audit = audit_of(tmp_path, 3, place=1, recipe=recipe, tradeoff=told, canary={"runs": 1, "references": 0})
    found = planted(audit, Silence())
    assert found.reason == ""
    assert found.claimed >= audit.config.claim.epsilon  # a few records fewer, so that each is drawn a little oftener
    assert found.claimed < 1.2 * audit.config.claim.epsilon
    assert (found.epsilon or 0.0) <= found.claimed
    assert empty(audit).kind == found.kind
