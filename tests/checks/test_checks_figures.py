import numpy as np

from vestige.checks import (
    CATALOGUE,
    all_scores_equal,
    auc_below_half,
    epsilon_claim,
    interval_wider_than_margin,
    weaker_than_loss,
)
from vestige.metrics import Estimate, auc, roc, withheld
from vestige.seeds import rng


def figure(value, half=0.02):
    return Estimate(value=value, low=value - half, high=value + half)


def test_equal_scores():
    assert all_scores_equal({"a": np.array([0.0, 1.0])}) is None
    assert all_scores_equal({}) is None
    check = all_scores_equal({"a": np.array([0.0, 1.0]), "gap": np.ones(5)})
    assert (check.id, check.level) == ("all-scores-equal", "warning")
    assert check.message.endswith("from gap.")


def test_an_auc_below_half_beyond_its_interval():
    assert auc_below_half({"a": figure(0.49), "b": figure(0.6), "c": withheld("few")}) is None
    weak = auc_below_half({"a": figure(0.47)})
    assert (weak.id, weak.level) == ("auc-below-half", "warning")
    wrong = auc_below_half({"a": figure(0.6), "b": figure(0.3)})
    assert wrong.level == "error"
    assert "b (0.300)" in wrong.message


def test_a_defence_may_mislead_an_attack_while_others_find_members():
    found = {"rmia": figure(0.77), "network": figure(0.41)}
    assert auc_below_half(found).level == "error"
    told = auc_below_half(found, misled_by=["memguard"])
    assert told.level == "warning"
    assert "memguard" in told.message
    assert "network (0.410)" in told.message
    exchanged = {"rmia": figure(0.23), "network": figure(0.59)}
    assert auc_below_half(exchanged, misled_by=["memguard"]).level == "error"
    assert auc_below_half({"network": figure(0.41)}, misled_by=["memguard"]).level == "error"


def test_many_attacks_on_noise_seldom_look_reversed():
    draw, alarms = rng(0, "below"), 0
    for _ in range(300):
        aucs = {str(i): auc(roc(draw.normal(size=150), draw.normal(size=150))) for i in range(8)}
        alarms += auc_below_half(aucs) is not None
    assert alarms / 300 < 0.06


def test_a_reference_attack_weaker_than_loss():
    assert weaker_than_loss(figure(0.60), {"lira": figure(0.58), "rmia": figure(0.9)}) is None
    check = weaker_than_loss(figure(0.60), {"lira": figure(0.52), "rmia": figure(0.9)})
    assert (check.id, check.level) == ("weaker-than-loss", "warning")
    assert "lira (0.520)" in check.message
    assert "rmia" not in check.message
    assert weaker_than_loss(withheld("few"), {"lira": figure(0.1)}) is None
    assert weaker_than_loss(figure(0.6), {"lira": withheld("few")}) is None


def test_a_claimed_epsilon_below_the_measured_bound():
    assert epsilon_claim(4.0, 3.9, delta=1e-5, confidence=0.95) is None
    check = epsilon_claim(1.0, 2.5, delta=1e-5, confidence=0.95)
    assert (check.id, check.level) == ("epsilon-claim", "error")
    assert "ε = 1 at δ = 1e-05" in check.message
    assert "at least 2.5 with 95%" in check.message


def test_a_limit_inside_the_interval():
    clear = [("auc>0.6", figure(0.5), 0.6), ("auc>0.4", figure(0.5), 0.4), ("x", withheld("few"), 0.1)]
    assert interval_wider_than_margin(clear) is None
    check = interval_wider_than_margin([*clear, ("auc>0.51", figure(0.5), 0.51)])
    assert (check.id, check.level) == ("interval-wider-than-margin", "warning")
    assert "auc>0.51 (0.5 in [0.48, 0.52])" in check.message


def test_every_explanation_is_a_sentence():
    for name, known in CATALOGUE.items():
        assert name == name.lower().replace("_", "-")
        for text in (known.cause, known.cure):
            assert text[0].isupper() or text[0] == "`"
            assert text.endswith(".")


def test_an_operating_point_far_from_its_rate():
    from vestige.checks import operating_point_off
    from vestige.metrics import Estimate

    near = (0.01, Estimate(value=0.02, low=0.012, high=0.03))
    far = (0.01, Estimate(value=0.24, low=0.21, high=0.27))
    assert operating_point_off({"loss": near, "lira": (0.01, Estimate())}) is None
    found = operating_point_off({"loss": near, "rmia": far})
    assert (found.id, found.level) == ("operating-point-off", "warning")
    assert "rmia (24.00% instead of 1.00%)" in found.message
    assert "loss" not in found.message
