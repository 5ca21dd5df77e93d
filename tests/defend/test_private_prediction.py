"""Randomised response: its frequencies, its ledger, and what its claim says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vestige.defend.answers.private_prediction import AnswerLedger, PrivateAnswers, PrivatePrediction, composed
from vestige.defend.private import ledger
from vestige.defend.private.accounting import Account
from vestige.defend.private.budget import BudgetSpent, PrivacyBudget
from vestige.defend.private.budget_rules import Accounting
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, ModelError
from vestige.target import Access, Outputs


def answered(epsilon: float, classes: int, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    logits = np.random.default_rng(0).standard_normal((rows, classes))
    answers = PrivateAnswers(PrivatePrediction(epsilon=epsilon), AnswerLedger())
    found = answers.apply(Outputs("logits", logits), Tickets(np.arange(rows)[:, None], b"key")).values
    return logits.argmax(1), np.asarray(found)


@pytest.mark.parametrize(("epsilon", "classes", "keep"), [(1.0, 10, 0.232), (2.0, 10, 0.451), (4.0, 100, 0.355)])
def test_classes_are_kept_and_exchanged_as_often_as_they_should(epsilon: float, classes: int, keep: float) -> None:
    assert PrivatePrediction(epsilon=epsilon).keeps(classes) == pytest.approx(keep, abs=5e-4)
    label, found = answered(epsilon, classes)
    shifts = np.bincount((found - label) % classes, minlength=classes)
    chance = np.full(classes, (1 - PrivatePrediction(epsilon=epsilon).keeps(classes)) / (classes - 1))
    chance[0] = PrivatePrediction(epsilon=epsilon).keeps(classes)
    assert stats.chisquare(shifts, chance * len(label)).pvalue > 1e-3
    # No class may be e^ε times likelier under one label than under another.
    assert chance[0] / chance[1] == pytest.approx(np.exp(epsilon))


def test_the_ledger_counts_distinct_queries_and_stops_at_the_limit() -> None:
    pytest.importorskip("dp_accounting")
    defence = PrivatePrediction(epsilon=1.0, answers=100)
    answers = defence.prepare(None)  # type: ignore[arg-type]
    x = np.arange(101)[:, None]
    logits = Outputs("logits", np.random.default_rng(0).standard_normal((101, 10)))

    def ask(some: slice) -> np.ndarray:
        return np.asarray(answers.apply(Outputs("logits", logits.values[some]), Tickets(x[some], b"key")).values)

    first = ask(slice(0, 60))
    assert answers.ledger.count == 60
    assert np.array_equal(ask(slice(0, 60)), first)
    assert answers.ledger.count == 60
    ask(slice(50, 100))
    assert answers.ledger.count == 100
    claim = defence.claim(answers.ledger.count, classes=10)
    assert claim is not None
    assert claim.epsilon == pytest.approx(39.90, abs=0.01)
    with pytest.raises(ModelError, match="allows 100 distinct queries"):
        ask(slice(90, 101))
    assert answers.ledger.count == 100
    assert np.array_equal(ask(slice(0, 60)), first)


def test_a_query_keeps_its_first_answer_whatever_the_model_says_later() -> None:
    answers = PrivateAnswers(PrivatePrediction(epsilon=8.0), AnswerLedger())
    x = np.arange(50)[:, None]
    before, after = np.tile([9.0, 0.0, 0.0], (50, 1)), np.tile([0.0, 9.0, 0.0], (50, 1))
    first = answers.apply(Outputs("logits", before), Tickets(x, b"key")).values
    assert (first == 0).mean() > 0.9
    assert np.array_equal(answers.apply(Outputs("logits", after), Tickets(x, b"key")).values, first)
    # Within a batch too: doubles that tickets do not tell apart are one query, and get one answer.
    close = np.array([[1.0 + 1e-12], [1.0]])
    twice = PrivateAnswers(PrivatePrediction(epsilon=8.0), AnswerLedger(1))
    one, other = twice.apply(Outputs("logits", np.array([[9.0, 0.0], [0.0, 9.0]])), Tickets(close, b"key")).values
    assert one == other
    assert twice.ledger.count == 1


@pytest.mark.parametrize("way", ["filter", "planned"])
def test_a_budget_pays_for_answers(tmp_path: Path, way: Accounting) -> None:
    pytest.importorskip("dp_accounting")
    claim = PrivatePrediction(epsilon=0.25, answers=10).claim(None, 10)
    assert claim is not None
    again = Account(ledger.composed(claim.ledger), claim.adjacency).epsilon(claim.delta)
    assert again == pytest.approx(claim.epsilon, rel=1e-3)  # whoever reads the ledger accounts for the same
    assert ledger.steps(claim.ledger) == 10
    budget = PrivacyBudget(
        path=tmp_path / "budget.jsonl", epsilon=4.0, delta=1e-6, dataset="toy", adjacency="replace_one", accounting=way
    )
    budget.reserve(claim, purpose="answers").commit()
    assert 0.2 < budget.spent() < 0.6
    if way == "planned":
        assert 4 * budget.spent() == pytest.approx(claim.epsilon, rel=1e-3)
    with pytest.raises(BudgetSpent):
        budget.reserve(PrivatePrediction(epsilon=1.0, answers=10).claim(None, 10), purpose="more of them")


@pytest.mark.parametrize(("answers", "epsilon"), [(10, 1.7), (100, 6.0), (1000, 24.0)])
def test_composition_is_that_of_single_answers(answers: int, epsilon: float) -> None:
    pytest.importorskip("dp_accounting")
    assert composed(0.25, answers, 1e-6, 10) == pytest.approx(epsilon, abs=0.05)


def test_composition_equals_a_loop_and_binary_answers_bound_all_others() -> None:
    pld = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    one = pld.from_randomized_response(4 / (np.e + 3), 4, value_discretization_interval=1e-4)
    whole = one
    for _ in range(6):
        whole = whole.compose(one)
    assert composed(1.0, 7, 1e-6, 4) == pytest.approx(whole.get_epsilon_for_delta(1e-6), abs=1e-3)
    assert composed(1.0, 7, 1e-6, 4) < composed(1.0, 7, 1e-6, 2) <= 7 + 1e-6
    assert composed(1.0, 1, 0.0, 4) == pytest.approx(1.0, abs=1e-3)


def test_a_claim_needs_a_limit_and_names_what_it_leaves_out() -> None:
    pytest.importorskip("dp_accounting")
    assert PrivatePrediction().claim(None) is None
    claim = PrivatePrediction(answers=5).claim(None)
    assert claim is not None
    assert (claim.guarantee, claim.adjacency) == ("G2", "replace_one")
    assert claim.epsilon <= 5
    assert any("5 distinct queries" in text for text in claim.assumptions)
    assert any("weights" in text for text in claim.excludes)
    assert PrivatePrediction().shows(Access.SCORE) == Access.LABEL


def test_what_it_cannot_do_is_refused() -> None:
    for params in ({"epsilon": 0.0}, {"epsilon": float("inf")}, {"answers": 0}, {"delta": 1.0}):
        with pytest.raises(ConfigError):
            PrivatePrediction(**params)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="how many classes"):
        PrivateAnswers(PrivatePrediction(), AnswerLedger()).apply(
            Outputs("labels", np.zeros(1, np.int64)), Tickets(np.zeros((1, 1)), b"k")
        )
