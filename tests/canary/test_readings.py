"""How steps add up: each reading finds what it is for, weighs silence right, and says nothing of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vestige.canary.readings import FEW, LEAST, Ordered, Plain, Repeated, Sampled, Seen, mixed, odds
from vestige.errors import UsageError

COUNT, STEPS, RATE = 400, 200, 0.05


def auc(scores, included):
    inside, outside = scores[included], scores[~included]
    return float((inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2)


def read(reading, sigma, *, seed=0, presence=None, constant=0.0, groups=None):
    """Steps of a mechanism with noise ``sigma`` per step (one number, or one per group), and a shift of 1."""
    random = np.random.default_rng(seed)
    included = random.random(COUNT) < 0.5
    groups = np.zeros(COUNT, np.int64) if groups is None else groups
    fixed = constant * random.standard_normal(COUNT)
    for step in range(STEPS):
        there = random.random(COUNT) < RATE if presence is None else presence(step)
        noise = np.atleast_1d(sigma(step) if callable(sigma) else sigma)[groups % np.size(sigma)]
        values = there * included + fixed + noise * random.standard_normal(COUNT)
        reading.add(Seen(values=values, shift=np.ones(COUNT), groups=groups))
    return auc(reading.scores(), included)


def test_odds_are_the_likelihood_ratio_of_two_gaussians():
    random = np.random.default_rng(1)
    values = random.standard_normal(100_000) * 2
    seen = Seen(values=values, shift=np.full(len(values), 3.0), groups=np.zeros(len(values), np.int64))
    exact = stats.norm.logpdf(values, 3.0, 2.0) - stats.norm.logpdf(values, 0.0, 2.0)
    assert odds(seen) == pytest.approx(exact, rel=0.02, abs=0.05)


def test_mixed_odds_are_those_of_a_batch_that_holds_the_canary_sometimes():
    given = np.array([-50.0, -1.0, 0.0, 2.0, 800.0])
    exact = [np.log(0.9 + 0.1 * np.exp(one)) for one in given[:-1]] + [800 + np.log(0.1)]
    assert mixed(given, 0.1) == pytest.approx(exact)
    assert mixed(given, 1.0) is given


def test_noise_is_judged_group_by_group():
    groups = np.repeat([0, 1], 100)
    values = np.random.default_rng(0).standard_normal(200) * np.where(groups == 0, 1.0, 10.0)
    found = odds(Seen(values=values, shift=np.ones(200), groups=groups))
    assert np.abs(found[groups == 0]).mean() > 5 * np.abs(found[groups == 1]).mean()
    few = np.where(np.arange(200) < FEW - 1, 2, groups)
    apart = odds(Seen(values=values, shift=np.ones(200), groups=few))
    together = odds(Seen(values=values, shift=np.ones(200), groups=np.zeros(200, np.int64)))
    assert apart[: FEW - 1] == pytest.approx(together[: FEW - 1])


def test_no_noise_at_all_counts_as_a_little():
    seen = Seen(values=np.array([0.0] * 30 + [1.0]), shift=np.ones(31), groups=np.zeros(31, np.int64))
    assert odds(seen)[-1] == pytest.approx(0.5 / LEAST**2)
    assert np.isfinite(odds(Seen.of(np.zeros(31)))).all()


def test_steps_without_noise_weigh_the_most():
    noisy_but_every_fourth = lambda step: 0.01 if step % 4 == 0 else 20.0  # noqa: E731
    assert read(Sampled(rate=RATE), noisy_but_every_fourth) > 0.9
    assert read(Plain(), noisy_but_every_fourth) < 0.65


def test_a_group_without_noise_is_told_apart():
    groups = np.arange(COUNT) % 2
    assert read(Sampled(rate=RATE), np.array([0.01, 50.0]), groups=groups) > 0.7


def test_batches_in_the_records_order_are_looked_for_where_they_are():
    steps_a_pass = 20
    place = np.arange(COUNT) / COUNT + 0.5 / COUNT
    batch = np.arange(COUNT) // (COUNT // steps_a_pass)
    there = lambda step: batch == step % steps_a_pass  # noqa: E731
    exact = read(Ordered(steps=steps_a_pass, place=place), 2.0, presence=there)
    loose = read(Ordered(steps=steps_a_pass, place=place + 0.6 / steps_a_pass, slack=1), 2.0, presence=there)
    assert exact > loose > read(Sampled(rate=1 / steps_a_pass), 2.0, presence=there) > 0.5
    assert exact == pytest.approx(stats.norm.cdf(np.sqrt(STEPS / steps_a_pass) / 2.0 / np.sqrt(2)), abs=0.04)


def test_the_same_noise_in_every_step_goes_away():
    assert read(Repeated(rate=RATE), 0.01, constant=30.0) > 0.95
    assert read(Plain(), 0.01, constant=30.0) < 0.65


@pytest.mark.parametrize(
    "reading", [Plain, lambda: Sampled(rate=RATE), lambda: Repeated(rate=RATE)], ids=["plain", "sampled", "repeated"]
)
def test_enough_noise_hides_everything(reading):
    found = [read(reading(), 100.0, seed=seed) for seed in range(8)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_readings_that_cannot_be():
    with pytest.raises(UsageError, match="at least 1 step"):
        Ordered(steps=0, place=np.zeros(3))
    with pytest.raises(UsageError, match="No step"):
        Sampled(rate=0.1).scores()
