"""DP-SGD as the benchmarks train it: right where it should be right, and wrong exactly where it should be wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vestige.canary import audit
from vestige.records import Records

torch = pytest.importorskip("torch")
pytest.importorskip("dp_accounting")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import dp_bugs  # noqa: E402
from dp_training import (  # noqa: E402
    ByHand,
    Setting,
    Step,
    built,
    clipped_sum,
    record_gradients,
    sigma_for,
)

SETTING = Setting(epsilon=1.0, rate=0.05, steps=80, hidden=(8,), classes=3, learning_rate=0.1)


@pytest.fixture
def step():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 6, generator=random), torch.randint(3, (12,), generator=random)
    model = built(6, SETTING, 0)
    return Step(model, torch.optim.SGD(model.parameters(), 0.1), x, y, torch.arange(12), 12.0, random, None)


def distance(a, b):
    return float(torch.stack([(p - q).square().sum() for p, q in zip(a, b, strict=True)]).sum().sqrt())


def released(training, one):
    before = one.random.get_state()
    training.step(one)
    one.random.set_state(before)
    return [p.grad * one.divisor for p in one.model.parameters()]


def test_the_noise_is_what_the_accountant_asks_for():
    assert sigma_for(1.8282, 1e-5, 0.01, 1000) == pytest.approx(1.0, abs=2e-3)
    assert sigma_for(4.8621, 1e-5, 0.3, 200) == pytest.approx(4.0, abs=5e-3)


def test_single_gradients_are_those_of_one_record_at_a_time(step):
    held = record_gradients(step.model, step.x, step.y)
    for k in (0, 5, 11):
        loss = torch.nn.functional.cross_entropy(step.model(step.x[k : k + 1]), step.y[k : k + 1])
        for one, exact in zip(held, torch.autograd.grad(loss, list(step.model.parameters())), strict=True):
            torch.testing.assert_close(one[k], exact)


def test_no_record_moves_the_sum_by_more_than_the_norm(step):
    held = record_gradients(step.model, step.x, step.y)
    held[0][3] *= 1e6
    whole = clipped_sum(held, 0.5)
    for k in range(12):
        others = [torch.cat([one[:k], one[k + 1 :]]) for one in held]
        assert distance(whole, clipped_sum(others, 0.5)) <= 0.5 * (1 + 1e-5)


def test_noise_has_the_spread_that_was_asked_for_and_is_fresh(step):
    right, zeros = ByHand(setting=SETTING), [torch.zeros(200, 200)]
    first, second = right.noise(step, zeros), right.noise(step, zeros)
    assert float(first[0].std()) == pytest.approx(SETTING.sigma * SETTING.clip, rel=0.02)
    assert not torch.equal(first[0], second[0])


def test_batches_are_sampled_record_by_record():
    many = replace(SETTING, steps=2000)
    rows = list(ByHand(setting=many).batches(100, torch.Generator().manual_seed(0)))
    sizes = np.array([len(one) for one in rows])
    counts = np.bincount(torch.cat(rows).numpy(), minlength=100)
    assert sizes.mean() == pytest.approx(5.0, abs=0.2)
    assert sizes.var() == pytest.approx(100 * 0.05 * 0.95, rel=0.15)
    assert counts.mean() == pytest.approx(100, abs=3)
    assert counts.std() == pytest.approx(np.sqrt(2000 * 0.05 * 0.95), rel=0.25)


def test_each_bug_is_wrong_where_it_says(step):
    right = released(ByHand(setting=SETTING), step)

    silent = dp_bugs.SilentLayer(setting=SETTING).noise(step, right)
    assert [bool(one.any()) for one in silent] == [True, True, False, False]

    small = dp_bugs.NoiseDividedTwice(setting=SETTING).noise(step, [torch.zeros(300, 300)])
    assert float(small[0].std()) == pytest.approx(SETTING.sigma / 12, rel=0.02)
    views = dp_bugs.NoiseOverViews(setting=SETTING).noise(step, [torch.zeros(300, 300)])
    assert float(views[0].std()) == pytest.approx(SETTING.sigma / dp_bugs.VIEWS, rel=0.02)

    reused = dp_bugs.SeedReused(setting=SETTING)
    assert all(map(torch.equal, reused.noise(step, right), reused.noise(step, right)))

    fixed = list(dp_bugs.FixedBatches(setting=SETTING).batches(100, step.random))
    assert sorted(torch.cat(fixed[:20]).tolist()) == list(range(100))
    assert all(map(torch.equal, fixed[:20], fixed[20:40]))


def test_clipping_after_averaging_lets_one_record_take_the_whole_batch(step):
    quiet = replace(step, x=step.x.clone())
    quiet.x[3] *= 1e4
    wrong, right = (released(kind(setting=SETTING), quiet) for kind in (dp_bugs.ClipAfterAveraging, ByHand))
    noise = ByHand(setting=SETTING).noise(replace(step, random=torch.Generator()), right)
    assert len(noise) == len(right)
    sums = [clipped_sum(record_gradients(quiet.model, quiet.x, quiet.y), SETTING.clip)]
    assert distance(sums[0], [torch.zeros_like(one) for one in sums[0]]) <= 12 * SETTING.clip
    assert distance(wrong, right) > 2 * SETTING.clip


def test_a_step_in_parts_is_noisy_once(step):
    noisy = []

    class Counting(dp_bugs.NoiseOncePerBatch):
        def noise(self, one, like):
            noisy.append(len(one.rows))
            return super().noise(one, like)

    taken = []
    step.optimizer.register_step_pre_hook(lambda *_: taken.append(1))
    Counting(setting=SETTING).step(step)
    assert len(taken) == dp_bugs.PARTS
    assert len(noisy) == 1


def test_the_hidden_layer_of_the_normalised_model_mixes_records():
    training = dp_bugs.BatchNormLeftIn(setting=SETTING)
    model = training.model(6, 0)
    x, y = torch.randn(10, 6), torch.zeros(10, dtype=torch.int64)
    alone = record_gradients(model, x, y)[0][0]
    x[9] += 5
    assert not torch.allclose(record_gradients(model, x, y)[0][0], alone, atol=1e-3)


def test_every_bug_has_a_case_and_each_case_a_reading():
    every = dp_bugs.cases(0.01)
    assert len({one.training for one in every}) == len(every) == 8
    assert all(one.reading for one in every)


def test_a_bug_is_caught_and_its_absence_is_not(tmp_path):
    random = np.random.default_rng(0)
    records = Records.build(random.standard_normal((400, 30)).astype(np.float32), random.integers(0, 3, 400))
    shown = {}
    for kind in (dp_bugs.NoiseDividedTwice, ByHand):
        log = audit(kind(setting=SETTING), records, canaries="gradient", count=150, claim=SETTING.claim, store=tmp_path)
        shown[kind] = [one.passed for one in log.findings]
    assert not all(shown[dp_bugs.NoiseDividedTwice])
    assert all(shown[ByHand])
