import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_calibrated as slow
from reference.slow_toys import auc, balanced_masks, evidence
from vestige.attacks.likelihoods import half_and_half, mean_likelihoods
from vestige.attacks.rmia import RMIA, RMIAOffline, beaten, votes
from vestige.attacks.rmia_offset import GRID, log_marginal, tuned_offset
from vestige.errors import AccessError, AuditError, UsageError
from vestige.seeds import rng

ONLINE, OFFLINE = RMIA(), RMIAOffline(offline_a=0.3)


def log_probabilities(draw, *shape):
    return np.log(draw.uniform(0.01, 1, shape)).astype(np.float32)


def world(attack, models=8, records=200, population=90, queries=1, seed=0):
    """Random log-probabilities, with a population that no model trained on."""
    draw = rng(seed, "rmia")
    held_out = evidence(
        attack,
        log_probabilities(draw, population, queries),
        log_probabilities(draw, models, population, queries),
        np.zeros((models, population)),
    )
    return evidence(
        attack,
        log_probabilities(draw, records, queries),
        log_probabilities(draw, models, records, queries),
        balanced_masks(models, records, draw),
        population=held_out,
    )


def plain(given, key):
    return given.target(key)[:, 0], given.shadows.block(key, 0, len(given))[:, :, 0], given.masks


@pytest.mark.parametrize("attack", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_the_ratio_is_that_of_a_loop_over_records_in_plain_probabilities(attack):
    given = world(attack)
    offline_a = 0.3 if attack is OFFLINE else None
    expected = slow.rmia_ratio(*plain(given, attack.key), offline_a=offline_a)
    assert np.allclose(np.exp(attack.score(given)), expected, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("a", [0.3, 1.0])
def test_the_rank_is_the_share_of_pairs_won_and_rises_with_the_ratio(gamma, a):
    attack = RMIAOffline(offline_a=a, gamma=gamma)
    given = world(attack)
    ratios = slow.rmia_ratio(*plain(given, attack.key), offline_a=a)
    population = slow.rmia_ratio(*plain(given.population, attack.key), offline_a=a)
    rank = attack.rank(given)
    assert np.abs(rank - slow.rmia_share(ratios, population, gamma)).max() == 0
    assert (np.diff(rank[np.argsort(attack.score(given))]) >= 0).all()
    truth = np.arange(len(rank)) % 2 == 0
    assert len(np.unique(rank)) <= 91 < len(np.unique(attack.score(given)))
    assert auc(attack.score(given), truth) == pytest.approx(auc(rank, truth), abs=0.02)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_counting_by_sorting_equals_counting_pairs(seed, gamma):
    draw = rng(seed, "pairs")
    ratios, population = draw.integers(-5, 5, 30) / 4, draw.integers(-5, 5, 17) / 4
    pairs = (ratios[:, None] - np.log(gamma) >= population[None, :]).mean(axis=1)
    assert np.array_equal(beaten(ratios, population, gamma), pairs)


def test_references_equal_to_the_target_say_nothing():
    draw = rng(1, "same")
    own, held_out = log_probabilities(draw, 60), log_probabilities(draw, 40)
    for gamma, expected in ((1.0, 1.0), (1.01, 0.0)):
        attack = RMIA(gamma=gamma, offline_a=1.0)
        population = evidence(attack, held_out, np.tile(held_out, (6, 1)), np.zeros((6, 40)))
        same = evidence(attack, own, np.tile(own, (6, 1)), balanced_masks(6, 60, draw), population=population)
        assert not attack.score(same).any()
        assert (attack.rank(same) == expected).all()


def test_a_of_one_leaves_the_out_mean_and_a_of_zero_supposes_certainty():
    out = np.log(np.array([[0.2], [0.7]]))
    nothing = np.full_like(out, np.nan)
    assert np.array_equal(log_marginal(out, nothing, 1.0), out)
    assert np.allclose(np.exp(log_marginal(out, nothing, 0.0)), (np.exp(out) + 1) / 2)
    assert np.allclose(np.exp(log_marginal(out, nothing, 0.3)), 0.5 * (1.3 * np.exp(out) + 0.7))


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_an_out_reference_of_a_record_that_has_none_is_guessed_by_the_same_line(a):
    out = np.log(np.array([[0.3]]))
    inside = np.log(a * np.exp(out) + 1 - a)
    nothing = np.full_like(out, np.nan)
    guessed = log_marginal(nothing, inside, a)
    assert np.isfinite(guessed).all()
    if a:
        assert guessed == pytest.approx(log_marginal(out, inside, a))


def test_a_constant_factor_on_the_target_cancels_in_the_rank():
    given = world(ONLINE)
    rank = ONLINE.rank(given)
    for one in (given, given.population):
        one.own.columns[ONLINE.key][0] = one.own.columns[ONLINE.key][0] + np.float32(-2.0)
    assert np.array_equal(ONLINE.rank(given), rank)
    assert ONLINE.score(given) == pytest.approx(ONLINE.score(world(ONLINE)) - 2, abs=1e-5)


def test_ranks_of_records_nobody_trained_on_are_uniform():
    draw = rng(2, "uniform")
    population = evidence(OFFLINE, log_probabilities(draw, 4000), log_probabilities(draw, 4, 4000), np.zeros((4, 4000)))
    fresh = evidence(
        OFFLINE,
        log_probabilities(draw, 4000),
        log_probabilities(draw, 4, 4000),
        np.zeros((4, 4000)),
        population=population,
    )
    rank = OFFLINE.rank(fresh)
    for beta in (0.5, 0.9, 0.99):
        alpha = 1 - beta
        assert (rank >= beta).mean() == pytest.approx(alpha, abs=4 * np.sqrt(2 * alpha * beta / 4000))


@pytest.mark.parametrize("queries", [1, 2, 5])
def test_votes_equal_a_loop_over_pairs(queries):
    attack = RMIA(aggregate="vote", gamma=1.5, offline_a=0.3)
    given = world(attack, records=40, population=25, queries=queries)
    assert attack.needs.population
    draw = rng(3, "votes")
    ratios, population = draw.normal(size=(30, queries)), draw.normal(size=(21, queries))
    expected = slow.rmia_votes(np.exp(ratios), np.exp(population), 1.5)
    assert np.array_equal(votes(ratios, population, 1.5), expected)
    score, rank = attack.score(given), attack.rank(given)
    assert (np.floor(score * 26 / 25 * 25 * 1e-9) == 0).all()
    assert ((score > rank) & (score < rank + 1 / 25)).all()
    if queries == 1:
        mean = RMIA(gamma=1.5, offline_a=0.3)
        assert np.array_equal(rank, mean.rank(world(mean, records=40, population=25)))


def test_an_even_vote_is_lost():
    assert votes(np.array([[1.0, -1.0]]), np.zeros((1, 2)), 1.0)[0] == 0
    assert votes(np.array([[1.0, 1.0]]), np.zeros((1, 2)), 1.0)[0] == 1


def test_nothing_underflows():
    own, references = np.array([-5000.0, -1.0]), np.array([[-6000.0, -800.0], [-7000.0, -900.0]] * 2)
    masks = np.array([[True, True], [False, False]] * 2)
    score = ONLINE.score(evidence(ONLINE, own, references, masks))
    assert score == pytest.approx([1000 + np.log(2), 799 + np.log(2)])


def test_trimming_drops_the_ends_of_each_side():
    values = np.log(np.array([0.01, 0.2, 0.3, 0.4, 0.99, 0.1, 0.11, 0.2, 0.9, 0.95]))[:, None]
    masks = np.arange(10)[:, None] < 5
    given = evidence(ONLINE, values[0], values, masks)
    out, inside = mean_likelihoods(given, ONLINE.key, trim=0.4)
    assert np.exp(inside[0, 0]) == pytest.approx(0.3)
    assert np.exp(out[0, 0]) == pytest.approx((0.11 + 0.2 + 0.9) / 3)
    one = evidence(ONLINE, values[0], values[[0, 9]], masks[[0, 9]])
    out, inside = mean_likelihoods(one, ONLINE.key, trim=0.9)
    assert np.exp(inside[0, 0]) == pytest.approx(0.01)


def test_equal_halves_are_exact():
    logs = rng(4, "halves").normal(-30, 20, 1000)
    assert np.array_equal(half_and_half(logs, logs), logs)
    assert np.allclose(half_and_half(logs, logs[::-1]), np.logaddexp(logs, logs[::-1]) - np.log(2))


@pytest.mark.parametrize("attack", [RMIA(), RMIA(trim=0.3), RMIAOffline(), OFFLINE], ids=repr)
def test_lopsided_references_give_finite_scores(attack):
    draw = rng(5, "lopsided")
    masks = draw.random((6, 50)) < 0.5
    masks[:, 0], masks[:, 1] = True, False
    references, own = log_probabilities(draw, 6, 50), log_probabilities(draw, 50)
    references[:, 2], own[3], references[:, 4] = 0.0, -2000.0, -2000.0
    assert np.isfinite(attack.score(evidence(attack, own, references, masks))).all()
    for side in (0, 1):
        assert np.isfinite(attack.score(evidence(attack, own, references, np.full((6, 50), side)))).all()
    assert np.isfinite(attack.score(evidence(attack, own[:1], references[:, :1], masks[:, :1]))).all()


def simulated(offset, models=10, records=1500, seed=7):
    """A world in which members' likelihood really is ``offset``·p_out + 1 − ``offset``, up to noise."""
    draw = rng(seed, "offset")
    base = draw.beta(1, 1.5, records) * 0.95 + 0.02
    masks = balanced_masks(models, records, draw)
    member = offset * base + 1 - offset
    mean = np.where(masks, member, base)
    noisy = np.log(np.clip(mean + 0.06 * draw.normal(size=masks.shape), 0.005, 0.999))
    truth = np.arange(records) % 2 == 0
    own = np.log(np.clip(np.where(truth, member, base) + 0.06 * draw.normal(size=records), 0.005, 0.999))
    return own, noisy, masks, truth


@pytest.mark.parametrize("offset", [0.5, 0.9])
def test_tuning_finds_an_offset_as_good_as_the_best_without_looking_at_the_target(offset):
    own, references, masks, truth = simulated(offset)
    auto = RMIAOffline(offline_a="auto")
    given = evidence(auto, own, references, masks)
    tuned = tuned_offset(given, auto.key)
    area = {}
    for a in (*GRID, "auto"):
        attack = RMIAOffline(offline_a=a)
        area[a] = auc(attack.score(evidence(attack, own, references, masks)), truth)
    assert area["auto"] == area[tuned]
    assert area["auto"] >= max(area.values()) - 0.01
    assert tuned_offset(evidence(auto, own[::-1], references, masks), auto.key) == tuned
    assert auto.needs.side == "both"
    assert OFFLINE.needs.side == "out"
    with pytest.raises(AccessError, match="IN values"):
        tuned_offset(evidence(OFFLINE, own, references, masks), auto.key)


def test_online_beats_offline_which_beats_the_likelihood_alone():
    own, references, masks, truth = simulated(0.8)
    powers = [auc(a.score(evidence(a, own, references, masks)), truth) for a in (RMIA(), RMIAOffline(offline_a=0.8))]
    assert powers[0] > powers[1] - 0.005
    assert powers[1] > auc(own, truth) + 0.02


def test_the_signal_is_the_log_probability_at_the_temperature():
    assert RMIA(temperature=2).needs.signals == ("log_probability(temperature=2.0)",)
    assert RMIA(temperature=1).needs.signals == ("log_probability",)


def test_impossible_options_are_refused():
    for bad in ({"temperature": 0}, {"gamma": -1}, {"offline_a": 1.5}, {"offline_a": "best"}, {"trim": 1.0}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            RMIA(**bad)
    with pytest.raises(UsageError, match="aggregate"):
        RMIA(aggregate="max")
    lonely = evidence(ONLINE, np.zeros(3), np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(AuditError, match="population"):
        ONLINE.rank(lonely)
