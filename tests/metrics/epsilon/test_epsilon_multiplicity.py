import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import EpsilonBound
from vestige.metrics.epsilon.multiplicity import family, holm
from vestige.metrics.epsilon.thresholds import Explicit
from vestige.metrics.epsilon.two_sample import clopper_pearson, joint_region
from vestige.seeds import rng


def fixed(value, **fields):
    def compute(confidence):
        known = {"method": "m", "assumption": "a", "delta": 0.0, "ceiling": 9.0} | fields
        return EpsilonBound(value=value, confidence=confidence, **known)

    return compute


def test_the_error_is_split_by_the_declared_weights():
    found = family({"a": fixed(1.0), "b": fixed(2.0)}, confidence=0.9, weights={"b": 1, "a": 3})
    assert found.bounds["a"].confidence == pytest.approx(1 - 0.075)
    assert found.bounds["b"].confidence == pytest.approx(1 - 0.025)
    assert (found.source, found.largest.value, found.largest.confidence) == ("b", 2.0, 0.9)
    assert "largest of 2 declared beforehand" in found.largest.design
    assert found.refuting(1.5) == ["b"]
    assert found.refuting(0.5) == ["a", "b"]


def test_one_bound_is_itself():
    draw = rng(0, "family")
    pair = draw.normal(1, 1, 100), draw.normal(0, 1, 100)
    found = family({"only": lambda c: joint_region(*pair, confidence=c)})
    alone = joint_region(*pair)
    assert found.largest.value == pytest.approx(alone.value)
    assert found.largest.ceiling == pytest.approx(alone.ceiling)
    assert found.largest.design == alone.design


def test_a_refused_bound_keeps_its_share():
    refusal = fixed(None, ceiling=None, reason="no Gaussian was declared")
    found = family({"a": fixed(1.0), "b": refusal})
    assert found.bounds["a"].confidence == pytest.approx(0.975)
    assert (found.largest.value, found.largest.ceiling) == (1.0, 9.0)
    everything = family({"b": refusal}).largest
    assert everything.refused
    assert everything.reason == "no Gaussian was declared"
    assert everything.ceiling is None


def test_an_unknown_ceiling_stays_unknown_and_all_assumptions_stay():
    found = family({"a": fixed(1.0, assumption="x"), "b": fixed(0.5, ceiling=None, assumption="y")}).largest
    assert found.ceiling is None
    assert found.assumption == "x and y"


def test_the_largest_of_many_slices_is_still_a_bound():
    """Ten slices without any leak: the best of them shows one in at most 1 of 20 audits, not in 4 of 10."""
    draw, audits, above, naive = rng(1, "slices"), 200, 0, 0
    for _ in range(audits):
        slices = {str(k): (draw.normal(size=60), draw.normal(size=60)) for k in range(10)}
        computed = {
            name: lambda c, pair=pair: joint_region(*pair, confidence=c, thresholds=Explicit(0.0))
            for name, pair in slices.items()
        }
        above += family(computed, confidence=0.8).largest.value > 0
        naive += max(compute(0.8).value for compute in computed.values()) > 0
    assert above / audits <= 0.2 + 2.5 * np.sqrt(0.2 * 0.8 / audits)
    assert naive / audits > 0.4


def test_what_cannot_be_combined_is_refused():
    for bounds, weights, words in (
        ({}, None, "at least one"),
        ({"a": fixed(1.0, kind="estimate")}, None, "a .m. is an estimate"),
        ({"a": fixed(1.0), "b": fixed(1.0, delta=0.1)}, None, "same delta"),
        ({"a": fixed(1.0)}, {"b": 1.0}, "weights for b"),
        ({"a": fixed(1.0)}, {"a": -1.0}, "positive"),
    ):
        with pytest.raises(UsageError, match=words):
            family(bounds, weights=weights)
    with pytest.raises(UsageError, match="confidence"):
        family({"a": fixed(1.0)}, confidence=2)
    assert clopper_pearson([1.0], [0.0]).kind == "bound"


P_VALUES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=12)


@given(P_VALUES)
@settings(max_examples=30, deadline=None)
def test_holm_is_statsmodels_holm(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    with np.errstate(all="ignore"):
        expected = multitest.multipletests(list(p_values.values()), method="holm")[1]
    assert list(holm(p_values).values()) == pytest.approx(list(expected))


@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_rejects_as_stepping_down_by_hand_does(p_values, error):
    left, rejected = dict(p_values), set()
    while left:
        name = min(left, key=left.get)
        if left[name] * len(left) > error:
            break
        rejected.add(name)
        del left[name]
    found = {name for name, adjusted in holm(p_values).items() if adjusted <= error}
    assert found == rejected


def test_holm_refuses_what_is_no_probability():
    assert holm({}) == {}
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="p-values"):
            holm({"a": wrong})
