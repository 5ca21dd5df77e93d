import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_epsilon
from vestige.errors import DataError, UsageError
from vestige.metrics.epsilon.bayesian import bayesian, posterior
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Explicit, Split
from vestige.seeds import rng


def scores(hits, members, alarms, nonmembers):
    return np.arange(members) < hits, np.arange(nonmembers) < alarms


CASES = [(50, 1000, 1, 1000), (40, 60, 10, 50), (20, 20, 0, 30), (5, 30, 20, 40)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("delta", [0.0, 0.05])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_the_posterior_is_a_double_integral(case, delta, epsilon):
    counts = Counts(*(np.array([float(each)]) for each in case))
    found = posterior(counts, np.array([epsilon]), delta)[0]
    assert found == pytest.approx(slow_epsilon.posterior(*case, epsilon, delta), abs=1e-5)


@pytest.mark.parametrize("case", CASES[:3])
def test_the_limit_is_where_the_posterior_holds_what_it_says(case):
    found = bayesian(*scores(*case), confidence=0.9, thresholds=Explicit(0.5))
    assert slow_epsilon.posterior(*case, found.value, 0.0) == pytest.approx(0.1, abs=1e-5)


def test_it_is_an_estimate_and_says_why():
    draw = rng(0, "bayesian")
    found = bayesian(draw.normal(1, 1, 500), draw.normal(0, 1, 500), delta=1e-5)
    assert found.kind == "estimate"
    assert "credible" in found.reason
    assert not found.refutes(0)
    assert not found.could_refute(0)
    assert 1 < found.value < 3


def test_samples_of_the_posterior_agree():
    draw = rng(1, "bayesian")
    tpr, fpr = draw.beta(40.5, 20.5, 400_000), draw.beta(10.5, 40.5, 400_000)
    epsilon = np.maximum(np.log(tpr / fpr), np.log((1 - fpr) / (1 - tpr)))
    found = bayesian(*scores(40, 60, 10, 50), thresholds=Explicit(0.5)).value
    assert found == pytest.approx(np.quantile(epsilon, 0.05), abs=0.005)


@pytest.mark.parametrize("design", [Explicit(0.0), Bonferroni(looks=4), Split()], ids=str)
@given(
    members=st.lists(st.integers(-4, 4), min_size=2, max_size=40),
    nonmembers=st.lists(st.integers(-4, 4), min_size=2, max_size=40),
    delta=st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=15, deadline=None)
def test_perfect_separation_reaches_the_ceiling_and_nothing_exceeds_it(design, members, nonmembers, delta):
    found = bayesian(members, nonmembers, delta=delta, thresholds=design)
    assert 0 <= found.value <= found.ceiling + 1e-5
    apart = bayesian(np.array(members) + 99, np.array(nonmembers) - 99, delta=delta, thresholds=design)
    assert apart.value == pytest.approx(found.ceiling, abs=1e-5)


def test_no_leak_and_a_total_leak_do_not_crash():
    assert bayesian(np.zeros(500), np.zeros(500)).value == 0
    assert 5 < bayesian(np.ones(500), np.zeros(500)).value < 8
    assert bayesian([1.0], [0.0]).value >= 0


def test_bad_input_is_one_sentence():
    with pytest.raises(DataError, match="finite"):
        bayesian([np.nan], [0.0])
    with pytest.raises(UsageError, match="confidence"):
        bayesian([1.0], [0.0], confidence=1)
    with pytest.raises(UsageError, match="delta"):
        bayesian([1.0], [0.0], delta=-1)
