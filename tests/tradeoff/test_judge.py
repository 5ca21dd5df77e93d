"""What follows from the candidates: leakage with its multiplicity, cost, dominance, and what to use."""

import numpy as np
import pytest
from scipy import stats

from tradeoff.fake_points import candidate, log_of, usual
from vestige.log_parts import Figure
from vestige.simultaneous import largest, widened
from vestige.tradeoff.judge import judged
from vestige.tradeoff.results import TradeoffLog, Utility
from vestige.tradeoff.utility import lost, measured


def test_leakage_is_the_strongest_attack_with_an_interval_for_all_of_them():
    log = judged(usual())
    point = log.point("000-undefended")
    assert (log.fpr, log.floor) == (0.01, 10 / 2000)
    assert (point.attack, point.leakage.value) == ("lira", 0.4)
    assert point.leakage.low < 0.39
    assert point.leakage.high > 0.41
    assert point.exposed.value == 0.9


def test_the_largest_of_several_noisy_shares_lies_in_its_interval():
    # Ten attacks of equal strength: the largest estimate alone would often exclude the truth.
    random, truth, n, inside, alone = np.random.default_rng(0), 0.1, 400, 0, 0
    for _ in range(400):
        counts = random.binomial(n, truth, 10)
        low = stats.beta.ppf(0.025, counts, n - counts + 1)
        high = stats.beta.ppf(0.975, counts + 1, n - counts)
        figures = [
            (str(k), Figure(value=c / n, low=a, high=b))
            for k, (c, a, b) in enumerate(zip(counts, low, high, strict=True))
        ]
        found = largest(figures)[1]
        inside += found.low <= truth <= found.high
        best = int(counts.argmax())
        alone += low[best] <= truth <= high[best]
    assert inside >= 0.95 * 400 - 2 * np.sqrt(400 * 0.05 * 0.95)
    assert alone < 0.92 * 400


@pytest.mark.parametrize("tries", [2, 10])
def test_a_count_of_none_is_widened_to_its_exact_interval(tries):
    n = 500
    high = 1 - 0.025 ** (1 / n)
    wide = widened(Figure(value=0.0, low=0.0, high=high), tries)
    assert wide.high == pytest.approx(1 - (0.025 / tries) ** (1 / n))
    assert widened(Figure(value=1.0, low=1 - high, high=1.0), tries).low == pytest.approx((0.025 / tries) ** (1 / n))


def test_cost_loss_and_dominance_are_against_no_defence():
    log = judged(usual())
    weak, silly = log.point("001-weak"), log.point("003-silly")
    assert weak.cost == 2.0
    assert weak.accuracy_lost.value == pytest.approx(0.005)
    # The same records throughout, so that the difference is known better than either accuracy.
    assert weak.accuracy_lost.high - weak.accuracy_lost.low < 0.01
    assert silly.dominated_by == ["000-undefended", "001-weak", "002-strong"]
    assert [p.id for p in log.points if p.on_front] == ["000-undefended", "001-weak", "002-strong"]
    assert weak.dominated_by == []
    volumes = {one.method: one.value for one in log.hypervolume}
    assert "odd" not in volumes
    assert volumes["silly"] == pytest.approx(volumes["undefended"])
    assert volumes["all together"] == max(volumes.values()) > volumes["strong"]


def chosen(log):
    return [(one.question, one.choice, one.sure) for one in log.advice]


def test_what_to_use():
    assert chosen(judged(usual(), leak_at_most=0.05)) == [("leak", "002-strong", True)]
    assert chosen(judged(usual(), leak_at_most=0.3, lose_at_most=1)) == [
        ("leak", "001-weak", True),
        ("lose", "001-weak", True),
    ]
    # 0.03 itself keeps the limit, the end of its interval does not.
    assert chosen(judged(usual(), leak_at_most=0.035)) == [("leak", "002-strong", False)]
    assert chosen(judged(usual(), leak_at_most=0.001)) == [("leak", "", False)]
    assert chosen(judged(usual(), lose_at_most=0)) == [("lose", "000-undefended", True)]
    assert [one.question for one in judged(usual()).advice] == ["leak", "lose"]


def test_a_rate_that_some_candidate_cannot_resolve_is_not_compared():
    gone = candidate("000-undefended", "undefended", 0.9, {"loss": 0.1})
    withheld = gone.results[0].model_copy(update={"tpr": [gone.results[0].tpr[0].model_copy(update={"value": None})]})
    log = judged(log_of(gone.model_copy(update={"results": [withheld]}), *usual().points[1:3]))
    assert log.fpr is None
    assert not any(point.placed for point in log.points)
    assert all(one.choice == "" for one in log.advice)


def test_a_log_survives_its_file(tmp_path):
    log = judged(usual())
    log.save(tmp_path)
    assert TradeoffLog.load(tmp_path) == log
    assert judged(TradeoffLog.load(tmp_path)) == log


def utility(rates, records=2000, models=9, seed=0, spread=0.02):
    """Answers of models, each right at a rate of its own, with what is outside each training."""
    random = np.random.default_rng(seed)
    hard = random.random(records)
    right = hard < np.asarray(rates)[:, None] + spread * random.normal(size=(models, 1))
    outside = random.random((models, records)) < 0.5
    return measured(right, outside, random.integers(0, 4, records), random.permutation(records) % 40)


def test_accuracy_counts_only_what_a_model_was_not_trained_on():
    right = np.array([[True, False, True, True], [False, False, True, False]])
    outside = np.array([[True, True, False, False], [False, True, True, True]])
    found = measured(np.tile(right, 40), np.tile(outside, 40), np.tile([0, 0, 1, 1], 40), np.repeat(np.arange(40), 4))
    assert found.accuracy.value == pytest.approx((1 / 2 + 1 / 3) / 2)
    # Class 0: 1/2 and 0; class 1 is outside the second model alone: 1/2.
    assert found.balanced.value == pytest.approx((1 / 2 + (0 + 1 / 2) / 2) / 2)
    assert found.worst_class == pytest.approx(1 / 4)


def test_accuracys_interval_covers_the_truth_and_differences_are_tighter():
    covered = 0
    for seed in range(200):
        one = utility([0.8] * 9, seed=seed)
        covered += one.accuracy.low <= 0.8 <= one.accuracy.high
    assert covered >= 0.95 * 200 - 2 * np.sqrt(200 * 0.05 * 0.95)
    before, after = (utility([rate] * 9, seed=3, spread=0.001) for rate in (0.8, 0.75))
    difference = lost(before, after)
    assert difference.low <= 0.05 <= difference.high
    assert difference.high - difference.low < before.accuracy.high - before.accuracy.low
    assert lost(before, Utility()).value is None
