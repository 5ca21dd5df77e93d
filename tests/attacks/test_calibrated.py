import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from reference.slow_toys import Gaussian, auc, evidence
from vestige.attacks.calibrated import Calibrated, Sablayrolles
from vestige.attacks.orientation import sign
from vestige.seeds import rng

TOY = Gaussian()
WATSON = Calibrated()
ODDS = Sablayrolles(signal="log_odds")


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_the_area_is_the_closed_form(n):
    own, references, masks, truth = TOY.draw(2 * n, 20_000, rng(0, "watson", n))
    scores = WATSON.score(evidence(WATSON, own, references, masks))
    expected = norm.cdf(TOY.shift / np.sqrt(TOY.sigma**2 * (2 + 2 / n)))
    assert auc(scores, truth) == pytest.approx(expected, abs=0.007)


def test_the_midpoint_only_moves_the_threshold_when_records_are_alike():
    own, references, masks, truth = TOY.draw(200, 20_000, rng(0, "midpoint"))
    scores = ODDS.score(evidence(ODDS, own, references, masks))
    assert auc(scores, truth) == pytest.approx(TOY.best_auc, abs=0.006)
    assert ((scores > 0) == truth).mean() == pytest.approx(norm.cdf(TOY.shift / 2 / TOY.sigma), abs=0.01)


def test_scores_are_the_definition():
    own, references, masks, _ = TOY.draw(6, 50, rng(1, "definition"))
    own, references = own.astype(np.float32), references.astype(np.float32)
    calibrated = WATSON.score(evidence(WATSON, own, references, masks))
    midpoint = ODDS.score(evidence(ODDS, own, references, masks))
    for n in range(50):
        out, inside = (references[side[:, n], n].astype(np.float64).mean() for side in (~masks, masks))
        assert calibrated[n] == pytest.approx(own[n] - out, abs=1e-9)
        assert midpoint[n] == pytest.approx(own[n] - (out + inside) / 2, abs=1e-9)


def test_a_loss_is_turned_round():
    own, references, masks, truth = TOY.draw(6, 2000, rng(1, "sign"))
    for attack in (Calibrated(signal="loss"), Sablayrolles()):
        other = type(attack)(signal="log_odds")
        loss = attack.score(evidence(attack, -own, -references, masks))
        assert np.allclose(loss, other.score(evidence(other, own, references, masks)))
        assert auc(loss, truth) > 0.6
    assert sign("loss") == sign("modified_entropy") == -1
    assert sign("log_probability(temperature=2.0)") == sign("hinge") == 1


def test_references_equal_to_the_target_say_nothing():
    own = rng(2, "same").normal(size=40).astype(np.float32)
    masks = np.arange(4)[:, None] < np.full((1, 40), 2)
    for attack in (WATSON, ODDS):
        assert np.abs(attack.score(evidence(attack, own, np.tile(own, (4, 1)), masks))).max() < 1e-12


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_difficulty_of_a_record_cancels(seed):
    draw = rng(seed, "difficulty")
    own, references, masks, _ = TOY.draw(6, 30, draw)
    hard = draw.normal(0, 50, 30)
    for attack in (WATSON, ODDS):
        plain = attack.score(evidence(attack, own, references, masks))
        harder = attack.score(evidence(attack, own + hard, references + hard, masks))
        assert np.allclose(plain, harder, atol=1e-3)


def test_records_without_references_of_a_side_get_a_finite_score():
    own, references, masks, _ = TOY.draw(4, 30, rng(3, "missing"))
    masks[:, 0], masks[:, 1] = True, False
    for attack in (WATSON, ODDS):
        assert np.isfinite(attack.score(evidence(attack, own, references, masks))).all()
        for side in (0, 1):
            assert np.isfinite(attack.score(evidence(attack, own, references, np.full((4, 30), side)))).all()


def test_queries_are_averaged():
    draw = rng(4, "queries")
    own, references, masks = draw.normal(size=(20, 3)), draw.normal(size=(4, 20, 3)), draw.random((4, 20)) < 0.5
    masks[0], masks[1] = True, False
    for attack in (WATSON, ODDS):
        apart = [attack.score(evidence(attack, own[:, a], references[:, :, a], masks)) for a in range(3)]
        assert np.allclose(attack.score(evidence(attack, own, references, masks)), np.mean(apart, axis=0))
