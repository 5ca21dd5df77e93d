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

from dp_accounting import GaussianDpEvent, LaplaceDpEvent, SelfComposedDpEvent, ZCDpEvent
from dp_accounting.rdp import RdpAccountant, compute_epsilon
from sklearn.tree import DecisionTreeClassifier

from reference import slow_votes as slow
from vestige.backends.sklearn import SklearnRecipe
from vestige.defend import DEFENCES
from vestige.defend.private.accounting import ORDERS, Account
from vestige.defend.private.ledger import composed
from vestige.defend.private.mechanisms import Kind
from vestige.defend.private.pate import PATE
from vestige.defend.private.pate_recipe import lesson
from vestige.defend.private.votes_seen import renyi_of_answers, seen_cost, upset
from vestige.defend.private.voting import Count, Method, counted, seeded, shards, unpredictable
from vestige.errors import ConfigError, ModelError, UsageError
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
    # The same as a cost of 1/σ² an answer in concentrated differential privacy, and as one Gaussian, counted by losses.
    zero = SelfComposedDpEvent(ZCDpEvent(1 / 40**2), answers)
    assert Account(zero).renyi(1e-5) == pytest.approx(defence.account.renyi(1e-5))
    one = Account(GaussianDpEvent(40 / math.sqrt(2 * answers)))
    assert one.epsilon(1e-5) == pytest.approx(claim.epsilon, rel=1e-3)
    assert f"{claim.epsilon:.4g}; PLD" in claim.accountant


@pytest.mark.parametrize("options", [{}, {"method": "confident", "answers": 40}, {"method": "lnmax", "queries": 20}])
def test_the_noise_is_what_the_budget_takes(options: dict[str, Any]) -> None:
    budget = 4.0
    defence = made(epsilon=budget, **options)
    again = made(**{"epsilon": None, "noise": defence.count.noise, **options}).claim(TREE, 100)
    assert 0.995 * budget < again.epsilon <= budget
    claim = defence.claim(TREE, 100)
    assert claim.epsilon == budget
    # Whoever accounts for the ledger anew finds no more, but for the width of a grid.
    assert Account(composed(claim.ledger)).epsilon(1e-5) <= budget * (1 + 1e-4)


def test_laplace_votes_are_summed_up_where_that_is_less() -> None:
    few = made(method="lnmax", queries=2, epsilon=None, noise=4.0).claim(TREE, 100)
    # Next to nothing is gained over 4 times 1/4 by composing so few.
    assert 0.999 < few.epsilon <= 1.0
    assert few.ledger == ({"kind": "SelfComposed", "event": {"kind": "Laplace", "noise_multiplier": 4.0}, "count": 4},)
    with pytest.raises(ConfigError, match="proves ε"):
        made(method="lnmax", epsilon=None, noise=1e-3).claim(TREE, 100)


@pytest.mark.parametrize("method", ["gnmax", "lnmax"])
def test_accountants_that_contradict_each_other_are_not_believed(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    defence = made(method=method, epsilon=None, noise=33.0, queries=55)
    assert "RDP" in defence.claim(TREE, 100).accountant
    monkeypatch.setattr(Account, "renyi", lambda self, delta: 0.1)
    with pytest.raises(ModelError, match="contradict"):
        made(method=method, epsilon=None, noise=33.5, queries=55).claim(TREE, 100)


def test_a_screened_query_costs_also_when_it_is_not_answered() -> None:
    few = made(epsilon=None, noise=30.0, method="confident", answers=10, queries=100)
    (screens, votes) = few.claim(TREE, 100).ledger
    assert (screens["count"], votes["count"]) == (100, 10)
    assert screens["event"]["noise_multiplier"] == pytest.approx(30.0 * 3.75)
    assert votes["event"]["noise_multiplier"] == pytest.approx(30.0 / math.sqrt(2))


votes_of = st.lists(st.lists(st.integers(0, 250), min_size=3, max_size=3), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(votes_of, st.floats(1.0, 100.0), st.sampled_from(["gaussian", "laplace"]))
def test_seen_votes_never_cost_more_than_any_votes(votes: list[list[int]], noise: float, kind: Kind) -> None:
    orders = np.array([1.5, 2.0, 5.0, 20.0, 60.0])
    cost = renyi_of_answers(np.array(votes), noise, orders, kind)
    assert (cost >= 0).all()
    counted = RdpAccountant(list(orders)).compose(LaplaceDpEvent(noise), 2).rdp
    most = orders / noise**2 if kind == "gaussian" else np.array(counted)
    assert (cost <= most * (1 + 1e-9)).all()


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
@pytest.mark.parametrize("votes", [[60, 20, 10], [40, 35, 5], [33, 33, 34], [45, 20, 1]])
def test_seen_votes_cost_what_the_theorem_says_and_at_least_what_they_really_cost(votes: list[int], kind: Kind) -> None:
    shrunk = 0
    for noise, order in ((5.0, 2.0), (5.0, 8.0), (10.0, 5.0)):
        found = float(renyi_of_answers(np.array([votes]), noise, np.array([order]), kind)[0, 0])
        theorem = slow.theorem_six if kind == "gaussian" else slow.theorem_three
        assert found == pytest.approx(theorem(votes, noise, order), rel=1e-5)
        # The exact divergence from every data set with a member more, less, or exchanged.
        assert slow.worst(votes, noise, order, kind) <= found
        wrong = 1 - slow.chances(votes, noise, kind)[int(np.argmax(votes))]
        assert wrong <= float(np.exp(upset(np.array([votes]), noise, kind)[0])) * (1 + 1e-6)
        shrunk += found < 0.5 * order / noise**2
    assert bool(shrunk) == (votes[0] - votes[1] > 20)


def test_seen_costs_are_added_up_and_turned_into_epsilon() -> None:
    votes, orders = [[60, 20, 10], [40, 35, 5]] * 4, [order for order in ORDERS if order > 1]
    for kind, method in (("gaussian", "gnmax"), ("laplace", "lnmax")):
        defence = made(teachers=90, epsilon=None, noise=10.0, method=method)
        theorem = slow.theorem_six if kind == "gaussian" else slow.theorem_three
        some = [order for order in orders if order in (2, 5, 8, 11, 20, 32)]
        costs = [4 * sum(theorem(own, 10.0, order) for own in votes[:2]) for order in some]
        seen = defence.seen_cost(np.array(votes))
        assert seen.epsilon <= slow.epsilon(costs, some, 1e-5) * (1 + 1e-9)
        summed = 2 * len(votes) / 10 if kind == "laplace" else math.inf
        assert seen.epsilon >= 0.8 * min(slow.epsilon(costs, some, 1e-5), summed)
        assert seen.releasable is False
    # One close vote: no finite order beats the plain sum of two counts' costs.
    sure = made(teachers=90, method="lnmax", epsilon=None, noise=1.0).seen_cost(np.array([[34, 33, 33]]))
    assert (sure.epsilon, sure.order) == (pytest.approx(2.0), math.inf)


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


@pytest.mark.parametrize("method", ["gnmax", "lnmax"])
def test_every_class_wins_as_often_as_its_count_and_the_noise_let_it(method: Method) -> None:
    count = Count(method=method, noise=3.0, most=30_000)
    law = slow.chances([9, 7, 2], 3.0, "laplace" if method == "lnmax" else "gaussian")
    assert sum(law) == pytest.approx(1, abs=1e-4)
    for noised, asked in ((seeded(3), 30_000), (unpredictable, 6_000)):
        votes = np.tile([9, 7, 2], (asked, 1))
        seen = np.bincount(count.answers(votes, noised)[1], minlength=3)
        assert stats.chisquare(seen, len(votes) * np.array(law) / sum(law)).pvalue > 1e-7


def test_noise_of_a_release_is_never_the_same_and_that_of_an_audit_always() -> None:
    records, rows = blobs(), np.arange(240)
    votes = np.tile([7, 6, 5], (60, 1))
    audit, release = made(epsilon=1.0), made(epsilon=1.0, release=True)
    asked_of = np.arange(60)
    assert np.array_equal(lesson(audit, votes, asked_of, 4)[1], lesson(audit, votes, asked_of, 4)[1])
    assert not np.array_equal(lesson(audit, votes, asked_of, 4)[1], lesson(audit, votes, asked_of, 5)[1])
    assert not np.array_equal(lesson(release, votes, asked_of, 4)[1], lesson(release, votes, asked_of, 4)[1])
    # Who is asked, and who teaches whom, is no secret, and stays.
    one, two = (release.wrap(TREE, RESERVE).votes(records, rows, 4) for _ in range(2))
    assert np.array_equal(one, two)
    assert any("reproducible" in text for text in audit.claim(TREE, 1).assumptions)
    assert any("operating system" in text for text in release.claim(TREE, 1).assumptions)


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
