import builtins
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vestige.errors import DataError, MissingDependency, UsageError
from vestige.metrics.epsilon.ratios import ratio
from vestige.metrics.epsilon.thresholds import Bonferroni, Explicit, Split
from vestige.seeds import rng

FORMS = ["koopman", "log", "log-adjusted"]


def scores(hits, members, alarms, nonmembers):
    return np.arange(members) < hits, np.arange(nonmembers) < alarms


def log_low(hits, members, alarms, nonmembers, added, error):
    """The textbook formula: normal on the log scale, with or without half a count added."""
    x, m, y, n = np.broadcast_arrays(*(np.asarray(v, float) + added for v in (hits, members, alarms, nonmembers)))
    with np.errstate(all="ignore"):
        low = np.log(x / m) - np.log(y / n) - stats.norm.isf(error) * np.sqrt(1 / x - 1 / m + 1 / y - 1 / n)
    return np.where(np.isfinite(low), low, -np.inf)


def koopman_low(hits, members, alarms, nonmembers, error):
    """The ratio at which the score statistic, at the constrained maximum of the likelihood, is at its limit."""
    x, m, y, n = hits, members, alarms, nonmembers

    def statistic(log_ratio):
        r = np.exp(log_ratio)
        b = r * (m + y) + x + n
        p0 = (b - np.sqrt(b * b - 4 * (m + n) * r * (x + y))) / (2 * (m + n) * r)
        p1 = r * p0
        return (x / m - p1) / np.sqrt(p1 * (1 - p1) / m * 1 + r * r * p0 * (1 - p0) / n * 1 + 1e-300)

    # (x/m − p₁) and −r(y/n − p₀) have the same sign; Koopman's chi-square is the sum of both squares
    def chi(log_ratio):
        r = np.exp(log_ratio)
        b = r * (m + y) + x + n
        p0 = (b - np.sqrt(b * b - 4 * (m + n) * r * (x + y))) / (2 * (m + n) * r)
        p1 = r * p0
        return (x - m * p1) ** 2 / (m * p1 * (1 - p1)) + (y - n * p0) ** 2 / (n * p0 * (1 - p0))

    assert statistic(np.log(x / m / (y / n)) - 1) > 0
    low, high = np.log(x / m / (y / n)) - 8, np.log(x / m / (y / n))
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if chi(middle) > stats.norm.isf(error) ** 2 else (low, middle)
    return low


@pytest.mark.parametrize("case", [(50, 1000, 1, 1000), (73, 500, 10, 480), (400, 500, 200, 600)])
@pytest.mark.parametrize("form", FORMS)
def test_forms_are_the_textbook_formulas(case, form):
    hits, members, alarms, nonmembers = case
    turned = (nonmembers - alarms, nonmembers, members - hits, members)
    if form == "koopman":
        slow = max(koopman_low(*case, 0.025), koopman_low(*turned, 0.025))
    else:
        added = 0.5 * (form == "log-adjusted")
        slow = max(log_low(*case, added, 0.025), log_low(*turned, added, 0.025))
    found = ratio(*scores(*case), form=form, thresholds=Explicit(0.5))
    assert found.value == pytest.approx(float(slow), abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_an_estimate_and_says_why(form):
    draw = rng(0, "ratio")
    found = ratio(draw.normal(1, 1, 500), draw.normal(0, 1, 500), form=form, delta=1e-5)
    assert found.kind == "estimate"
    assert "too often" in found.reason
    assert not found.refutes(0.0)
    assert 1 < found.value < 2


@pytest.mark.parametrize("added", [0.0, 0.5])
def test_the_log_forms_err_far_more_often_than_they_say_when_members_are_few(added):
    """Every outcome enumerated: why they are labelled estimates."""
    hits, alarms = np.arange(101)[:, None], np.arange(1001)[None]
    wrong = log_low(hits, 100, alarms, 1000, added, 0.025) > 1e-12
    error = stats.binom.pmf(hits[:, 0], 100, 0.99) @ wrong @ stats.binom.pmf(alarms[0], 1000, 0.99)
    assert error > 5 * 0.025


def test_koopmans_form_errs_more_often_than_it_says_at_small_counts():
    wrong = np.array(
        [[_koopman_wrong(x, y) for y in range(20)] for x in range(20)]
    )  # rates of 3 %: larger counts than 19 of 100 do not happen
    law = stats.binom.pmf(np.arange(20), 100, 0.03)
    assert law @ wrong @ law > 1.1 * 0.05


def _koopman_wrong(hits, alarms):
    from statsmodels.stats.proportion import confint_proportions_2indep

    if hits <= alarms:
        return False
    with np.errstate(all="ignore"):
        low, _ = confint_proportions_2indep(
            hits, 100, alarms, 100, compare="ratio", method="score", alpha=0.1, correction=False
        )
    return float(np.real(low)) > 1 + 1e-9


def test_a_delta_is_taken_off_the_hits():
    draw = rng(1, "ratio")
    pair = draw.normal(1, 1, 500), draw.normal(0, 1, 500)
    values = [ratio(*pair, delta=d, thresholds=Explicit(1.5)).value for d in (0, 1e-9, 1e-5, 0.05, 0.9)]
    assert values == sorted(values, reverse=True)
    assert values[1] == pytest.approx(values[0], abs=0.02)  # a twentieth of the error goes to the smallest TPR
    assert values[3] < values[0] - 0.1
    assert values[-1] == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("design", [Explicit(0.0), Bonferroni(looks=4), Split()], ids=str)
@given(
    members=st.lists(st.integers(-4, 4), min_size=10, max_size=40),
    nonmembers=st.lists(st.integers(-4, 4), min_size=10, max_size=40),
)
@settings(max_examples=15, deadline=None)
def test_nothing_exceeds_the_ceiling(form, design, members, nonmembers):
    found = ratio(members, nonmembers, form=form, thresholds=design)
    assert 0 <= found.value <= found.ceiling + 1e-9
    apart = ratio(np.array(members) + 99, np.array(nonmembers) - 99, form=form, thresholds=design)
    assert apart.value <= found.ceiling + 1e-9
    if form == "koopman":
        assert apart.value == pytest.approx(found.ceiling, abs=1e-9)


@pytest.mark.parametrize("form", ["log", "log-adjusted"])
@pytest.mark.parametrize("size", [15, 40, 300])
def test_the_log_forms_ceiling_is_their_largest_value(form, size):
    added = 0.5 * (form == "log-adjusted")
    hits, alarms = np.arange(size + 1)[:, None], np.arange(size + 1)[None]
    slow = log_low(hits, size, alarms, size, added, 0.025).max()
    found = ratio(np.ones(size), np.zeros(size), form=form, thresholds=Explicit(0.5)).ceiling
    assert found == pytest.approx(max(float(slow), 0))


def test_bad_input_is_one_sentence():
    with pytest.raises(UsageError, match="koopman, log, log-adjusted, got 'katz'"):
        ratio([1.0], [0.0], form="katz")
    with pytest.raises(DataError, match="finite"):
        ratio([np.inf], [0.0])
    with pytest.raises(UsageError, match="delta"):
        ratio([1.0], [0.0], delta=2)


def test_without_statsmodels_the_cure_is_named(monkeypatch):
    real = builtins.__import__
    for name in [name for name in sys.modules if name.split(".")[0] == "statsmodels"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(MissingDependency, match=r"vestige\[stats\]"):
        ratio([1.0], [0.0])
    assert builtins.__import__ is real
