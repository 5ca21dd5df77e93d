import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reference import slow_epsilon
from reference.slow_epsilon import toy_scores, true_epsilon
from vestige.errors import DataError, UsageError
from vestige.metrics.epsilon.rounded import combined, radius, tail
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Explicit, MultiSplit, Split, counts_above
from vestige.metrics.epsilon.two_sample import clopper_pearson, joint_region, rectangle, rounded_corner
from vestige.seeds import rng

METHODS = [clopper_pearson, joint_region]
DELTA = 1e-5


def scores(hits, members, alarms, nonmembers):
    return np.arange(members) < hits, np.arange(nonmembers) < alarms


@pytest.mark.parametrize(
    ("hits", "alarms", "expected"), [(50, 1, 1.904), (100, 10, 1.500), (500, 0, 4.846), (1000, 0, 5.601)]
)
def test_published_values(hits, alarms, expected):
    bound = clopper_pearson(*scores(hits, 1000, alarms, 1000), delta=DELTA, thresholds=Explicit(0.5))
    assert bound.value == pytest.approx(expected, abs=5e-4)
    assert bound.ceiling == pytest.approx(5.601, abs=5e-4)


CASES = [(50, 1000, 1, 1000), (73, 500, 10, 480), (40, 40, 0, 30), (0, 30, 5, 20), (30, 30, 29, 30), (29, 30, 0, 500)]


@pytest.mark.parametrize("case", [*CASES, (300, 400, 10, 90), (20, 20, 20, 20)])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.05])
def test_clopper_pearson_is_what_scipys_intervals_give(case, delta):
    found = clopper_pearson(*scores(*case), delta=delta, confidence=0.9, thresholds=Explicit(0.5)).value
    assert found == pytest.approx(max(slow_epsilon.clopper_pearson(*case, delta, 0.1), 0), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("delta", [0.0, 0.02])
def test_the_joint_region_is_a_plain_scan_of_all_pairs(case, delta):
    found = joint_region(*scores(*case), delta=delta, confidence=0.9, thresholds=Explicit(0.5)).value
    slow = max(slow_epsilon.joint_region(*case, delta, 0.1), 0)
    assert found == pytest.approx(slow, abs=2e-3)
    assert found <= slow + 1e-6  # the scan sees fewer pairs, so it can only say more


@pytest.mark.parametrize("error", [0.2, 0.05, 0.005, 1e-5])
def test_the_radius_is_that_of_a_double_integral(error):
    assert radius(np.array([error]))[0] == pytest.approx(slow_epsilon.radius(error), abs=1e-6)
    assert tail(radius(np.array([error])))[0] == pytest.approx(error)


def test_the_tail_is_that_of_many_draws():
    draws = rng(0, "rounded").standard_normal((2, 1_000_000))
    for far in (0.5, 2.0, 3.5):
        assert np.mean(combined(*draws) >= far) == pytest.approx(float(tail(far)), abs=0.002)
    assert tail([-1.0, 0.0]).tolist() == [1.0, 1.0]
    assert radius(np.array([0.9999999]))[0] == pytest.approx(0, abs=0.2)


DESIGNS = [
    Explicit(0.0),
    Explicit((0.0, 1.0), (1, 4)),
    Bonferroni(),
    Bonferroni(looks=1),
    Split(),
    MultiSplit(splits=3),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("design", DESIGNS, ids=str)
@settings(max_examples=15, deadline=None)
@given(
    members=st.lists(st.integers(-6, 6), min_size=2, max_size=60),
    nonmembers=st.lists(st.integers(-6, 6), min_size=2, max_size=60),
    delta=st.sampled_from([0.0, 1e-5, 0.1]),
)
def test_perfect_separation_reaches_the_ceiling_and_nothing_exceeds_it(method, design, members, nonmembers, delta):
    bound = method(members, nonmembers, delta=delta, thresholds=design)
    assert 0 <= bound.value <= bound.ceiling + 1e-9
    apart = method(np.array(members) + 1000, np.array(nonmembers) - 1000, delta=delta, thresholds=design)
    if not isinstance(design, Explicit) or len(design.thresholds) == 1:
        assert apart.value == pytest.approx(bound.ceiling, abs=1e-9)
    else:  # both thresholds separate, and the one with the larger share of the error is the ceiling's
        assert apart.value == pytest.approx(apart.ceiling, abs=1e-9)
    assert apart.ceiling == bound.ceiling


@pytest.mark.parametrize("method", METHODS)
@given(
    counts=st.tuples(st.integers(1, 80), st.integers(1, 80)).flatmap(
        lambda n: st.tuples(st.integers(0, n[0] - 1), st.just(n[0]), st.integers(1, n[1]), st.just(n[1]))
    )
)
@settings(max_examples=40, deadline=None)
def test_more_hits_and_fewer_alarms_never_show_less(method, counts):
    hits, members, alarms, nonmembers = counts
    here = method(*scores(*counts), thresholds=Explicit(0.5)).value
    assert method(*scores(hits + 1, members, alarms, nonmembers), thresholds=Explicit(0.5)).value >= here - 1e-9
    assert method(*scores(hits, members, alarms - 1, nonmembers), thresholds=Explicit(0.5)).value >= here - 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_both_sides_of_the_curve_are_one_question(method):
    draw = rng(3, "sides")
    members, nonmembers = draw.normal(1, 2, 300), draw.normal(0, 1, 300)
    one = method(members, nonmembers, delta=DELTA, thresholds=Bonferroni(looks=8))
    other = method(-nonmembers, -members, delta=DELTA, thresholds=Bonferroni(looks=8))
    # the members' and the non-members' parts in the rounded region are not alike, their order of roles is
    assert one.value == pytest.approx(other.value, abs=1e-9)


def test_a_larger_delta_or_confidence_shows_less():
    draw = rng(4, "delta")
    members, nonmembers = draw.normal(1, 1, 500), draw.normal(0, 1, 500)
    for method in METHODS:
        by_delta = [method(members, nonmembers, delta=d).value for d in (0, 1e-5, 1e-2, 0.1, 0.99)]
        by_confidence = [method(members, nonmembers, confidence=c).value for c in (0.5, 0.9, 0.95, 0.999)]
        assert by_delta == sorted(by_delta, reverse=True)
        assert by_delta[-1] == 0
        assert by_confidence == sorted(by_confidence, reverse=True)


CELLS = ["null", "laplace", "response", "response, tied", "0.5", "1", "2"]


def joined(parts):
    return Counts(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("size", [200, 1000])
def test_bounds_exceed_the_truth_no_more_often_than_they_say(name, size):
    """All audits at once: what `largest` does, with the audits' counts side by side."""
    audits, draw, truth = 400, rng(5, "validity", name, size), true_epsilon(name, DELTA)
    runs = [toy_scores(name, size, draw) for _ in range(audits)]
    ranked = joined([Bonferroni().counts(*run) for run in runs])
    fixed = joined([counts_above(*run, np.array([0.4, 1.7])) for run in runs])
    for lower in (rectangle, rounded_corner):
        for counts in (ranked, fixed):
            looks = len(counts.hits) // audits
            errors = np.full(len(counts.hits), 0.05 / looks)
            bounds = lower(counts, errors, delta=DELTA).reshape(audits, looks).max(axis=1)
            # three standard errors, because 56 shares are looked at here
            assert np.mean(np.maximum(bounds, 0) > truth + 1e-9) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / audits)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("design", [Split(), MultiSplit(splits=3), Bonferroni()], ids=str)
def test_choosing_the_threshold_is_paid_for(method, design):
    draw, audits = rng(5, "chosen"), 150
    above = sum(method(*toy_scores("null", 100, draw), thresholds=design).value > 0 for _ in range(audits))
    assert above / audits <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / audits)


def test_an_exact_enumeration_of_every_outcome():
    """P(bound > truth) summed over all (hits, alarms), for rates on the edge of ε: at most the permitted error."""
    members, nonmembers, error = 40, 30, 0.1
    hits, alarms = (axis.ravel().astype(float) for axis in np.mgrid[0 : members + 1, 0 : nonmembers + 1])
    size = np.ones(len(hits))
    counts = Counts(hits, size * members, alarms, size * nonmembers)
    for delta in (0.0, 0.05):
        for lower in (rectangle, rounded_corner):
            bounds = lower(counts, size * error, delta=delta)
            worst = 0.0
            for epsilon in (0.0, 0.5, 1.0, 2.0):
                for fpr in np.linspace(0.005, 0.95, 40):
                    tpr = min(np.exp(epsilon) * fpr + delta, 1 - np.exp(-epsilon) * (1 - delta - fpr))
                    weight = stats.binom.pmf(hits, members, tpr) * stats.binom.pmf(alarms, nonmembers, fpr)
                    worst = max(worst, weight[bounds > epsilon + 1e-9].sum())
            assert worst <= error + 1e-9
            assert worst > 0.2 * error  # valid, and not by saying nothing


def test_without_any_leak_ranks_need_no_independence():
    """Scores that move together as those of one run may, coins that owe them nothing: still 1 in 20 at most."""
    draw, audits, found = rng(6, "coupled"), 300, dict.fromkeys(METHODS, 0)
    for _ in range(audits):
        walk = np.cumsum(draw.standard_cauchy(300)) * draw.choice([1.0, 1e-3])
        coins = draw.random(300) < 0.5
        for method in METHODS:
            found[method] += method(walk[coins], walk[~coins]).value > 0
    assert max(found.values()) / audits <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / audits)


def test_power_at_the_papers_gaussian():
    draw = rng(7, "power")
    found = [toy_scores("1", 1000, draw) for _ in range(150)]
    joint = [joint_region(*each, delta=DELTA).value for each in found]
    exact = [clopper_pearson(*each, delta=DELTA).value for each in found]
    assert np.median(joint) > 1.35
    assert np.median(exact) > 1.08
    assert np.mean(np.array(joint) >= exact) > 0.9


def test_an_audit_takes_milliseconds():
    members, nonmembers = toy_scores("1", 5000, rng(8, "time"))
    joint_region(members, nonmembers, delta=DELTA)
    start = time.perf_counter()
    for _ in range(10):
        joint_region(members, nonmembers, delta=DELTA)
    assert (time.perf_counter() - start) / 10 < 0.1


def test_what_is_assumed_is_said():
    draw = rng(9, "words")
    members, nonmembers = draw.normal(size=20), draw.normal(size=20)
    one = clopper_pearson(members, nonmembers)
    assert "one model" in one.assumption
    assert "does not follow from differential privacy" in one.assumption
    assert "only ranks are read" in one.assumption
    assert "only ranks" not in clopper_pearson(members, nonmembers, thresholds=Explicit(0)).assumption
    many = joint_region(members, nonmembers, trials="separate_runs")
    assert "own training run" in many.assumption
    assert many.value == joint_region(members, nonmembers).value
    assert "10 ranks" in many.design


def test_too_few_records_to_show_anything_are_named():
    bound = clopper_pearson([1.0, 2], [0.0], thresholds=Explicit(0.5))
    assert (bound.value, bound.ceiling) == (0, 0)
    assert "could show nothing" in bound.reason
    assert not bound.could_refute(0.0)
    assert clopper_pearson(np.ones(200), np.zeros(200)).could_refute(2.0)


def test_extreme_scores_do_not_crash():
    for method in METHODS:
        for design in DESIGNS:
            for pair in ([0.0] * 50, [0.0] * 50), ([1e308] * 9, [-1e308] * 9), ([5e-324, 0.0], [0.0, 0.0]):
                assert 0 <= method(*pair, delta=DELTA, thresholds=design).value < 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("arguments", "words", "kind"),
    [
        ((([1.0, np.nan], [0.0]), {}), "member scores to be finite", DataError),
        ((([1.0], []), {}), "non-member scores", DataError),
        ((([1.0], [0.0]), {"delta": 1.0}), "delta to be at least 0 and below 1, got 1.0", UsageError),
        ((([1.0], [0.0]), {"delta": -0.1}), "delta", UsageError),
        ((([1.0], [0.0]), {"delta": float("nan")}), "delta", UsageError),
        ((([1.0], [0.0]), {"confidence": 95}), "confidence to lie strictly between 0 and 1, got 95", UsageError),
        ((([1.0], [0.0]), {"trials": "many"}), "one_run or separate_runs, got 'many'", UsageError),
    ],
)
def test_bad_input_is_one_sentence(method, arguments, words, kind):
    (members, nonmembers), options = arguments
    with pytest.raises(kind, match=words):
        method(members, nonmembers, **options)
