"""What follows from the candidates: leakage with its multiplicity, cost, dominance, and what to use."""

import numpy as np
import pytest
from scipy import stats

from tradeoff.fake_points import candidate, log_of, result, usual
from vestige.log_parts import Figure
from vestige.simultaneous import largest, widened
from vestige.tradeoff.judge import judged
from vestige.tradeoff.parts import Utility
from vestige.tradeoff.results import TradeoffLog
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
    # 0.035 keeps the limit as a figure, the end of its interval does not.
    assert chosen(judged(usual(), leak_at_most=0.035)) == [("leak", "002-strong", False)]
    assert chosen(judged(usual(), leak_at_most=0.001)) == [("leak", "", False)]
    assert chosen(judged(usual(), lose_at_most=0)) == [("lose", "000-undefended", True)]
    assert [one.question for one in judged(usual()).advice] == ["leak", "lose"]


def without_figures(point):
    tpr = [point.results[0].tpr[0].model_copy(update={"value": None, "reason": "too few"})]
    return point.model_copy(update={"results": [point.results[0].model_copy(update={"tpr": tpr})]})


def test_a_candidate_without_figures_does_not_take_the_others_along():
    gone = without_figures(candidate("009-gone", "gone", 0.9, {"loss": 0.1}))
    log = judged(log_of(*usual().points[:3], gone), leak_at_most=0.05)
    assert log.fpr == 0.01
    assert [point.placed for point in log.points] == [True, True, True, False]
    assert log.points[-1].leakage.reason == "too few"
    assert chosen(log) == [("leak", "002-strong", True)]
    nobody = judged(log_of(*(without_figures(point) for point in usual().points[:3])))
    assert nobody.fpr is None
    assert not any(point.placed for point in nobody.points)
    assert all(one.choice == "" for one in nobody.advice)


@pytest.mark.parametrize(
    "changes",
    [
        {"doubts": ["blind-baseline"]},
        {"status": "partial"},
        {"results": [*candidate("x", "x", 0.9, {"loss": 0.01}).results, result("lira", 0, status="failed")]},
    ],
)
def test_whoever_was_not_attacked_by_all_or_doubts_itself_is_never_sure(changes):
    lucky = candidate("001-lucky", "lucky", 0.89, {"loss": 0.01}, half=0.001).model_copy(update=changes)
    honest = candidate("002-honest", "honest", 0.7, {"loss": 0.01})
    assert chosen(judged(log_of(usual().points[0], lucky), leak_at_most=0.05)) == [("leak", "001-lucky", False)]
    (one,) = judged(log_of(usual().points[0], lucky, honest), leak_at_most=0.05).advice
    assert (one.choice, one.sure, one.perhaps) == ("002-honest", True, "001-lucky")


def test_one_of_many_candidates_must_keep_the_limit_by_more():
    near = candidate("001-near", "near", 0.8, {"loss": 0.03})
    few = judged(log_of(usual().points[0], near), leak_at_most=0.045).advice[0]
    crowd = [candidate(f"{k:03d}-other", f"other {k}", 0.7, {"loss": 0.5}) for k in range(2, 60)]
    many = judged(log_of(usual().points[0], near, *crowd), leak_at_most=0.045).advice[0]
    assert (few.choice, few.sure) == ("001-near", True)
    assert (many.choice, many.sure) == ("001-near", False)


def test_a_small_leak_by_chance_alone_is_rarely_called_sure():
    # Forty candidates all leak 6 %; whoever looks best must not be sold as surely below 5.5 %.
    random, wrong = np.random.default_rng(1), 0
    for _ in range(60):
        counts = random.binomial(2000, 0.06, 40)
        ends = stats.beta.ppf(0.025, counts, 2001 - counts), stats.beta.ppf(0.975, counts + 1, 2000 - counts)
        points = [
            candidate(f"{k:03d}-c", f"c {k}", 0.9, {}, results=[measured_result(c / 2000, low, high)])
            for k, (c, low, high) in enumerate(zip(counts, *ends, strict=True))
        ]
        wrong += judged(log_of(*points), leak_at_most=0.055).advice[0].sure
    assert wrong <= 60 * 0.05 + 2 * np.sqrt(60 * 0.05 * 0.95)


def measured_result(value, low, high):
    one = result("loss", value)
    return one.model_copy(update={"tpr": [one.tpr[0].model_copy(update={"low": low, "high": high})]})


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
