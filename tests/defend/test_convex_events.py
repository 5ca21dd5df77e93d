"""The events of private linear models: they cost at least what is proven of the model, and budgets can pay them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("dp_accounting")

import vestige.defend
from vestige.defend.convex import events
from vestige.defend.convex.curves import ORDERS, objective_perturbation
from vestige.defend.private.accounting import Account
from vestige.defend.private.budget import BudgetSpent
from vestige.defend.private.ledger import composed
from vestige.errors import DataError


def blobs(classes: int = 2, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    y = draw.integers(classes, size=count)
    return draw.standard_normal((count, 4)) / 4 + np.eye(4)[y] / 2, y


def claim(classes: int = 2, **options: object) -> vestige.PrivacyClaim:
    model = vestige.defend.DPLogisticRegression(random_state=0, **options).fit(*blobs(classes))
    return model.claim_


@pytest.mark.parametrize("sigma", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("bend", [0.01, 0.6])
def test_objective_perturbation_never_costs_more_than_its_event(sigma: float, bend: float) -> None:
    (event,) = events.concentrated(1.3, sigma, bend)
    known = objective_perturbation(ORDERS, sigma=sigma, slope=1.3, curvature=bend, strength=1.0)
    priced = event["xi"] + event["rho"] * ORDERS
    assert (priced >= known - 1e-9).all()
    assert priced[0] < known[0] * 1.03


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0])
def test_no_pure_mechanism_costs_more_than_the_randomised_response(epsilon: float) -> None:
    """Of all pairs of laws on three answers that are ε-close, none is further apart at any order."""
    draw, odds = np.random.default_rng(0), math.exp(epsilon)
    account = Account(composed(events.pure(epsilon)), "replace_one")
    assert account.epsilon(0.0) == pytest.approx(epsilon, abs=2e-4)
    kept = odds / (1 + odds)
    for order in (1.5, 3.0, 20.0):
        worst = math.log(kept**order * (1 - kept) ** (1 - order) + (1 - kept) ** order * kept ** (1 - order))
        for _ in range(200):
            one = draw.dirichlet(np.ones(3))
            other = one * np.exp(draw.uniform(-epsilon / 2, epsilon / 2, 3))
            other /= other.sum()
            if np.abs(np.log(one / other)).max() <= epsilon:
                assert math.log(np.sum(one**order * other ** (1 - order))) <= worst + 1e-12


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"epsilon": 1.0}, 1.02),
        ({"epsilon": 1.0, "method": "output", "delta": 1e-5}, 1.1),
        ({"epsilon": 1.0, "delta": 1e-5}, 1.1),
        ({"epsilon": 4.0, "delta": 1e-5, "method": "amp"}, 1.12),
        ({"epsilon": 1.0, "delta": 1e-5, "method": "frank_wolfe"}, 1.001),
    ],
)
def test_whoever_accounts_anew_finds_the_claim_or_a_little_more(options: dict[str, object], most: float) -> None:
    found = claim(**options)
    again = Account(composed(found.ledger), found.adjacency).renyi(found.delta or 1e-9)
    assert 0.99 * found.epsilon <= again <= most * found.epsilon


def test_classes_share_the_budget_and_each_has_its_event() -> None:
    found = claim(3, epsilon=3.0)
    assert [(one["kind"], one["count"]) for one in found.ledger] == [("SelfComposed", 3)]
    assert Account(composed(found.ledger), "replace_one").epsilon(0.0) == pytest.approx(3.0, abs=1e-3)
    corners = claim(3, epsilon=3.0, delta=1e-5, method="frank_wolfe", steps=7)
    (one,) = corners.ledger
    assert (one["count"], one["event"]["count"]) == (3, 7)


def test_a_budget_pays_for_models_until_it_is_spent(tmp_path: Path) -> None:
    budget = vestige.defend.PrivacyBudget(
        path=tmp_path / "budget.jsonl", epsilon=4.0, delta=1e-6, dataset="blobs", adjacency="replace_one"
    )
    one = claim(epsilon=1.0)
    budget.reserve(one, purpose="a model").commit()
    each = budget.spent()
    assert 0.1 < each < 0.5
    for _ in range(int(1 / each) - 1):
        budget.reserve(one, purpose="a model").commit()
    with pytest.raises(BudgetSpent):
        budget.reserve(one, purpose="one too many")
    assert 1 - each < budget.spent() <= 1
    with pytest.raises(DataError, match="adjacency"):
        budget.reserve(claim(epsilon=1.0, delta=1e-5), purpose="another")


def test_what_has_no_event_says_why_and_cannot_be_paid(tmp_path: Path) -> None:
    found = claim(epsilon=2.0, delta=1e-5, method="amp", amp_mode="paper")
    assert not found.ledger
    assert any("no event that a budget could pay for" in text for text in found.assumptions)
    budget = vestige.defend.PrivacyBudget(
        path=tmp_path / "b", epsilon=4.0, delta=1e-6, dataset="blobs", adjacency="replace_one"
    )
    with pytest.raises(DataError, match="ledger"):
        budget.reserve(found, purpose="a model")


@pytest.mark.parametrize("seed", [0, 14])
@pytest.mark.parametrize("epsilon", [0.3, 3.0])
def test_a_minimum_far_out_is_reached_though_the_objective_no_longer_falls(epsilon: float, seed: int) -> None:
    """Much noise and little regularisation: rounding hides the last steps from the objective, not from the gradient."""
    model = vestige.defend.DPLogisticRegression(epsilon=epsilon, random_state=seed).fit(*blobs(3))
    assert np.isfinite(model.coef_).all()
