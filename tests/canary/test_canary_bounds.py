from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.canary.bounds import METHODS, bound, bounds, for_one_record, group_delta, judged, levels, methods_of
from vestige.canary.design import Design
from vestige.canary.power import mu_of, power
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound
from vestige.metrics.epsilon.gdp import gdp_delta
from vestige.metrics.epsilon.one_run import one_run
from vestige.metrics.shares import shares
from vestige.privacy_claim import PrivacyClaim

GAUSSIAN = PrivacyClaim(epsilon=4.0, delta=1e-5, mechanism="gaussian")
SUBSAMPLED = PrivacyClaim(epsilon=4.0, delta=1e-5, mechanism="subsampled_gaussian")


def bits(count, seed, distance=2.0):
    random = np.random.default_rng(seed)
    included = random.random(count) < 0.5
    return Coins(scores=distance * included + random.laplace(size=count), included=included)


def test_shares_spend_the_error_exactly():
    assert shares(1, 0.95) == [0.95]
    for count in (2, 3, 7):
        assert math.isclose(sum(1 - one for one in shares(count, 0.9)), 0.1)
        assert shares(count, 0.9)[0] == max(1 - 0.08, 0) != shares(count, 0.9)[1]


@pytest.mark.parametrize(
    ("options", "names", "counted"),
    [
        ({}, ("one_run", "one_run_fdp"), [True, True]),
        ({"count": 1, "runs": 500}, ("joint_region", "clopper_pearson"), [True, False]),
        ({"claim": GAUSSIAN}, ("one_run", "one_run_fdp", "one_run_gdp", "gdp"), [True, True, True, False]),
        ({"claim": SUBSAMPLED}, ("one_run", "one_run_fdp", "one_run_gdp", "gdp"), [True, True, False, False]),
        ({"claim": GAUSSIAN, "kind": "gradient"}, ("one_run", "one_run_fdp", "one_run_gdp", "gdp"), [True] * 4),
        ({"methods": ("clopper_pearson",), "count": 1, "runs": 50}, ("clopper_pearson",), [True]),
        ({"methods": ("one_run", "one_run")}, ("one_run",), [True]),
    ],
)
def test_methods_that_fit_and_those_that_count(options, names, counted):
    design = Design(**options)
    assert methods_of(design) == names
    assert judged(design) == counted
    together = [level for level, one in zip(levels(design), counted, strict=True) if one]
    assert math.isclose(sum(1 - level for level in together), 0.05)


def test_an_unknown_method_is_named():
    with pytest.raises(UsageError, match="Did you mean 'one_run'"):
        methods_of(Design(methods=("onerun",)))


def test_two_samples_from_one_model_are_refused():
    found = bound("clopper_pearson", bits(300, 0), Design(count=300), 0.95)
    assert found.refused
    assert "300 canaries share each model" in found.reason


def test_a_gaussian_bound_of_an_undeclared_mechanism_is_refused():
    for name in ("one_run_gdp", "gdp"):
        assert bound(name, bits(300, 0), Design(count=300), 0.95).refused


@pytest.mark.parametrize("name", METHODS)
def test_a_small_run_of_any_method_ends_in_a_bound_or_a_reason(name):
    for count in (2, 8, 40):
        included = np.arange(count) % 2 == 0
        for scores in (included.astype(float), np.zeros(count), -included.astype(float)):
            design = Design(count=1, runs=count, claim=GAUSSIAN)
            found = bound(name, Coins(scores=scores, included=included), design, 0.95)
            assert found.value is not None or found.reason
            assert found.value is None or 0 <= found.value <= found.ceiling + 1e-9


@given(st.floats(0, 4), st.floats(1e-9, 1e-3), st.integers(1, 6))
def test_a_group_is_as_private_as_its_records_one_after_another(epsilon, delta, copies):
    """Adding records one at a time: Pr ≤ e^ε Pr + δ, so much for one; the next e^ε times that, and δ once more."""
    total = 0.0
    for _ in range(copies):
        total = math.exp(epsilon) * total + delta
    assert math.isclose(group_delta(epsilon, delta, copies), min(total, 1.0), rel_tol=1e-9)


def test_without_delta_a_group_bound_is_divided():
    found = for_one_record(lambda at: one_run(bits(400, 1, 8.0), delta=at), 0.0, 4)
    whole = one_run(bits(400, 1, 8.0))
    assert found.value == whole.value / 4
    assert found.ceiling == whole.ceiling / 4
    assert "4 copies" in found.design


def test_with_delta_what_is_refuted_is_what_group_privacy_refutes():
    coins, delta, copies = bits(400, 2, 8.0), 1e-5, 3
    found = for_one_record(lambda at: one_run(coins, delta=at), delta, copies)

    def refuted(epsilon):
        return one_run(coins, delta=group_delta(epsilon, delta, copies)).value > copies * epsilon

    assert refuted(found.value)
    assert not refuted(found.value + 2e-3)
    assert found.value < one_run(coins, delta=delta).value / copies
    assert found.delta == delta


def test_a_refused_group_bound_stays_refused():
    none = EpsilonBound(method="m", assumption="a", delta=0.0, confidence=0.95, value=None, reason="no")
    assert for_one_record(lambda _: none, 0.0, 5) is none


def test_a_bound_on_copies_is_valid_for_one_record():
    """Noise that gives one record ε = 1 gives five copies ε = 5; the bound must not exceed 1 in more than 5 %."""
    design = Design(count=100, copies=5, delta=0.0, methods=("one_run",))
    above = 0
    for seed in range(200):
        coins = bits(100, seed, distance=5.0)
        above += bounds(coins, design)[0].bound.value > 1.0
    assert above / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.3772, 12.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.01])
def test_the_gaussian_of_a_claim_just_meets_it(epsilon, delta):
    assert math.isclose(gdp_delta(mu_of(epsilon, delta), epsilon), delta, rel_tol=1e-6)


def test_power_grows_with_the_leak_and_says_whether_the_audit_could_fail():
    strong = power(Design(count=1000, claim=PrivacyClaim(epsilon=1.0, delta=1e-5)))
    assert strong.could_fail
    assert "would refute the claim of 1" in strong.message
    shown = [one.shown for one in strong.reach]
    assert shown == sorted(shown)
    assert all(one.shown <= one.epsilon for one in strong.reach)
    assert shown[-1] <= strong.ceiling
    weak = power(Design(count=30, claim=PrivacyClaim(epsilon=8.0, delta=1e-5)))
    assert weak.could_fail is False
    assert "cannot fail" in weak.message
    assert power(Design(count=100)).could_fail is None


def test_power_does_not_depend_on_the_seed():
    assert power(Design(seed=1)) is power(Design(seed=2))


def test_several_copies_lower_the_ceiling():
    assert power(Design(copies=4)).ceiling < power(Design()).ceiling / 3
