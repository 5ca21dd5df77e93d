"""MemGuard: what it guarantees, and that the fast search finds what the published procedure finds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import softmax

from reference.slow_memguard import module_of, slow_phase_one
from vestige.defend.answers.membership_net import MembershipNet
from vestige.defend.answers.memguard import NoiseAtClassifier, NoisedAnswers
from vestige.defend.base import Serving
from vestige.defend.tickets import Tickets, spread
from vestige.errors import ConfigError, DataError
from vestige.records import Records
from vestige.target import Access, Outputs

CLASSES, ROWS = 12, 300


class Answering:
    """A model that is surer of its first rows."""

    access = Access.SCORE

    def query(self, x: np.ndarray, want: Access) -> Outputs:
        return Outputs("logits", x)


def logits(seed: int = 0) -> np.ndarray:
    """(2 ROWS, CLASSES) logits, of members first."""
    r = np.random.default_rng(seed)
    values = r.standard_normal((2 * ROWS, CLASSES))
    first = values.argmax(1)
    values[np.arange(2 * ROWS), first] += np.where(np.arange(2 * ROWS) < ROWS, 4.0, 0.5) + r.standard_normal(2 * ROWS)
    return values.astype(np.float32)


def serving(x: np.ndarray) -> Serving:
    rows = np.arange(len(x), dtype=np.int64)
    records = Records(x, np.zeros(len(x), np.int64), rows)
    return Serving(target=Answering(), records=records, rows=rows[:ROWS], reserve=rows[ROWS:], seed=0)


@pytest.fixture(scope="module")
def guard() -> NoisedAnswers:
    return NoiseAtClassifier(epochs=30, lr=0.05).prepare(serving(logits()))


@pytest.fixture(scope="module")
def asked() -> Outputs:
    return Outputs("logits", logits(1))


@pytest.fixture(scope="module")
def scores(asked: Outputs) -> np.ndarray:
    return softmax(asked.values.astype(float), axis=1)


@pytest.fixture(scope="module")
def noised(guard: NoisedAnswers, asked: Outputs, scores: np.ndarray) -> np.ndarray:
    return guard.noised(asked, scores)


def found_before(net: MembershipNet, budget: float, noised: np.ndarray) -> NoisedAnswers:
    """Return the defence with phase I's findings at hand, for tests of phase II."""
    own = NoisedAnswers(net, budget, 0.01)
    own.noised = lambda outputs, scores: noised  # type: ignore[method-assign]
    return own


def sides(guard: NoisedAnswers, values: np.ndarray) -> np.ndarray:
    return guard.net.logit(-np.sort(-values, axis=1)) > 0


def test_the_classifier_tells_members_apart_and_the_noise_turns_it(
    guard: NoisedAnswers, scores: np.ndarray, noised: np.ndarray
) -> None:
    truth = np.arange(len(scores)) < ROWS
    assert (sides(guard, scores) == truth).mean() > 0.75
    moved = np.abs(noised - scores).sum(1) > 0
    assert moved.mean() > 0.8
    assert (sides(guard, noised) != sides(guard, scores))[moved].mean() >= 0.95


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5, 2.0])
def test_no_class_changes_and_the_distortion_stays_within_the_budget(
    guard: NoisedAnswers, asked: Outputs, scores: np.ndarray, noised: np.ndarray, budget: float
) -> None:
    found = found_before(guard.net, budget, noised).apply(asked, Tickets(asked.values, b"key")).values
    assert (found.argmax(1) == scores.argmax(1)).all()
    assert (found.astype(np.float32).argmax(1) == scores.argmax(1)).all()
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found >= 0).all()
    distance = np.abs(found - scores).sum(1)
    assert distance.mean() <= budget + 3 * distance.std() / np.sqrt(len(distance))
    assert distance.max() > 0


def test_each_query_is_noised_as_often_as_its_distance_allows(
    guard: NoisedAnswers, asked: Outputs, scores: np.ndarray, noised: np.ndarray
) -> None:
    distance = np.abs(noised - scores).sum(1)
    far = np.argsort(distance)[-40:]
    own = found_before(guard.net, 0.1, noised[far])
    few = Outputs("logits", asked.values[far])
    keys = [b"%d" % k for k in range(20)]
    given = np.array([np.abs(own.apply(few, Tickets(few.values, key)).values - scores[far]).sum(1) > 0 for key in keys])
    wanted = np.minimum(1, 0.1 / distance[far])
    assert abs(given.mean() - wanted.mean()) < 4 * np.sqrt((wanted * (1 - wanted)).sum() / 20) / len(far)


def test_no_budget_changes_nothing(guard: NoisedAnswers, asked: Outputs, scores: np.ndarray) -> None:
    found = NoisedAnswers(guard.net, 0.0, 0.01).apply(asked, Tickets(asked.values, b"key")).values
    np.testing.assert_allclose(found, scores, atol=1e-12)


def test_a_query_moved_a_little_gets_no_second_throw(guard: NoisedAnswers, asked: Outputs) -> None:
    assert guard.grain == pytest.approx(0.5 * spread(logits()[ROWS:]))
    x = np.random.default_rng(0).random((40, 500))
    own = NoisedAnswers(guard.net, 0.02, 0.2)
    few = Outputs("logits", np.repeat(asked.values[:1], 40, axis=0))
    jitter = 1e-5 * np.random.default_rng(1).standard_normal(x.shape)
    before, after = (own.apply(few, Tickets(moved, b"key")).values for moved in (x, x + jitter))
    assert len(np.unique(before.max(1))) == 2
    assert np.array_equal(before, after)


def test_answers_do_not_depend_on_who_else_asks_nor_on_the_order_of_the_classes(
    guard: NoisedAnswers, asked: Outputs
) -> None:
    some = np.random.default_rng(3).permutation(40)
    own = NoisedAnswers(guard.net, 0.3, 0.01)
    part = Outputs("logits", asked.values[ROWS - 60 : ROWS + 60])
    whole = own.apply(part, Tickets(part.values, b"key")).values
    alone = own.apply(Outputs("logits", part.values[some]), Tickets(part.values[some], b"key")).values
    np.testing.assert_allclose(alone, whole[some], atol=1e-4)
    classes = np.random.default_rng(4).permutation(CLASSES)
    turned = own.apply(Outputs("logits", part.values[:, classes]), Tickets(part.values, b"key")).values
    assert np.mean(np.abs(turned - whole[:, classes]).max(1) > 1e-3) < 0.02


def test_the_batched_search_finds_what_the_published_one_finds(
    guard: NoisedAnswers, asked: Outputs, scores: np.ndarray, noised: np.ndarray
) -> None:
    some = np.r_[:10, ROWS : ROWS + 10]
    module = module_of(guard.net)
    slow = np.array([slow_phase_one(asked.values[row], module) for row in some])
    # The same steps in another order of additions: a round may end a step apart, and seldom does.
    apart = np.abs(slow - noised[some]).sum(1)
    assert np.median(apart) < 1e-4
    assert (apart < 0.02).mean() > 0.8
    distances = [np.abs(found - scores[some]).sum(1).mean() for found in (slow, noised[some])]
    assert distances[0] == pytest.approx(distances[1], rel=0.05)


def test_scores_without_a_slope_and_ties_are_left_alone(guard: NoisedAnswers) -> None:
    flat = Outputs("probabilities", np.vstack([np.full(CLASSES, 1 / CLASSES), np.eye(CLASSES)[3], np.eye(CLASSES)[0]]))
    found = guard.apply(flat, Tickets(np.arange(3.0)[:, None], b"key")).values
    assert np.isfinite(found).all()
    assert (found.argmax(1) == [0, 3, 0]).all()
    biases = (*guard.net.biases[:-1], np.array([5.0], np.float32))
    dead = MembershipNet(tuple(0 * weight for weight in guard.net.weights), biases)
    still = NoisedAnswers(dead, 1.0, 0.01).noised(flat, flat.values)
    assert np.array_equal(still, flat.values)


def test_phase_two_keeps_whichever_answer_hides_more(guard: NoisedAnswers, asked: Outputs, scores: np.ndarray) -> None:
    """An answer found by phase I that is surer than the model's own is never given."""
    far = -np.sort(-scores, axis=1)
    surety = np.abs(guard.net.logit(far))
    surest, least = np.argsort(surety)[[-1, 0]]
    few = Outputs("probabilities", scores[[least, surest]])
    own = found_before(guard.net, 2.0, scores[[surest, least]])
    found = own.apply(few, Tickets(np.arange(2.0)[:, None], b"key")).values
    assert np.array_equal(found, scores[[least, least]])


def test_impossible_classes_and_two_classes_are_answered(guard: NoisedAnswers) -> None:
    r = np.random.default_rng(5)
    values = r.standard_normal((30, CLASSES)).astype(np.float32)
    values[:, 4:7] = -np.inf
    found = guard.apply(Outputs("logits", values), Tickets(values[:, :3], b"key")).values
    assert np.isfinite(found).all()
    assert (found[:, 4:7] == 0).all()
    assert (found.argmax(1) == values.argmax(1)).all()
    pairs = np.stack([np.linspace(0.01, 0.99, 80), 1 - np.linspace(0.01, 0.99, 80)], axis=1)
    x = np.log(pairs).astype(np.float32)
    records = Records(x, np.zeros(80, np.int64), np.arange(80))
    order = np.argsort(-np.abs(pairs[:, 0] - 0.5))
    two = NoiseAtClassifier(epochs=40, lr=0.1).prepare(
        Serving(target=Answering(), records=records, rows=order[:40], reserve=order[40:], seed=0)
    )
    answers = two.apply(Outputs("probabilities", pairs), Tickets(x, b"key")).values
    assert (answers.argmax(1) == pairs.argmax(1)).all()
    assert np.abs(answers - pairs).max() > 0.01
    one = np.ones((3, 1))
    assert np.array_equal(two.apply(Outputs("probabilities", one), Tickets(one, b"key")).values, one)


def test_a_fitted_defence_survives_its_state(guard: NoisedAnswers, asked: Outputs) -> None:
    again = NoiseAtClassifier().restore(guard.state())
    few = Outputs("logits", asked.values[:40])
    tickets = Tickets(few.values, b"key")
    assert again.grain == guard.grain
    assert np.array_equal(again.apply(few, tickets).values, guard.apply(few, tickets).values)


def test_gradients_are_those_of_finite_differences(guard: NoisedAnswers) -> None:
    r = np.random.default_rng(0)
    x = -np.sort(-softmax(r.standard_normal((20, CLASSES)), axis=1)).astype(np.float32)
    wide = MembershipNet(
        tuple(w.astype(float) for w in guard.net.weights), tuple(b.astype(float) for b in guard.net.biases)
    )
    rise = wide.rise(wide.layers(x.astype(float)))
    for column in range(CLASSES):
        step = np.zeros(CLASSES)
        step[column] = 1e-6
        up, down = (wide.layers(x + sign * step)[-1][:, 0] for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-6, rise[:, column], rtol=1e-4, atol=1e-5)


def test_impossible_parameters_and_too_few_records_are_refused() -> None:
    for params in ({"budget": -1.0}, {"hidden": ()}, {"epochs": 0}, {"lr": 0.0}, {"most": 3}, {"grain": float("nan")}):
        with pytest.raises(ConfigError):
            NoiseAtClassifier(**params)  # type: ignore[arg-type]
    given = serving(logits())
    with pytest.raises(DataError, match="at least 20"):
        NoiseAtClassifier().prepare(
            Serving(target=given.target, records=given.records, rows=given.rows, reserve=given.reserve[:5], seed=0)
        )


@pytest.mark.slow
def test_a_thousand_records_cost_a_twentieth_of_the_published_procedure(guard: NoisedAnswers, asked: Outputs) -> None:
    scores = softmax(asked.values.astype(float), axis=1)
    start = time.process_time()
    guard.noised(asked, scores)
    fast = (time.process_time() - start) / len(asked)
    module = module_of(guard.net)
    start = time.process_time()
    for row in range(0, len(asked), len(asked) // 10):
        slow_phase_one(asked.values[row], module)
    assert (time.process_time() - start) / 10 > 20 * fast
