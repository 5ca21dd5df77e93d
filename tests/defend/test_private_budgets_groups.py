"""`idp_sgd`: each group's rate or norm meets its own budget, and no record reaches further than its group may."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("dp_accounting")
pytest.importorskip("opacus")

from dp_accounting import get_sigma_gaussian  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from reference.slow_clipping import clipped_sum  # noqa: E402
from vestige.backends.ensemble import structure  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.backends.torch_setup import Setup  # noqa: E402
from vestige.defend import DEFENCES  # noqa: E402
from vestige.defend.private import accounting  # noqa: E402
from vestige.defend.private.accounting import Account, gaussian_steps, opacus_epsilon  # noqa: E402
from vestige.defend.private.clipping import ByRecord  # noqa: E402
from vestige.defend.private.dp_batched import initialised, train  # noqa: E402
from vestige.defend.private.dp_opacus import train_one  # noqa: E402
from vestige.defend.private.group_terms import GroupTerms, sampled, scaled  # noqa: E402
from vestige.defend.private.ledger import composed, event_of, steps  # noqa: E402
from vestige.defend.private.randomness import Randomness, poisson  # noqa: E402
from vestige.defend.private.record_groups import group_numbers  # noqa: E402
from vestige.defend.private.terms import Terms  # noqa: E402
from vestige.errors import ConfigError, DataError, ModelError  # noqa: E402
from vestige.records import Records  # noqa: E402

NONE = np.zeros(0, np.int64)
DELTA = 1e-5
BUDGETS, SHARES = (1.0, 3.0), (0.75, 0.25)
TWO: dict[str, Any] = {"epsilons": BUDGETS, "shares": SHARES, "delta": DELTA}
RECIPE = TorchRecipe(
    model="mlp", hidden=(12,), epochs=3, batch_size=16, lr=0.3, momentum=0.0, weight_decay=0.0, schedule="constant",
    normalize="none",
)  # fmt: skip


def blobs(n: int = 300, width: int = 6) -> Records:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    return Records.build((3 * np.eye(3, width)[y] + random.normal(size=(n, width))).astype(np.float32), y)


def made(**options: Any) -> Any:
    return DEFENCES.create("idp_sgd", {**TWO, **options})


@pytest.mark.parametrize(
    ("epsilons", "shares", "rate", "count"),
    [(BUDGETS, SHARES, 0.05, 200), ((0.5, 1.0, 2.0), (0.3, 0.3, 0.4), 0.2, 30), ((1.0, 8.0), (0.8, 0.2), 0.5, 3)],
)
def test_sampling_rates_meet_every_budget_and_average_to_the_batch(
    epsilons: tuple[float, ...], shares: tuple[float, ...], rate: float, count: int
) -> None:
    noise, rates = sampled(epsilons, shares, DELTA, rate, count)
    assert np.dot(rates, shares) == pytest.approx(rate, abs=1e-6)
    assert list(rates) == sorted(rates)
    assert rates[0] < rates[-1] <= 1
    for epsilon, own in zip(epsilons, rates, strict=True):
        spent = Account(gaussian_steps(noise, own, count)).epsilon(DELTA)
        assert spent <= epsilon
        assert own == 1 or spent > 0.998 * epsilon
        assert opacus_epsilon([(noise, own, count)], DELTA) == pytest.approx(spent, abs=0.03)


def test_one_group_is_plain_private_training() -> None:
    plain = DEFENCES.create("dp_sgd", {"epsilon": 3.0, "delta": DELTA}).terms(3, 16, 150)
    for method in ("sample", "scale"):
        own = made(epsilons=(3.0,), shares=(1.0,), method=method).terms(3, 16, 150)
        assert own.noise == pytest.approx(plain.noise, rel=2e-3)
        assert (own.rates, own.lengths) == (pytest.approx((plain.rate,)), pytest.approx((1.0,)))


def test_norms_meet_every_budget_as_the_gaussian_has_it() -> None:
    """With all records in every step, σ = √T · σ(ε, δ), known in closed form."""
    epsilons, shares = (0.5, 1.0, 4.0), (0.5, 0.3, 0.2)
    noise, lengths = scaled(epsilons, shares, DELTA, 1.0, 1, (1.0,) * 9)
    wanted = 3 * np.array([get_sigma_gaussian(epsilon, DELTA) for epsilon in epsilons])
    assert wanted == pytest.approx(3 * np.array([7.0318, 3.7306, 1.0812]), abs=1e-3)
    assert noise * max(lengths) / np.array(lengths) == pytest.approx(wanted, rel=1e-3)
    assert np.dot(lengths, shares) == pytest.approx(1.0, abs=1e-9)
    assert list(lengths) == sorted(lengths)


def test_sampled_norms_meet_every_budget() -> None:
    terms = made(method="scale").terms(3, 16, 150)
    for epsilon, noise, account in zip(BUDGETS, terms.noises, terms.accounts, strict=True):
        assert 0.999 * epsilon < account.epsilon(DELTA) <= epsilon
        assert opacus_epsilon([(noise, terms.rate, 30)], DELTA) == pytest.approx(epsilon, abs=0.03)


def test_every_group_meets_the_noise_that_it_is_accounted_with() -> None:
    """The noise on the sum is one number, and each group's own multiple of its own norm."""
    records = blobs()
    for method in ("sample", "scale"):
        defence = made(method=method, max_grad_norm=0.7)
        terms = defence.terms(3, 16, 150)
        part = defence.part(Randomness(0), terms, records, np.arange(150))
        limits = np.broadcast_to(part.clip.limits(torch.arange(300), torch.zeros(300)), 300)
        own = group_numbers(records, "id", (), SHARES)
        assert {*own} == {0, 1}
        spread = part.clip.spread(terms.noise)
        assert spread / limits == pytest.approx(np.array(terms.noises)[own], rel=1e-6)
        rates = np.broadcast_to(part.rate, 150)
        assert rates == pytest.approx(np.array(terms.rates)[own[:150]])
        assert np.dot(limits, 1 / limits) == pytest.approx(300)
        if method == "scale":
            assert np.dot([limits[own == k][0] for k in (0, 1)], SHARES) == pytest.approx(0.7, rel=1e-6)


def test_every_record_comes_as_often_as_its_group() -> None:
    rates = torch.tensor([0.02] * 40 + [0.3] * 20 + [1.0], dtype=torch.float64)
    taken = np.zeros((3000, 61), bool)
    for step, batch in enumerate(poisson(np.arange(61), rates, 3000, Randomness(0).generator("sample"))):
        taken[step, batch.numpy()] = True
    q = rates.numpy()[:60]
    surprise = ((taken.sum(0)[:60] - 3000 * q) ** 2 / (3000 * q * (1 - q))).sum()
    assert stats.chi2.sf(surprise, 60) > 1e-4
    assert taken[:, 60].all()


def one_step(mine: Any, norms: Any, engine: str) -> tuple[dict[str, Any], Any, Any]:
    """Return the sum of cut gradients of one step without noise, the module and the plan."""
    recipe = dataclasses.replace(RECIPE, epochs=1, lr=1.0)
    plan = Setup.of(recipe, blobs(40)).plan
    terms = Terms(count=40, rate=1.0, divisor=40.0, steps=1, noise=0.0, delta=DELTA, factors=(1.0,))
    module, clip = initialised(plan, 1), ByRecord(float(norms.max()), norms)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    if engine == "batched":
        graph = structure(plan)
        assert graph is not None
        found = train(plan, graph, [module], terms, [clip], [mine], [Randomness(1)])[0]
    else:
        found = train_one(plan, module, terms, clip, mine, Randomness(1), engine)  # type: ignore[arg-type]
    return {name: 40 * (before[name] - found[name]) for name in before}, initialised(plan, 1), plan


@pytest.mark.parametrize("engine", ["batched", "hooks", "functorch", "ghost"])
def test_cut_sums_are_those_of_each_group_by_itself(engine: str) -> None:
    numbers = torch.arange(40) % 2
    norms = torch.tensor([0.2, 0.9])[numbers]
    sums, module, plan = one_step(np.arange(40), norms, engine)
    apart = [clipped_sum(module, plan.x[numbers == k], plan.y[numbers == k], F.cross_entropy, c) for k, c in
             enumerate((0.2, 0.9))]  # fmt: skip
    assert all(bool((lengths > 0.2).any()) for _, lengths in apart)
    for name, total in sums.items():
        assert torch.allclose(total.double(), apart[0][0][name] + apart[1][0][name], atol=1e-5), name


def test_no_record_moves_the_sum_by_more_than_its_own_norm() -> None:
    norms = torch.tensor([0.05, 0.4])[torch.arange(40) % 2]
    whole, _, _ = one_step(np.arange(40), norms, "batched")
    moved = []
    for i in range(40):
        rest, _, _ = one_step(np.delete(np.arange(40), i), norms, "batched")
        moved.append(math.sqrt(sum(float((whole[name] - rest[name]).double().square().sum()) for name in whole)))
    assert (np.array(moved) <= norms.numpy() * (1 + 1e-3) + 2e-5).all(), "up to the rounding of weights near one"
    assert max(moved) > 0.3


@pytest.mark.parametrize(("method", "engine"), [("sample", "batched"), ("scale", "batched"), ("scale", "opacus")])
def test_models_are_the_same_however_they_are_grouped(method: str, engine: str) -> None:
    records = blobs()
    recipe = made(method=method, engine=engine).wrap(RECIPE, NONE)
    rows = [np.arange(0, 150), np.arange(100, 250), np.arange(3, 153)]
    together = recipe.fit_many(records, rows, [1, 2, 3])
    for k, target in enumerate(together):
        one, other = target.state(), recipe.fit(records, rows[k], k + 1).state()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_larger_budgets_are_used_more() -> None:
    lengths, rates = made(method="scale").terms(3, 16, 150).lengths, made().terms(3, 16, 150).rates
    assert lengths[1] / lengths[0] > 1.5
    assert rates[1] / rates[0] > 1.5
    records = blobs()
    alike, scaled_, drawn = (
        made(method=method, groups=groups).wrap(RECIPE, NONE).fit(records, np.arange(150), 0).state()
        for method, groups in (("scale", (0,) * 300), ("scale", (0, 1) * 150), ("sample", (0, 1) * 150))
    )
    assert not np.array_equal(alike["0.weight"], scaled_["0.weight"])
    assert not np.array_equal(drawn["0.weight"], scaled_["0.weight"])


def test_a_record_has_its_group_whoever_else_is_there() -> None:
    records = blobs(4000)
    own = group_numbers(records, "id", (), (0.54, 0.37, 0.09))
    counted = np.bincount(own)
    assert stats.chisquare(counted, 4000 * np.array([0.54, 0.37, 0.09])).pvalue > 1e-4
    some = np.arange(0, 4000, 7)
    assert np.array_equal(group_numbers(records.take(some), "id", (), (0.54, 0.37, 0.09)), own[some])


def test_groups_by_columns_and_lists() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "plan": ["free", "paid", "free"]})
    named = Records.build(frame, [0, 1, 0])
    assert group_numbers(named, "column:plan", ("free", "paid"), SHARES).tolist() == [0, 1, 0]
    assert group_numbers(named, "column:age", (3, 2, 1), (0.2, 0.3, 0.5)).tolist() == [2, 1, 0]
    plain = Records.build(np.array([[0.5, 1], [0.5, 0], [0.1, 1]]), [0, 1, 0])
    assert group_numbers(plain, "column:1", (), SHARES).tolist() == [1, 0, 1]
    assert group_numbers(plain, (0, 0, 1), (), SHARES).tolist() == [0, 0, 1]
    for records, groups, values in (
        (named, "column:plan", ("free", "gold")), (named, "column:pan", ()),
        (plain, "column:2", ()), (plain, "column:0", ()), (plain, (0, 1), ()),
    ):  # fmt: skip
        with pytest.raises(DataError):
            group_numbers(records, groups, values, SHARES)


@pytest.mark.parametrize("method", ["sample", "scale"])
def test_the_claim_lists_every_group_and_states_the_largest(method: str) -> None:
    claim = made(method=method).claim(RECIPE, 152)
    assert (claim.epsilon, claim.delta, claim.guarantee, claim.adjacency) == (3.0, DELTA, "G1", "add_remove")
    groups = claim.ledger[0]["groups"]
    assert [group["epsilon"] for group in groups] == list(BUDGETS)
    for group in groups:
        spent = Account(event_of(group["event"])).epsilon(DELTA)
        assert 0.997 * group["epsilon"] < spent <= group["epsilon"]
        assert spent == pytest.approx(group["spent"])
        assert steps([group["event"]]) == 30
    assert Account(composed(claim.ledger)).epsilon(DELTA) == pytest.approx(groups[1]["spent"])
    assert steps(claim.ledger) == 30
    assert "Opacus PRV" in claim.accountant
    assert any("1, 3" in text for text in claim.assumptions)
    assert any("public" in text and "sensitive" in text for text in claim.assumptions)


def test_terms_hold_for_budgets_in_any_order() -> None:
    terms = made(epsilons=(3.0, 1.0), shares=(0.25, 0.75), method="scale").terms(3, 16, 150)
    assert isinstance(terms, GroupTerms)
    assert terms.largest == 0
    assert terms.lengths[0] > 1 > terms.lengths[1]
    assert 2.99 < terms.account.epsilon(DELTA) <= 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilons": (1.0, math.inf)}, "epsilons"),
        ({"epsilons": (1.0, 0.0)}, "epsilons"),
        ({"epsilons": (1.0, 100.0)}, "bounds no attack"),
        ({"epsilons": 1.0}, "a list"),
        ({"epsilons": ()}, "epsilons"),
        ({"shares": (0.5, 0.4)}, "add up"),
        ({"shares": (0.5, 0.3, 0.2)}, "share for each"),
        ({"method": "guess"}, "method"),
        ({"groups": "column:"}, "groups"),
        ({"groups": "group"}, "groups"),
        ({"groups": (0, 1, 2)}, "groups"),
        ({"groups": (0, 1), "values": ("a", "b")}, "values"),
        ({"groups": "column:a", "values": ("a",)}, "values"),
        ({"values": ("a", "b")}, "values"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
    ],
)
def test_parameters_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**options)


def test_sampling_needs_batches() -> None:
    with pytest.raises(ConfigError, match="smaller than the data"):
        made(batch_size=500).claim(RECIPE, 152)
    assert made(batch_size=500, method="scale").claim(RECIPE, 152).mechanism == "gaussian"


def test_a_fingerprint_changes_with_every_parameter() -> None:
    changes: dict[str, Any] = {
        "epsilons": (1.0, 2.0), "shares": (0.5, 0.5), "method": "scale", "groups": "column:1", "delta": 1e-6,
        "max_grad_norm": 0.9, "epochs": 4, "batch_size": 32, "lr": 0.2, "batch_norm": "refuse", "engine": "opacus",
        "mode": "ghost", "release": True,
    }  # fmt: skip
    named = made(groups="column:1", values=(5, 6))
    texts = {made().wrap(RECIPE, NONE).fingerprint(), named.wrap(RECIPE, NONE).fingerprint()}
    texts |= {made(**{field: value}).wrap(RECIPE, NONE).fingerprint() for field, value in changes.items()}
    assert len(texts) == len(changes) + 2
    assert {field.name for field in dataclasses.fields(made())} == {*changes, "values"}


def test_modules_of_the_users_own_are_trained_too() -> None:
    plain = TorchRecipe(model=lambda: nn.Sequential(nn.Linear(6, 3)), epochs=3, batch_size=16, normalize="none")
    target = made(method="scale").wrap(plain, NONE).fit(blobs(), np.arange(150), 0)
    assert target.state()["0.weight"].shape == (3, 6)


def test_three_accountants_are_asked_about_every_group_and_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def listening(history: list[tuple[float, float, int]], delta: float) -> float:
        asked.append(history[0][1])
        return opacus_epsilon(history, delta)

    monkeypatch.setattr(accounting, "opacus_epsilon", listening)
    made().claim(RECIPE, 152)
    assert len(asked) == len(set(asked)) == 2
    # Another opinion of the smaller budget, which the claim does not even state, is enough.
    smaller = min(asked)
    monkeypatch.setattr(
        accounting,
        "opacus_epsilon",
        lambda history, delta: opacus_epsilon(history, delta) * (2.0 if history[0][1] == smaller else 1.0),
    )
    with pytest.raises(ModelError, match="contradict"):
        made().claim(RECIPE, 152)
