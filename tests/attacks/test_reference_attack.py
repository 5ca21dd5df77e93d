import numpy as np
import pytest

from reference import slow_calibrated as slow
from reference.slow_toys import Gaussian, auc, evidence, tpr_at
from vestige.attacks.reference import AttackR
from vestige.seeds import rng

TOY = Gaussian()
ATTACK = AttackR(signal="log_odds")


def score(own, references, masks=None, attack=ATTACK):
    masks = np.zeros(references.shape[:2]) if masks is None else masks
    return attack.score(evidence(attack, own, references, masks))


def test_between_references_it_is_numpys_interpolation():
    own, references, masks, _ = TOY.draw(14, 400, rng(0, "attack_r"))
    own, references = own.astype(np.float32), references.astype(np.float32)
    expected = slow.attack_r(own, references, masks)
    got = score(own, references, masks)
    inside = np.isfinite(expected)
    assert 100 < inside.sum() < 400
    assert np.allclose(got[inside], expected[inside], rtol=1e-9, atol=1e-9)
    assert (np.abs(got[~inside]) > np.log(7) - 1e-9).all()


def test_it_rises_without_jumps_through_the_references():
    references = np.tile(np.array([-1.0, 0.5, 0.5, 2.0])[:, None], (1, 4001))
    own = np.linspace(-3, 4, 4001)
    rising = score(own, references)
    steps = np.diff(rising)
    assert (steps > 0).all()
    assert np.sort(steps)[-3] < 0.1  # only the tied reference is a step
    at = score(np.array([-1.0, 0.5, 2.0]), references[:, :3])
    assert at == pytest.approx([np.log(0.2 / 0.8), 0.0, np.log(4)], abs=1e-9)


def test_the_levels_are_p_values_under_the_null():
    draw = rng(1, "null")
    references, own = draw.normal(size=(9, 40_000)), draw.normal(size=40_000)
    scores = score(own, references)
    for rank in (1, 2, 5):
        alpha = rank / 10
        assert (scores > np.log((1 - alpha) / alpha)).mean() == pytest.approx(alpha, abs=3 * np.sqrt(alpha / 40_000))


def test_far_beyond_the_references_the_order_remains():
    references = np.tile(np.array([-1.0, 0.0, 1.0])[:, None], (1, 300))
    assert (np.diff(score(np.linspace(1.1, 80, 300), references)) > 0).all()
    assert (np.diff(score(np.linspace(-80, -1.1, 300), references)) > 0).all()


def test_it_has_power_and_only_reads_the_out_side():
    own, references, masks, truth = TOY.draw(64, 6000, rng(2, "power"))
    scores = score(own, references, masks)
    assert auc(scores, truth) > 0.9
    assert tpr_at(scores, truth, 0.05) > 0.5
    assert np.array_equal(scores, score(own, np.where(masks, 1e9, references), masks))
    assert np.allclose(scores, score(-own, -references, masks, AttackR()))


def test_odd_cases_are_finite_and_neutral():
    assert score(np.array([3.0]), np.full((4, 1), 3.0))[0] == 0
    assert score(np.array([3.0]), np.ones((4, 1)), np.ones((4, 1)))[0] == 0
    assert score(np.array([3.0]), np.empty((0, 1)))[0] == 0
    one = score(np.array([-1.0, 0.0, 1.0]), np.zeros((1, 3)))
    assert np.isfinite(one).all()
    assert one[0] < one[1] == 0 < one[2]
    assert np.isfinite(score(np.array([1e30, -1e30]), np.zeros((3, 2)))).all()
