"""What the report says of defences: what they guarantee, what aims at them, and whether the adversary knew."""

from __future__ import annotations

from report.example_log import example
from vestige.log import AuditLog
from vestige.log_parts import Layer
from vestige.report import defended
from vestige.report.threat import knowledge, untested
from vestige.report.verdict import verdict

AIMED = ["gap", {"name": "modified_entropy", "params": {"thresholds": "class"}}, "no_such_attack"]


def under(layer: Layer, known: str = "known", access: str = "score") -> AuditLog:
    log = example()
    config = {**log.config, "defences": [{"kind": layer.name}]}
    config["shadow"] = {**config["shadow"], "defences": known}
    first = log.attacks[0].model_copy(update={"name": "gap", "label": "gap"})
    target = log.target.model_copy(update={"access": access})
    return log.model_copy(
        update={"config": config, "defences": [layer], "attacks": [first, *log.attacks[1:]], "target": target}
    )


def test_the_verdict_says_what_aims_at_a_defence_and_what_it_finds() -> None:
    log = under(Layer(name="memguard", guarantee="G3", stage="answers", adaptive=AIMED))
    (text,) = defended.said(log)
    assert text in verdict(log).details
    assert "nothing about leakage (G3)" in text
    value = log.attacks[0].balanced_accuracy.value
    assert value is not None
    assert f"gap {100 * value:.0f}" in text
    assert log.attacks[0] in defended.aimed(log, log.defences[0])
    assert "no_such_attack" not in text


def test_parameters_tell_variants_apart() -> None:
    log = under(Layer(name="memguard", adaptive=[{"name": "gap", "params": {"thresholds": "class"}}]))
    assert not defended.aimed(log, log.defences[0])
    same = log.attacks[0].model_copy(update={"params": {"thresholds": "class", "more": 1}})
    log = log.model_copy(update={"attacks": [same]})
    assert defended.aimed(log, log.defences[0]) == [same]


def test_attacks_that_were_not_run_are_named_among_what_was_not_tested() -> None:
    log = under(Layer(name="memguard", adaptive=["gap", *AIMED[1:]]))
    texts = [text for text in untested(log) if "memguard" in text]
    assert len(texts) == 1
    assert "no_such_attack" in texts[0]
    assert "gap" not in texts[0]
    assert not defended.unrun(under(Layer(name="top_k", adaptive=["gap"])))


def test_a_proof_is_left_to_the_claim() -> None:
    assert defended.said(under(Layer(name="dp_sgd", guarantee="G1"))) == []
    (text,) = defended.said(under(Layer(name="temperature")))
    assert "all there is to judge it by" in text


def test_the_adversary_adapts_only_where_they_know() -> None:
    layer = Layer(name="memguard", stage="answers")
    assert dict(knowledge(under(layer)))["Faces"] == "The defence memguard, and adapts to it."
    assert "does not know of it" in dict(knowledge(under(layer, "unknown")))["Faces"]
    assert "get past memguard" in dict(knowledge(under(layer, access="white_box")))["Faces"]
    assert "get past" not in dict(knowledge(under(Layer(name="l2"), access="white_box")))["Faces"]
