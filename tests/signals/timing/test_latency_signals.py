"""Measuring latencies: order, warm-up, counting, and what the signals make of them."""

from __future__ import annotations

import numpy as np
import pytest

from timed_targets import STEP, Kernel, blobs, early

pytest.importorskip("sklearn")

from vestige.backends.latency import SimulatedLatency, Stopwatch
from vestige.errors import AccessError, ModelError, UsageError
from vestige.signals import create
from vestige.signals.base import Probe, Setting
from vestige.signals.timing import Timed, has_channel, latencies
from vestige.signals.timing.channel import timed
from vestige.signals.timing.latency import Exits, Latency
from vestige.target import Access, CountingTarget, Outputs

RECORDS = blobs()
ROWS = np.arange(300)


def kernel(size=150):
    return Kernel(RECORDS.x[:size], RECORDS.y[:size], 4)


def setting(seed=0, rows=ROWS):
    return Setting(records=RECORDS, rows=rows, spare=rows[:0], references=(), recipe=None, budget=None, seed=seed)


class Diary:
    """Takes as many seconds as it has answered records, and writes down which."""

    access = Access.LABEL

    def __init__(self):
        self.rows = []

    def query(self, x, want):
        return Outputs("labels", np.zeros(len(x), np.int64))

    def timed(self, x, want):
        first = len(self.rows)
        self.rows += [int(np.flatnonzero((RECORDS.x == one).all(1))[0]) for one in x]
        return self.query(x, want), np.arange(first, len(self.rows), dtype=np.float64)


def test_every_pass_has_an_order_of_its_own_and_a_warm_up_that_is_thrown_away():
    target = Diary()
    found = latencies(target, RECORDS, ROWS, queries=3, draw=np.random.default_rng(0), warm_up=20)
    passes = np.array(target.rows).reshape(3, 320)
    for turn in range(3):
        np.testing.assert_array_equal(np.sort(passes[turn, 20:]), ROWS)
        # The seconds are places in the diary, so they find the record again, behind the warm-up.
        np.testing.assert_array_equal(passes[turn, (found[:, turn] - 320 * turn).astype(int)], ROWS)
        assert found[:, turn].min() == 320 * turn + 20
    assert not np.array_equal(passes[0, 20:], passes[1, 20:])
    # Where a record stands in a pass says nothing about which one it is.
    assert abs(np.corrcoef(found.mean(1), ROWS)[0, 1]) < 4 / np.sqrt(300)


def test_queries_are_counted_and_the_channel_is_found_behind_the_counter():
    target = CountingTarget(CountingTarget(early(kernel())))
    assert has_channel(target)
    assert isinstance(target.inner.inner, Timed)
    latencies(target, RECORDS, ROWS, queries=2, draw=np.random.default_rng(0), warm_up=5)
    assert target.queries == target.inner.queries == 2 * 305
    assert not has_channel(CountingTarget(kernel()))


def test_exits_are_recovered_and_an_offset_changes_none():
    inner = kernel()
    truth = inner.exits(RECORDS.x[ROWS])
    assert len(np.unique(truth)) == 4
    found = Exits().probe(early(inner), setting())
    assert (found[:, 0] == truth).mean() > 0.99
    np.testing.assert_allclose(found[:, 1], 80 + 25 * truth, atol=5)
    for offset in (0.0, 1.0, 300.0):
        np.testing.assert_array_equal(Exits().probe(early(inner, offset=offset), setting())[:, 0], found[:, 0])
    seconds = Latency().probe(early(inner), setting())
    np.testing.assert_allclose(seconds[:, 0] * 1e6, found[:, 1], rtol=1e-9)


def test_more_passes_are_sharper_and_a_mean_more_than_a_median():
    inner = kernel()
    truth = inner.exits(RECORDS.x[ROWS])

    def spread(**params):
        found = Latency(**params).probe(early(inner, noise=STEP, seed=5), setting())[:, 0]
        return np.std(found - STEP * truth) / STEP

    # Standard errors of a mean and of a median of 25 normal draws: 1/5, and √(π/2)/5 but for a few per cent.
    assert spread(queries=1) == pytest.approx(1.0, rel=0.15)
    assert spread(queries=25, average="mean") == pytest.approx(0.2, rel=0.15)
    assert spread(queries=25) == pytest.approx(0.2 * np.sqrt(np.pi / 2), rel=0.15)


def test_the_minimum_forgets_interruptions():
    """Of R delays that are exponential the least is exponential too, R times shorter; the median keeps log 2 of one."""
    draw = np.random.default_rng(0)
    inner = kernel()
    target = SimulatedLatency(inner, lambda x: STEP * float(inner.exits(x)[0]) + draw.exponential(STEP))
    truth = inner.exits(RECORDS.x[ROWS])
    late = {
        a: Latency(queries=9, average=a).probe(target, setting())[:, 0] - STEP * truth for a in ("minimum", "median")
    }
    assert late["minimum"].mean() == pytest.approx(STEP / 9, rel=0.15)
    assert late["minimum"].std() == pytest.approx(STEP / 9, rel=0.2)
    assert late["median"].mean() == pytest.approx(STEP * sum(1 / k for k in range(5, 10)), rel=0.1)


def test_a_target_that_takes_always_as_long_has_one_exit():
    found = Exits().probe(early(kernel(), step=0.0), setting())
    np.testing.assert_array_equal(found[:, 0], 0)


def test_a_stopwatch_reads_its_clock_around_each_record_alone():
    ticks = iter(np.repeat(np.arange(100.0), 2).cumsum())
    sizes = []

    class Sized(Kernel):
        def query(self, x, want):
            sizes.append(len(x))
            return super().query(x, want)

    inner = Sized(RECORDS.x[:50], RECORDS.y[:50], 4)
    outputs, seconds = Stopwatch(inner, clock=lambda: next(ticks)).timed(RECORDS.x[:5], Access.SCORE)
    np.testing.assert_array_equal(seconds, np.arange(5.0))
    assert sizes == [1] * 5
    np.testing.assert_allclose(outputs.values, inner.query(RECORDS.x[:5], Access.SCORE).values, rtol=1e-12)
    np.testing.assert_array_equal(Stopwatch(inner).query(RECORDS.x[:5], Access.LABEL).values, outputs.values.argmax(1))


def test_without_a_channel_or_with_a_broken_one_it_says_so():
    with pytest.raises(AccessError, match="does not say how long"):
        Latency().probe(kernel(), setting())
    with pytest.raises(AccessError, match="shows only label"):
        timed(Diary(), RECORDS.x[:3], Access.SCORE)

    class Broken(Diary):
        def timed(self, x, want):
            return self.query(x, want), np.array([np.nan])

    with pytest.raises(ModelError, match="finite number of seconds for each of 3 records"):
        timed(Broken(), RECORDS.x[:3], Access.LABEL)
    with pytest.raises(ModelError, match="records to time"):
        Stopwatch(kernel()).timed(RECORDS.x[:0], Access.LABEL)
    with pytest.raises(UsageError, match="noise ≥ 0"):
        SimulatedLatency(kernel(), lambda x: 0.0, noise=-1.0)


def test_signals_are_registered_and_refuse_what_cannot_be_meant():
    signal = create("exits(exits=3,queries=5)")
    assert isinstance(signal, Probe)
    assert (signal.asks, signal.knows) == ("5", ("how long answers take",))
    assert create("latency").access == Access.LABEL
    for params in ({"queries": 0}, {"average": "mode"}, {"exits": 0}):
        with pytest.raises(UsageError, match="Expected"):
            Exits(**params)
    assert Exits().probe(early(kernel()), setting(rows=ROWS[:0])).shape == (0, 2)
