import numpy as np
import pytest
from scipy import stats

from vestige.metrics import auc, roc, slices
from vestige.metrics.many import _adjusted, against, against_half, together
from vestige.seeds import rng


def drawn(seed, kinds, n, shift, odd=0.0):
    draw = rng(seed, "slices", kinds, n, str(shift))
    code, member = draw.integers(0, kinds, n), draw.random(n) < 0.5
    return code, draw.normal(size=n) + member * (shift + odd * (code == 0)), member


def test_holm_counts_only_the_tests_that_were_made():
    assert _adjusted([0.01, None, 0.04, 0.03, 0.5]) == [0.04, None, 0.09, 0.09, 0.5]
    assert _adjusted([]) == []


@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0])
def test_alike_slices_are_rarely_called_different_and_all_covered(shift):
    """Ten slices of 100 records; over 300 audits a rate of 5 % has a standard deviation of 1.3 points."""
    truth = stats.norm.cdf(shift / np.sqrt(2))
    called, leaked, covered = [], [], []
    for seed in range(300):
        standings = [each.standing for each in slices(*drawn(seed, 10, 1000, shift))]
        called.append(min(each.p_rest for each in standings) < 0.05)
        leaked.append(min(each.p_chance for each in standings) < 0.05)
        covered.append(all(each.together.low <= truth <= each.together.high for each in standings))
    assert np.mean(called) < 0.09
    assert np.mean(covered) > 0.91
    assert np.mean(leaked) < 0.09 if shift == 0 else np.mean(leaked) == 1


def test_a_slice_that_leaks_more_is_found_and_the_worst_is_not_overread():
    code, scores, member = drawn(1, 10, 4000, 0.3, odd=1.5)
    found = {each.name: each for each in slices(code, scores, member)}
    assert found["0"].standing.p_rest < 0.001
    assert found["0"].standing.together.low < found["0"].auc.low < found["0"].auc.high
    assert found["0"].standing.together.value == found["0"].auc.value
    assert sum(each.standing.p_rest < 0.05 for each in found.values()) == 1


def test_the_simultaneous_interval_is_bonferronis():
    code, scores, member = drawn(2, 5, 1000, 0.5)
    first = next(each for each in slices(code, scores, member) if each.name == "3")
    mine = code == 3
    exact = auc(roc(scores[mine & member], scores[mine & ~member]), confidence=0.99)
    assert (first.standing.together.low, first.standing.together.high) == pytest.approx((exact.low, exact.high))
    assert "among 5" in first.standing.together.method


def test_small_slices_neither_stand_nor_count():
    code = np.array([0] * 400 + [1] * 400 + [2] * 10)
    member = np.arange(810) % 2 == 0
    found = slices(code, rng(3, "small").normal(size=810), member)
    assert found[2].standing is None
    assert "among 2" in found[0].standing.together.method


def test_one_slice_has_no_rest():
    only = together([roc([1.0, 2, 3], [0.0, 1, 2])], [None])[0]
    assert only.p_rest is None
    assert only.together == auc(roc([1.0, 2, 3], [0.0, 1, 2]))


def test_p_values_agree_with_the_intervals():
    draw = rng(4, "agree")
    for _ in range(40):
        curve = roc(draw.normal(0.25, 1, 120), draw.normal(0, 1, 120))
        estimate = auc(curve)
        assert (against_half(curve) < 0.05) == (not estimate.low <= 0.5 <= estimate.high)
    a, b = roc([3.0, 4, 5], [0.0, 1, 2]), roc([3.0, 1, 5], [0.0, 4, 2])
    assert against(a, b) == against(b, a)
    assert against(a, a) == 1


def test_perfect_separation_is_not_certainty():
    tiny = roc([2.0, 3.0], [0.0, 1.0])
    assert against_half(tiny) == pytest.approx(0.5)
    assert 0 < against(tiny, roc([0.0, 1.0], [2.0, 3.0])) < 1
    assert against_half(roc(np.zeros(9), np.zeros(9))) == 1
