"""A budget in a file: what may be spent, what a crash costs, and several processes at once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

events = pytest.importorskip("dp_accounting")

from vestige.defend import PrivacyBudget  # noqa: E402
from vestige.defend.private.accounting import Account  # noqa: E402
from vestige.defend.private.budget import BudgetSpent  # noqa: E402
from vestige.defend.private.budget_rules import Filter, Planned  # noqa: E402
from vestige.defend.private.ledger import BY_GROUP, composed, entries, entry  # noqa: E402
from vestige.errors import ConfigError, DataError, StoreError, UsageError  # noqa: E402
from vestige.privacy_claim import PrivacyClaim  # noqa: E402

EPSILON, DELTA = 2.0, 1e-5


def budget(folder: Path, **options: Any) -> PrivacyBudget:
    given = {"path": folder / "budget.jsonl", "epsilon": EPSILON, "delta": DELTA, "dataset": "survey", **options}
    return PrivacyBudget(**given)


def gaussian(noise: float = 8.0) -> Any:
    return events.GaussianDpEvent(noise)


def reserve(held: PrivacyBudget, noise: float = 8.0, **options: Any) -> Any:
    return held.reserve(gaussian(noise), purpose="mean", **options)


def capacity(noise: float) -> int:
    """Return how many Gaussian releases a filter admits: each costs α / (2 σ²)."""
    best = 0.0
    for order in range(2, 200):
        allowed = EPSILON - math.log(1 - 1 / order) + (math.log(DELTA) + math.log(order)) / (order - 1)
        best = max(best, allowed / order)
    return math.floor(best * 2 * noise**2)


def test_a_filter_admits_as_many_gaussians_as_its_order_allows(tmp_path: Path) -> None:
    held, most = budget(tmp_path), capacity(8.0)
    assert 10 < most < 20
    for count in range(most):
        assert held.spent() == pytest.approx(count / most, rel=0.1)
        reserve(held).commit()
    with pytest.raises(BudgetSpent, match="survey"):
        reserve(held)
    assert len(held.uses()) == most
    reserve(held, 100.0)
    assert 0.9 < held.spent() <= 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noises=st.lists(st.floats(1.0, 40.0), min_size=1, max_size=30))
def test_whatever_is_asked_of_a_filter_stays_within_the_budget(tmp_path: Path, noises: list[float]) -> None:
    """Noise may have been chosen by what was answered before: one order was fixed first, and costs add up there."""
    held = budget(tmp_path, path=tmp_path / f"{hash(tuple(noises))}.jsonl")
    order, cost, admitted = Filter(epsilon=EPSILON, delta=DELTA).order, 0.0, []
    for noise in noises:
        try:
            reserve(held, noise)
        except BudgetSpent:
            continue
        admitted.append(gaussian(noise))
        cost += order / (2 * noise**2)
    allowed = EPSILON - math.log(1 - 1 / order) + (math.log(DELTA) + math.log(order)) / (order - 1)
    assert cost <= allowed * (1 + 1e-8)
    if admitted:
        assert Account(events.ComposedDpEvent(admitted)).renyi(DELTA) <= EPSILON * (1 + 1e-8)
        assert held.spent() == pytest.approx(cost / allowed)
    held.path.unlink()


def test_planned_uses_are_counted_closer(tmp_path: Path) -> None:
    held, most = budget(tmp_path, accounting="planned"), 0
    while True:
        try:
            reserve(held, 5.0)
        except BudgetSpent:
            break
        most += 1
    assert most > capacity(5.0)
    # Gaussian releases together are one: √n / 5 is its μ, and the noise 1 / μ must not be below the exact one.
    exact = events.get_sigma_gaussian(EPSILON, DELTA)
    assert most == math.floor((5.0 / exact) ** 2)
    assert Planned(epsilon=EPSILON, delta=DELTA).share([]) == 0


def test_mixed_uses_are_composed(tmp_path: Path) -> None:
    held = budget(tmp_path)
    sampled = events.SelfComposedDpEvent(events.PoissonSampledDpEvent(0.01, gaussian(2.0)), 100)
    for one in (sampled, events.LaplaceDpEvent(10.0), events.ZCDpEvent(0.01)):
        held.reserve(one, purpose="several").commit()
    order = Filter(epsilon=EPSILON, delta=DELTA).order
    laplace = math.log(
        order / (2 * order - 1) * math.exp((order - 1) / 10) + (order - 1) / (2 * order - 1) * math.exp(-order / 10)
    ) / (order - 1)  # fmt: skip
    rule = Filter(epsilon=EPSILON, delta=DELTA)
    costs = rule.costs([one.ledger for one in held.uses()])
    assert costs[1:] == pytest.approx([laplace, 0.01 * order])
    assert held.spent() == pytest.approx(sum(costs) / rule.allowed)
    claim = held.claim()
    assert (claim.epsilon, claim.delta, claim.guarantee) == (EPSILON, DELTA, "G1")
    assert Account(composed(claim.ledger)).renyi(DELTA) < EPSILON


@pytest.mark.parametrize("event", ["NonPrivateDpEvent", "UnsupportedDpEvent"])
@pytest.mark.parametrize("accounting", ["filter", "planned"])
def test_what_nothing_is_known_of_is_refused(tmp_path: Path, event: str, accounting: str) -> None:
    with pytest.raises(BudgetSpent):
        budget(tmp_path, accounting=accounting).reserve(getattr(events, event)(), purpose="leak")


def test_what_is_reserved_counts_until_it_is_given_back_unseen(tmp_path: Path) -> None:
    held = budget(tmp_path)
    first, second = reserve(held), reserve(held)
    one = held.spent() / 2
    first.commit()
    with pytest.raises(UsageError, match="seen"):
        second.release(nothing_seen=False)
    assert held.spent() == pytest.approx(2 * one)
    second.release(nothing_seen=True)
    assert held.spent() == pytest.approx(one)
    assert [use.state for use in held.uses()] == ["committed", "released"]
    assert len(held.claim().ledger) == 1
    for done in (first, second):
        for act in (done.commit, lambda done=done: done.release(nothing_seen=True)):
            with pytest.raises(UsageError, match="already"):
                act()


def test_a_block_that_fails_has_spent_its_part(tmp_path: Path) -> None:
    held = budget(tmp_path)
    with held.using(gaussian(), purpose="fine", requester="me"):
        assert held.uses()[0].state == "reserved"
    with pytest.raises(ZeroDivisionError), held.using(gaussian(), purpose="broken"):
        raise ZeroDivisionError
    assert [use.state for use in held.uses()] == ["committed", "reserved"]
    assert (held.uses()[0].purpose, held.uses()[0].requester) == ("fine", "me")
    assert held.spent() == pytest.approx(2 * Filter(epsilon=EPSILON, delta=DELTA).share([entries(gaussian())]))


def test_a_process_that_dies_has_spent_what_it_reserved(tmp_path: Path) -> None:
    held = budget(tmp_path)
    code = (
        "import os, sys, dp_accounting as d\n"
        "from vestige.defend import PrivacyBudget\n"
        "PrivacyBudget.open(sys.argv[1]).reserve(d.GaussianDpEvent(8.0), purpose='lost')\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(held.path)], check=False).returncode == 9
    assert [use.state for use in held.uses()] == ["reserved"]
    assert held.spent() > 0.05


def test_processes_at_once_never_spend_more_than_there_is(tmp_path: Path) -> None:
    held, most = budget(tmp_path), capacity(8.0)
    code = (
        "import sys, dp_accounting as d\n"
        "from vestige.defend import PrivacyBudget\n"
        "from vestige.defend.private.budget import BudgetSpent\n"
        "held, got = PrivacyBudget.open(sys.argv[1]), 0\n"
        "try:\n"
        "    while True:\n"
        "        held.reserve(d.GaussianDpEvent(8.0), purpose='race').commit()\n"
        "        got += 1\n"
        "except BudgetSpent:\n"
        "    print(got)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(held.path)], stdout=subprocess.PIPE) for _ in range(3)]
    assert sum(int(run.communicate()[0]) for run in runs) == most
    assert [use.state for use in held.uses()] == ["committed"] * most


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_line_that_a_crash_cut_short_is_dropped_and_nothing_else(tmp_path: Path, cut: int) -> None:
    held = budget(tmp_path)
    reserve(held)
    whole = held.path.read_bytes()
    second = reserve(held)
    held.path.write_bytes(held.path.read_bytes()[: -cut if cut < 200 else len(whole) + 1])
    assert len(held.uses()) == 1
    with pytest.raises(UsageError, match="not in the budget"):
        second.commit()
    assert PrivacyBudget.open(held.path) == held
    third = reserve(held)
    third.commit()
    assert held.path.read_bytes().startswith(whole)
    assert [use.id for use in held.uses()][1:] == [third.id]


def test_a_commit_that_a_crash_cut_short_leaves_the_part_spent(tmp_path: Path) -> None:
    held = budget(tmp_path)
    first = reserve(held)
    spent = held.spent()
    first.release(nothing_seen=True)
    held.path.write_bytes(held.path.read_bytes()[:-5])
    assert held.spent() == spent > 0


def test_a_file_changed_by_hand_is_refused(tmp_path: Path) -> None:
    held = budget(tmp_path)
    for _ in range(3):
        reserve(held)
    lines = held.path.read_bytes().splitlines(keepends=True)
    cheaper = lines[1].replace(b"8.0", b"80.0")
    assert cheaper != lines[1]
    for changed in (
        [lines[0], cheaper, *lines[2:]],
        [lines[0], *lines[2:]],
        [*lines[:2], b"\n", *lines[2:]],
        lines[1:],
    ):
        held.path.write_bytes(b"".join(changed))
        for act in (held.spent, lambda: reserve(held), lambda: PrivacyBudget.open(held.path)):
            with pytest.raises(StoreError):
                act()
    held.path.write_text(json.dumps({"format": "else"}) + "\n", "utf-8")
    with pytest.raises(StoreError):
        PrivacyBudget.open(held.path)
    with pytest.raises(StoreError):
        PrivacyBudget.open(tmp_path / "nothing")


def test_a_budget_keeps_its_terms(tmp_path: Path) -> None:
    held = budget(tmp_path, shares={"training": 0.7, "rest": 0.3})
    assert PrivacyBudget.open(held.path) == held == budget(tmp_path, shares={"training": 0.7, "rest": 0.3})
    for other in ({}, {"epsilon": 3.0}, {"dataset": "other"}, {"adjacency": "replace_one"}, {"unit": "person"}):
        with pytest.raises(ConfigError, match="other terms"):
            budget(tmp_path, **{"shares": {"training": 0.7, "rest": 0.3}, **other} if other else {})


def test_every_tier_has_its_share(tmp_path: Path) -> None:
    held = budget(tmp_path, shares={"training": 0.7, "monitoring": 0.1})
    most = capacity(20.0)
    counts = dict.fromkeys(held.shares, 0)
    for tier in counts:
        while True:
            try:
                reserve(held, 20.0, tier=tier)
            except BudgetSpent:
                break
            counts[tier] += 1
    assert counts["training"] == math.floor(0.7 * most) or counts["training"] == math.floor(0.7 * (most + 1))
    assert 0 < counts["monitoring"] <= 0.1 * (most + 1)
    assert held.spent("training") + held.spent("monitoring") == pytest.approx(held.spent())
    with pytest.raises(BudgetSpent, match="monitoring"):
        reserve(held, 20.0, tier="monitoring")
    for tier in ("", "serving"):
        with pytest.raises(UsageError, match="tier"):
            reserve(held, 20.0, tier=tier)
    with pytest.raises(UsageError, match="tier"):
        reserve(budget(tmp_path / "plain"), 20.0, tier="training")


def test_claims_are_paid_when_they_are_about_the_same(tmp_path: Path) -> None:
    held = budget(tmp_path)
    ledger = entries(gaussian())
    claim = PrivacyClaim(epsilon=1.0, delta=DELTA, ledger=ledger)
    held.reserve(claim, purpose="training").commit()
    one = held.spent()
    by_group = {
        "kind": BY_GROUP,
        "groups": [{"epsilon": 1.0, "event": entry(gaussian(8.0))}, {"epsilon": 0.5, "event": entry(gaussian(16.0))}],
    }
    held.reserve(PrivacyClaim(epsilon=1.0, ledger=(by_group,)), purpose="groups")
    assert held.spent() == pytest.approx(2 * one), "the largest group's"
    wrong = (
        PrivacyClaim(epsilon=1.0),
        PrivacyClaim(epsilon=1.0, ledger=ledger, guarantee="G4"),
        PrivacyClaim(epsilon=1.0, ledger=ledger, adjacency="replace_one"),
        PrivacyClaim(epsilon=1.0, ledger=ledger, unit="person"),
        PrivacyClaim(epsilon=1.0, ledger=({"kind": "Nothing"},)),
    )
    for one_of in wrong:
        with pytest.raises(DataError):
            held.reserve(one_of, purpose="wrong")
    assert len(held.uses()) == 2


def test_a_filtered_training_is_paid_by_renyi_bounds(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from vestige.backends.torch import TorchRecipe
    from vestige.defend import DEFENCES

    recipe = TorchRecipe(model="mlp", hidden=(4,), epochs=3, batch_size=16, normalize="none")
    options = {"epsilon": 1.0, "delta": DELTA, "sampling": "poisson", "batch_size": 32}
    claim = DEFENCES.create("renyi_filter", options).claim(recipe, 300)
    loose = budget(tmp_path, accounting="planned")
    loose.reserve(claim, purpose="training")
    assert loose.spent() == pytest.approx(0.5, rel=1e-3), "its ε by Rényi bounds, and not the smaller one"


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 0.0},
        {"epsilon": math.inf},
        {"delta": 0.0},
        {"delta": 1.0},
        {"epsilon": 1e-6},
        {"dataset": ""},
        {"adjacency": "swap"},
        {"accounting": "hope"},
        {"shares": {"a": 0.0}},
        {"shares": {"a": 0.6, "b": 0.6}},
        {"shares": {"a": 0.5}, "accounting": "planned"},
    ],
)
def test_budgets_that_cannot_be_meant(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        budget(tmp_path, **options)
    assert not (tmp_path / "budget.jsonl").exists()
