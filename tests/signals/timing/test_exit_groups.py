"""Exits recovered from latencies: the error is that of two overlapping normals, and nothing but the shape counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

pytest.importorskip("sklearn")

from vestige.errors import UsageError
from vestige.signals.timing.groups import recover_exits

RECORDS = 20_000


def simulated(step, repeats, *, shares=(0.5, 0.5), records=RECORDS, offset=0.0, seed=0):
    """Latency = step * exit + N(0, 1) + offset, measured so many times."""
    draw = np.random.default_rng(seed)
    exits = draw.choice(len(shares), records, p=shares)
    return exits, step * exits[:, None] + draw.normal(size=(records, repeats)) + offset


@pytest.mark.parametrize("repeats", [1, 5, 9])
@pytest.mark.parametrize("distance", [2.0, 3.0, 4.0])
def test_the_error_is_the_gaussian_overlap(repeats, distance):
    step = distance / np.sqrt(repeats)
    exits, seconds = simulated(step, repeats, seed=repeats)
    one = norm.sf(step / 2)
    # The median of an odd number lies beyond the middle exactly when more than half of the measurements do.
    expected = {"mean": norm.sf(step * np.sqrt(repeats) / 2), "median": binom.sf(repeats // 2, repeats, one)}
    for average, chance in expected.items():
        wrong = (recover_exits(getattr(np, average)(seconds, axis=1), exits=2) != exits).mean()
        # Three deviations of a share, and what the cut's own estimation adds.
        assert abs(wrong - chance) <= 3 * np.sqrt(chance * (1 - chance) / RECORDS) + 0.002
    if repeats > 1:
        assert expected["median"] > expected["mean"]


def test_the_median_loses_what_its_efficiency_says():
    """With many repeats the median is as good as the mean of 2/π as many."""
    for repeats, tolerance in ((9, 0.06), (101, 0.01)):
        step = 3 / np.sqrt(repeats)
        exact = binom.sf(repeats // 2, repeats, norm.sf(step / 2))
        assert exact == pytest.approx(norm.sf(step * np.sqrt(repeats * 2 / np.pi) / 2), rel=tolerance)


@pytest.mark.parametrize("shares", [(1.0,), (0.6, 0.4), (0.9, 0.07, 0.02, 0.01), (0.25,) * 4])
def test_the_number_of_exits_is_found(shares):
    exits, seconds = simulated(8.0, 1, shares=shares, records=3000)
    found = recover_exits(seconds[:, 0])
    assert found.max() + 1 == len(shares)
    assert (found == exits).mean() > 0.999
    np.testing.assert_array_equal(found, recover_exits(seconds[:, 0], exits=len(shares)))


def test_slow_tails_are_no_exits_and_interruptions_do_not_hide_any():
    draw = np.random.default_rng(3)
    exits = draw.integers(0, 3, 3000)
    seconds = 80e-6 + 25e-6 * exits + draw.gamma(2.0, 2e-6, 3000)
    interrupted = draw.random(3000) < 0.001
    seconds[interrupted] += draw.uniform(1e-2, 1.0, interrupted.sum())
    found = recover_exits(seconds)
    assert found.max() == 2
    assert (found == exits)[~interrupted].mean() > 0.995
    assert recover_exits(draw.gamma(2.0, 2e-6, 3000)).max() == 0


@settings(max_examples=8, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.integers(0, 1000))
def test_offset_unit_and_order_do_not_matter(offset, unit, seed):
    _, seconds = simulated(6.0, 1, shares=(0.7, 0.2, 0.1), records=300, seed=1)
    seconds = np.round(seconds[:, 0], 3)  # on a grid, as clocks are, so that an offset rounds little away
    found = recover_exits(seconds)
    assert found.max() == 2
    np.testing.assert_array_equal(found, recover_exits(seconds * unit + offset * unit))
    order = np.random.default_rng(seed).permutation(300)
    np.testing.assert_array_equal(found[order], recover_exits(seconds[order]))


def test_little_to_tell_apart():
    np.testing.assert_array_equal(recover_exits(np.full(50, 3.0)), 0)
    np.testing.assert_array_equal(recover_exits(np.zeros(0)), [])
    np.testing.assert_array_equal(recover_exits(np.array([1.0])), [0])
    np.testing.assert_array_equal(recover_exits(np.array([1.0, 2.0, 3.0]), exits=1), 0)
    assert recover_exits(np.array([1.0, 1.0, 9.0, 9.0]), exits=5).max() <= 1


def test_what_is_no_latency_is_refused():
    with pytest.raises(UsageError, match="one finite latency per record"):
        recover_exits(np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="at least one exit, got 0"):
        recover_exits(np.array([1.0, 2.0]), exits=0)
