"""PATE: one member moves one vote, what the votes cost is counted, and the student owes the members nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

pytest.importorskip("sklearn")
pytest.importorskip("dp_accounting")

from dp_accounting.rdp import compute_epsilon
from sklearn.tree import DecisionTreeClassifier

from vestige.backends.sklearn import SklearnRecipe
from vestige.defend import DEFENCES
from vestige.defend.private.accounting import ORDERS, Account
from vestige.defend.private.ledger import composed
from vestige.defend.private.pate import PATE
from vestige.defend.private.votes_seen import renyi_of_answers, seen_cost, upset
from vestige.defend.private.voting import Count, counted, seeded, shards
from vestige.errors import ConfigError, UsageError
from vestige.records import Records
from vestige.seeds import rng

TREE = SklearnRecipe(DecisionTreeClassifier(max_depth=4))
RESERVE = np.arange(300, 400)


def made(**options: Any) -> PATE:
    return DEFENCES.create("pate", {"teachers": 12, "queries": 60, "epsilon": 8.0, **options})


def blobs(groups: bool = False) -> Records:
    draw = np.random.default_rng(5)
    y = draw.integers(3, size=400)
    x = draw.standard_normal((400, 4)) + 5 * np.eye(4)[y]
    return Records.build(x, y, groups=draw.integers(60, size=400) if groups else None)


@pytest.mark.parametrize("groups", [False, True])
def test_one_member_less_moves_at_most_one_vote_of_each_query(groups: bool) -> None:
    records, recipe = blobs(groups), made().wrap(TREE, RESERVE)
    rows = np.arange(200)
    whole = recipe.votes(records, rows, 7)
    assert whole.shape == (60, 3)
    assert (whole.sum(1) == 12).all()
    for gone in (3, 77, 150):
        left = rows[records.groups[rows] != records.groups[gone]] if groups else np.delete(rows, gone)
        changed = recipe.votes(records, left, 7) - whole
        # A teacher that changes its mind takes its vote from one class and gives it to another.
        assert np.abs(changed).max() <= 1
        assert np.abs(changed).sum(1).max() <= 2


def test_who_else_is_a_member_moves_no_record_to_another_teacher() -> None:
    records = blobs()
    rows = np.arange(250)
    parts = shards(records, rows, 12, 3)
    assert np.array_equal(np.sort(np.concatenate(parts)), rows)
    fewer = shards(records, rows[::2], 12, 3)
    for part, smaller in zip(parts, fewer, strict=True):
        assert np.array_equal(part[np.isin(part, rows[::2])], smaller)
    grouped = blobs(groups=True)
    for part in shards(grouped, rows, 5, 0):
        others = np.setdiff1d(rows, part)
        assert not np.intersect1d(grouped.groups[part], grouped.groups[others]).size


@pytest.mark.parametrize(("answers", "published"), [(286, 2.64), (1000, 5.38), (3098, 10.5)])
def test_what_any_votes_cost_is_the_published_figure(answers: int, published: float) -> None:
    defence = made(teachers=250, epsilon=None, noise=40.0, queries=answers)
    assert defence.account.renyi(1e-5) == pytest.approx(published, abs=0.05)
    claim = defence.claim(TREE, 100)
    # The claim is the Gaussian's own ε, which is a little less; nothing about the members enters it.
    assert 0.9 * published < claim.epsilon < published
    assert claim == defence.claim(TREE, 5000)
    assert claim.mu == pytest.approx(math.sqrt(2 * answers) / 40)
    assert Account(composed(claim.ledger)).renyi(1e-5) == pytest.approx(defence.account.renyi(1e-5))


@pytest.mark.parametrize("options", [{}, {"method": "confident", "answers": 40}, {"method": "lnmax", "queries": 20}])
def test_the_noise_is_what_the_budget_takes(options: dict[str, Any]) -> None:
    budget = 4.0
    defence = made(epsilon=budget, **options)
    again = made(**{"epsilon": None, "noise": defence.count.noise, **options}).claim(TREE, 100)
    assert 0.995 * budget < again.epsilon <= budget * (1 + 1e-6)
    assert defence.claim(TREE, 100).epsilon == budget


def test_a_screened_query_costs_also_when_it_is_not_answered() -> None:
    few = made(epsilon=None, noise=30.0, method="confident", answers=10, queries=100)
    (screens, votes) = few.claim(TREE, 100).ledger
    assert (screens["count"], votes["count"]) == (100, 10)
    assert screens["event"]["noise_multiplier"] == pytest.approx(30.0 * 3.75)
    assert votes["event"]["noise_multiplier"] == pytest.approx(30.0 / math.sqrt(2))


votes_of = st.lists(st.lists(st.integers(0, 250), min_size=3, max_size=3), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(votes_of, st.floats(1.0, 100.0))
def test_seen_votes_never_cost_more_than_any_votes(votes: list[list[int]], noise: float) -> None:
    orders = np.array([1.5, 2.0, 5.0, 20.0, 60.0])
    cost = renyi_of_answers(np.array(votes), noise, orders)
    assert (cost >= 0).all()
    assert (cost <= orders / noise**2 * (1 + 1e-12)).all()


def test_the_clearer_the_vote_the_less_it_costs_and_the_figure_is_not_for_others() -> None:
    orders = np.array([4.0, 10.0, 25.0])
    cost = np.stack(
        [renyi_of_answers(np.array([[125 + gap, 125 - gap, 0]]), 20.0, orders)[0] for gap in range(0, 126, 5)]
    )
    assert (np.diff(cost, axis=0) <= 1e-12).all()
    assert (cost[-1] < 0.6 * cost[0]).all()
    defence = made(teachers=250, epsilon=None, noise=20.0, queries=100, delta=1e-6)
    clear, torn = np.tile([240, 10, 0], (100, 1)), np.tile([130, 120, 0], (100, 1))
    low, high = defence.seen_cost(clear), defence.seen_cost(torn)
    orders = np.array([order for order in ORDERS if order > 1])
    most = compute_epsilon(orders, 100 * orders / 400, 1e-6)
    assert low.epsilon < 0.5 * high.epsilon
    assert high.epsilon <= most[0] * (1 + 1e-9)
    assert low.releasable is False
    assert seen_cost(clear, 20.0, 1e-6, screened=50, screen=75.0).epsilon > low.epsilon
    with pytest.raises(ConfigError, match="Gaussian"):
        made(method="lnmax").seen_cost(clear)


def test_another_class_wins_no_oftener_than_the_bound_says() -> None:
    votes, noise = np.array([[30, 22, 20, 5]]), 6.0
    random = rng(0, "test", "upset")
    other = (votes + random.normal(0, noise, (200_000, 4))).argmax(1) != 0
    bound = float(np.exp(upset(votes, noise)[0]))
    assert other.mean() <= bound
    assert bound < 1.4 * other.mean()


def test_answers_are_drawn_as_the_noise_says() -> None:
    votes = np.tile([7, 5], (40_000, 1))
    for method, law in (("gnmax", stats.norm(scale=math.sqrt(2) * 3.0)), ("lnmax", None)):
        count = Count(method=method, noise=3.0, most=len(votes))
        places, labels = count.answers(votes, seeded(1))
        assert len(places) == len(votes)
        # The difference of two Laplace numbers of scale b exceeds t with probability e^(−t/b) (1/2 + t/4b).
        wrong = law.sf(2.0) if law is not None else math.exp(-2 / 3) * (0.5 + 2 / 12)
        assert abs((labels == 1).mean() - wrong) < 4 * math.sqrt(wrong / len(votes))
    sure = Count(method="confident", noise=3.0, most=100, screen=1.0, threshold=9.0)
    mixed = np.array([[12, 0], [5, 7]] * 500)
    places, labels = sure.answers(mixed, seeded(2))
    assert len(places) == 100
    assert (places % 2 == 0).mean() > 0.95
    assert (labels == 0).mean() > 0.95


def test_votes_are_counted() -> None:
    assert counted([np.array([0, 1]), np.array([0, 2]), np.array([0, 1])], 2, 3).tolist() == [[3, 0, 0], [0, 2, 1]]


def test_the_student_learns_from_the_vote_and_reads_no_member_and_no_label_of_the_reserve() -> None:
    records, rows = blobs(), np.arange(240)
    recipe = made(epsilon=None, noise=0.5).wrap(TREE, RESERVE)
    student = recipe.fit(records, rows, 1)
    held = np.arange(240, 300)
    right = student.query(records.rows_of(held), student.access).values.argmax(1) == records.y[held]
    assert right.mean() > 0.8
    hidden = records.y.copy()
    hidden[RESERVE] = 0
    other = recipe.fit(replace(records, y=hidden), rows, 1)
    asked = records.rows_of(held)
    assert np.array_equal(student.query(asked, student.access).values, other.query(asked, other.access).values)
    with pytest.raises(UsageError, match="of its own"):
        recipe.fit(records, np.arange(350), 1)


def test_a_network_is_taught_alike_in_any_company() -> None:
    pytest.importorskip("torch")
    from vestige.backends.torch import TorchRecipe

    network = TorchRecipe(model="logistic", epochs=4, batch_size=16, lr=0.2)
    recipe, records = made(teachers=5).wrap(network, RESERVE), blobs()
    one, two = np.arange(150), np.arange(100, 260)
    together = recipe.fit_many(records, [one, two], [1, 2])
    alone = recipe.fit(records, two, 2).state()
    assert all(np.array_equal(alone[name], array) for name, array in together[1].state().items())
    assert recipe.votes(records, one, 1).sum(1).max() <= 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teachers": 1}, "teachers"),
        ({"epsilon": 1.0, "noise": 3.0}, "got both"),
        ({"epsilon": 50.0}, "bounds no attack"),
        ({"answers": 5}, "every query"),
        ({"method": "confident", "answers": 100}, "at most the 60"),
        ({"method": "vote"}, "method"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_parameters_that_cannot_be_meant(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**options)


def test_what_is_refused_later_says_why() -> None:
    with pytest.raises(ConfigError, match="proves ε"):
        made(epsilon=None, noise=0.5).claim(TREE, 100)
    with pytest.raises(ConfigError, match="epochs of 'pate'"):
        made(epochs=3).wrap(TREE, RESERVE)
    sure = made(method="confident", threshold=1.0, epsilon=None, noise=0.01, answers=60).wrap(TREE, RESERVE)
    records = blobs()
    torn = replace(records, y=np.random.default_rng(0).permutation(records.y))
    with pytest.raises(UsageError, match="too few to learn from"):
        sure.fit(torn, np.arange(300), 0)
