"""Caches in front of a model: what they remember, and what quick answers say about who asked lately."""

from __future__ import annotations

import numpy as np
import pytest

from timed_targets import Kernel, blobs
from vestige.backends.caching import CachedTarget
from vestige.backends.latency import SimulatedLatency
from vestige.errors import AccessError, UsageError
from vestige.signals.timing import probe_cache
from vestige.target import Access
from vestige.testing import check_target
from vestige.testing.conformance import auc, auc_error

RECORDS = blobs(600)
HIT, MISS = 20e-6, 100e-6


def kernel():
    return Kernel(RECORDS.x[:200], RECORDS.y[:200], 4)


def cached(size=1024, *, hit=HIT, miss=MISS, noise=5e-6, offset=0.0, seed=0):
    cache = CachedTarget(kernel(), size=size)
    cost = lambda x: hit if cache.holds(x, Access.LABEL) else miss  # noqa: E731
    return SimulatedLatency(cache, cost, noise=noise, offset=offset, seed=seed)


def test_it_answers_as_the_model_and_asks_it_once_about_each_record():
    inner = kernel()
    cache = CachedTarget(inner)
    plain = kernel().query(RECORDS.x[:50], Access.SCORE).values
    np.testing.assert_array_equal(cache.query(RECORDS.x[:50], Access.SCORE).values, plain)
    again = cache.query(RECORDS.x[:60][::-1], Access.SCORE).values
    np.testing.assert_array_equal(again[::-1][:50], plain)
    assert (inner.asked, cache.hits, cache.misses) == (60, 50, 60)
    twice = cache.query(np.repeat(RECORDS.x[100:101], 3, axis=0), Access.SCORE)
    assert (len(twice), inner.asked, cache.misses) == (3, 61, 61)
    assert cache.query(RECORDS.x[:5], Access.LABEL).kind == "labels"  # another answer than the scores kept
    assert inner.asked == 66
    assert len(cache.query(RECORDS.x[:0], Access.SCORE)) == 0
    check_target(CachedTarget(kernel()), RECORDS)


def test_the_least_recent_goes_first():
    cache = CachedTarget(kernel(), size=3)
    for row in (0, 1, 2, 0, 3):
        cache.query(RECORDS.x[row : row + 1], Access.SCORE)
    assert [cache.holds(RECORDS.x[row : row + 1]) for row in range(5)] == [True, False, True, True, False]
    with pytest.raises(UsageError, match="room for at least one"):
        CachedTarget(kernel(), size=0)


def test_a_cache_shows_answers_alone_and_times_them():
    class Open(Kernel):
        access = Access.WHITE_BOX

    cache = CachedTarget(Open(RECORDS.x[:9], RECORDS.y[:9], 4))
    with pytest.raises(AccessError):
        cache.query(RECORDS.x[:2], Access.WHITE_BOX)
    outputs, seconds = cache.timed(RECORDS.x[:4], Access.SCORE)
    assert (len(outputs), seconds.shape, cache.misses) == (4, (4,), 4)
    assert (seconds > 0).all()


def test_recent_queries_are_found_and_membership_is_not():
    draw = np.random.default_rng(0)
    target = cached()
    x, controls, others = RECORDS.x[:400], RECORDS.x[400:500], RECORDS.x[500:]
    members = np.arange(400) < 200
    asked = draw.random(400) < 0.3
    target.query(x[asked], Access.LABEL)
    reading = probe_cache(target, x, controls)
    assert reading.cached
    np.testing.assert_array_equal(reading.asked_lately, asked)
    assert HIT < reading.threshold < MISS
    assert reading.separation == 1.0
    assert reading.false_alarms == 0.0
    # Whom others asked about has nothing to do with whom the model was trained on.
    assert abs(auc(-reading.seconds, members) - 0.5) < 3 * auc_error(members)
    # Asking has put all of them there, so a second probe finds everything, and used controls are no controls.
    assert probe_cache(target, x, others).asked_lately.all()
    assert not probe_cache(target, x, controls).cached


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_errors_are_those_of_two_normals(offset):
    """Hits and misses a deviation and a half either side of the threshold: Q(1.5) of both are mistaken."""
    noise = (MISS - HIT) / 3
    rates = []
    for seed in range(4):
        target = cached(noise=noise, offset=offset, seed=seed)
        asked = np.arange(300) % 2 == 0
        target.query(RECORDS.x[:300][asked], Access.LABEL)
        reading = probe_cache(target, RECORDS.x[:300], RECORDS.x[300:], seed=seed)
        rates.append([(reading.asked_lately != asked).mean(), reading.false_alarms])
    assert np.mean(rates, axis=0) == pytest.approx([0.0668, 0.0668], abs=0.03)


def test_without_a_cache_nobody_is_said_to_have_asked():
    plain = SimulatedLatency(kernel(), lambda x: MISS, noise=5e-6)
    plain.query(RECORDS.x[:300], Access.LABEL)
    reading = probe_cache(plain, RECORDS.x[:400], RECORDS.x[400:])
    assert not reading.cached
    assert reading.separation == pytest.approx(0.5, abs=0.15)
    assert not reading.asked_lately.any()


def test_a_cache_that_forgot_shows_itself_and_no_query():
    target = cached(size=8)
    target.query(RECORDS.x[:300], Access.LABEL)
    reading = probe_cache(target, RECORDS.x[:200], RECORDS.x[400:])
    assert reading.cached
    assert not reading.asked_lately.any()


def test_what_it_needs():
    with pytest.raises(UsageError, match="at least 40 control records, got 39"):
        probe_cache(cached(), RECORDS.x[:5], RECORDS.x[5:44])
    with pytest.raises(AccessError, match="does not say how long"):
        probe_cache(CachedTargetWithoutClock(), RECORDS.x[:5], RECORDS.x[5:50])


class CachedTargetWithoutClock:
    access = Access.LABEL

    def query(self, x, want):
        raise AssertionError("not asked")
