"""`renyi_filter`: no record spends more than its budget at any order, whatever its gradients do."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("dp_accounting")
pytest.importorskip("opacus")

from dp_accounting import get_sigma_gaussian  # noqa: E402
from dp_accounting.rdp import compute_epsilon  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from reference.slow_filter import filtered_descent, sampled_cost  # noqa: E402
from vestige.backends.ensemble import structure  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.backends.torch_setup import Setup  # noqa: E402
from vestige.defend import DEFENCES  # noqa: E402
from vestige.defend.private.accounting import Account, gaussian_steps  # noqa: E402
from vestige.defend.private.dp_batched import initialised, train  # noqa: E402
from vestige.defend.private.dp_opacus import train_one  # noqa: E402
from vestige.defend.private.filter_terms import LEAST, FilterTerms, Prices, _prices, allowed_steps  # noqa: E402
from vestige.defend.private.ledger import composed  # noqa: E402
from vestige.defend.private.randomness import Randomness  # noqa: E402
from vestige.defend.private.renyi_filter import Spending  # noqa: E402
from vestige.errors import ConfigError  # noqa: E402
from vestige.records import Records  # noqa: E402

NONE = np.zeros(0, np.int64)
DELTA = 1e-5
FULL: dict[str, Any] = {"epsilon": 1.0, "delta": DELTA, "epochs": 8, "stretch": 2.0}
SAMPLED: dict[str, Any] = {**FULL, "epochs": 3, "sampling": "poisson", "batch_size": 32}
RECIPE = TorchRecipe(
    model="mlp", hidden=(12,), epochs=3, batch_size=16, lr=0.3, momentum=0.0, weight_decay=0.0, schedule="constant",
    normalize="none",
)  # fmt: skip


def blobs(n: int = 300, width: int = 6) -> Records:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    return Records.build((3 * np.eye(3, width)[y] + random.normal(size=(n, width))).astype(np.float32), y)


def made(**options: Any) -> Any:
    return DEFENCES.create("renyi_filter", {**FULL, **options})


def spending(allowed: int, coins: Any = None, rate: float = 1.0, noise: float = 1.0) -> Spending:
    prices = _prices(noise, rate)
    return Spending(1.0, prices, prices.budget(allowed), coins)


@settings(max_examples=60, deadline=None)
@given(
    norms=st.lists(st.lists(st.floats(0, 3), min_size=4, max_size=4), min_size=1, max_size=25),
    allowed=st.integers(1, 6),
)
def test_a_record_takes_part_while_its_squares_fit_and_never_again(norms: list[list[float]], allowed: int) -> None:
    clip = spending(allowed)
    spent, gone = np.zeros(4), np.zeros(4, bool)
    for step in norms:
        limits = clip.limits(torch.arange(4), torch.tensor(step)).numpy()
        cost = np.clip(np.array(step, np.float32).astype(float) * (1 + 1e-5), LEAST, 1) ** 2
        gone |= spent + cost > allowed
        spent = np.where(gone, spent, spent + cost)
        assert limits.tolist() == (~gone).tolist()
        assert (spent <= allowed).all()
        assert clip.spent[:, 0] == pytest.approx(spent)


def test_the_present_step_is_paid_before_it_is_taken() -> None:
    """Budget for two full steps: a step of the whole length, one of 0.9, a short one that fits, then a long one."""
    clip = spending(2)
    seen = [float(clip.limits(torch.arange(1), torch.tensor([norm]))[0]) for norm in (1.0, 0.9, 0.3, 0.9, 0.1)]
    assert seen == [1, 1, 1, 0, 0], "the last would fit, and who is out stays out"


def test_what_is_not_finite_or_seems_nothing_is_charged() -> None:
    clip = spending(2)
    clip.limits(torch.arange(2), torch.tensor([0.0, 1e30]))
    assert clip.spent[:, 0].tolist() == [LEAST**2, 1.0]


def test_adversaries_that_choose_each_step_by_the_answers_stay_below_the_gaussian() -> None:
    """Fully adaptive: each of many games goes on with long gradients only where the noise was kind so far."""
    games, noise, allowed, random = 40_000, 4.0, 4, np.random.default_rng(0)
    bound = stats.norm(0, 1)
    strength = math.sqrt(allowed) / noise
    truth = np.arange(games) < games // 2
    for kind in ("chasing", "flattering"):
        clip, ratio = spending(allowed, noise=noise), np.zeros(games)
        for _ in range(40):
            far = ratio > 0.1 if kind == "chasing" else ratio < 0.1
            lengths = np.where(far, 1.0, 0.05)
            used = clip.limits(torch.arange(games), torch.from_numpy(lengths)).numpy() * lengths
            answer = truth * used + noise * random.normal(size=games)
            ratio += used * answer / noise**2 - used**2 / (2 * noise**2)
        for share in (0.01, 0.1, 0.5):
            threshold = np.quantile(ratio[~truth], 1 - share)
            caught = (ratio[truth] > threshold).mean()
            most = bound.cdf(bound.ppf(share) + strength)
            assert caught <= most + 5 * math.sqrt(most / (games // 2)), (kind, share)
            assert caught >= share, "the adversary learns something"


def descent(steps: int, limit: float, allowed: int, engine: str) -> tuple[Any, Any]:
    recipe = dataclasses.replace(RECIPE, epochs=steps, lr=2.0)
    plan = Setup.of(recipe, blobs(30)).plan
    terms = FilterTerms(
        count=30, rate=1.0, divisor=30.0, steps=1, noise=0.0, delta=DELTA, factors=(1.0,) * steps, allowed=allowed
    )
    prices = _prices(1.0, 1.0)
    clip, module = Spending(limit, prices, prices.budget(allowed)), initialised(plan, 1)
    slow = filtered_descent(
        module, plan.x, plan.y, F.cross_entropy, limit=limit, allowed=allowed, steps=steps, lr=2.0, divisor=30
    )
    if engine == "batched":
        graph = structure(plan)
        assert graph is not None
        other = Spending(limit, prices, prices.budget(allowed))
        # Beside a model of other records, so that each account is of its own model.
        mine, modules = [np.arange(30), np.arange(9)], [module, initialised(plan, 2)]
        found = train(plan, graph, modules, terms, [clip, other], mine, [Randomness(1), Randomness(2)])[0]
    else:
        found = train_one(plan, module, terms, clip, np.arange(30), Randomness(1), engine)  # type: ignore[arg-type]
    return (found, clip), slow


@pytest.mark.parametrize("engine", ["batched", "hooks", "ghost"])
def test_descent_goes_as_it_does_one_record_at_a_time(engine: str) -> None:
    (found, clip), (wanted, used) = descent(12, 1.0, 4, engine)
    assert len(set(used)) >= 4, "records leave at different steps"
    assert 12 in used, "and some never do"
    assert clip.active.tolist() == [count == 12 for count in used]
    for name, value in wanted.items():
        assert torch.allclose(found[name].double(), value, atol=2e-5), name


@pytest.mark.parametrize("engine", ["batched", "opacus"])
def test_without_stretching_it_is_plain_private_descent(engine: str) -> None:
    records, rows = blobs(), np.arange(150)
    mine = made(stretch=1.0, engine=engine)
    terms = mine.terms(8, 16, 150)
    plain = DEFENCES.create(
        "dp_sgd",
        {"noise_multiplier": terms.noise, "delta": DELTA, "epochs": 8, "batch_size": 150, "engine": engine},
    )
    one, other = (defence.wrap(RECIPE, NONE).fit(records, rows, 3).state() for defence in (mine, plain))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert plain.claim(RECIPE, 150).epsilon <= mine.claim(RECIPE, 150).epsilon


def test_the_noise_is_the_gaussians_for_the_steps_that_are_allowed() -> None:
    terms = made(epochs=100, stretch=4.0).terms(100, 16, 150)
    assert (terms.allowed, terms.steps, terms.rate, terms.divisor) == (25, 1, 1.0, 150.0)
    assert terms.noise == pytest.approx(5 * get_sigma_gaussian(1.0, DELTA), rel=1e-3)
    assert terms.noise == pytest.approx(5 * 3.7306, rel=1e-3)
    assert [allowed_steps(10, s) for s in (1.0, 1.5, 3.0, 99.0)] == [10, 6, 3, 1]


@pytest.fixture(scope="module")
def prices() -> Prices:
    return _prices(0.8, 0.1)


def test_prices_are_never_below_what_a_step_costs(prices: Prices) -> None:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    from vestige.defend.private.accounting import quiet

    squares = np.array([LEAST**2, 1e-4, 0.013, 0.2, 0.55, 0.93, 1.0])
    asked = prices.of(squares)
    orders = np.array(prices.orders)
    for square, found in zip(squares, asked, strict=True):
        for order in (2, 3, 8, 32, 64):
            true = sampled_cost(order, 0.1, 0.8 / math.sqrt(square))
            mine = found[orders == order][0]
            assert true * (1 - 1e-9) - 1e-15 <= mine <= 1.08 * true + 1e-12, (square, order)
        with quiet():
            account = RdpAccountant(list(orders)).compose(
                PoissonSampledDpEvent(0.1, GaussianDpEvent(0.8 / math.sqrt(square)))
            )
        known = np.isfinite(account.rdp)
        assert known.mean() > 0.5
        assert (found[known] >= account.rdp[known] * (1 - 1e-6) - 1e-12).all(), square
    assert (np.diff(asked, axis=0) >= -1e-15).all()


def test_sampled_records_stay_within_the_budget_at_every_order(prices: Prices) -> None:
    """Random and growing lengths; what each record really cost is counted anew, one step after another."""
    random, allowed = np.random.default_rng(0), 5
    clip = Spending(1.0, prices, prices.budget(allowed), None)
    orders = (2, 4, 8, 16, 32, 64)
    spent, used = np.zeros((6, len(orders))), np.zeros(6, int)
    scale = np.array([0.05, 0.2, 0.4, 0.7, 1.0, 3.0])
    for step in range(40):
        norms = scale * random.uniform(0.5, 1.0, 6) * (1 + step / 40)
        taken = clip.limits(torch.arange(6), torch.from_numpy(norms)).numpy() > 0
        used += taken
        for i in np.flatnonzero(taken):
            spent[i] += [sampled_cost(order, 0.1, 0.8 / min(norms[i], 1.0)) for order in orders]
    most = np.array([allowed * sampled_cost(order, 0.1, 0.8) for order in orders])
    assert (spent <= most * (1 + 1e-9)).all()
    assert used[0] == 40
    assert used[5] == allowed
    assert (np.diff(used) <= 0).all()
    assert spent[5] == pytest.approx(most), "nothing is left over where every gradient is long"


def test_whoever_is_drawn_pays_what_all_pay() -> None:
    norms = torch.tensor([0.5, 0.9])
    accounts = []
    for drawn in (torch.tensor([True, False]), torch.tensor([False, False])):
        clip = spending(3, lambda _, drawn=drawn: drawn, 0.3)
        limits = clip.limits(torch.arange(2), norms)
        assert limits.tolist() == drawn.float().tolist()
        accounts.append(clip.spent.copy())
    assert np.array_equal(accounts[0], accounts[1])


def test_sampled_noise_keeps_the_budget_by_renyi_bounds() -> None:
    terms = made(**SAMPLED).terms(3, 32, 300)
    assert (terms.steps, terms.allowed) == (10, 15)
    orders = range(2, 65)
    curve = [terms.allowed * sampled_cost(order, terms.rate, terms.noise) for order in orders]
    assert 0.99 < float(compute_epsilon(list(orders), curve, DELTA)[0]) <= 1.01
    assert 0.999 < Account(gaussian_steps(terms.noise, terms.rate, 15)).renyi(DELTA) <= 1.0


@pytest.mark.parametrize("options", [FULL, SAMPLED])
def test_models_are_the_same_however_they_are_grouped(options: dict[str, Any]) -> None:
    records = blobs()
    recipe = made(**options).wrap(RECIPE, NONE)
    rows = [np.arange(0, 150), np.arange(100, 252), np.arange(3, 153)]
    together = recipe.fit_many(records, rows, [1, 2, 3])
    for k, target in enumerate(together):
        one, other = target.state(), recipe.fit(records, rows[k], k + 1).state()
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert not any("spent" in name or "active" in name for name in one)


def test_the_claim_says_what_is_private_and_how_it_was_counted() -> None:
    claim = made().claim(RECIPE, 152)
    assert (claim.epsilon, claim.delta, claim.guarantee, claim.mechanism) == (1.0, DELTA, "G1", "gaussian")
    assert 0.999 < Account(composed(claim.ledger)).epsilon(DELTA) <= 1.0
    assert "PLD" in claim.accountant
    assert any("4 steps with the longest" in text for text in claim.assumptions)
    assert any("8 steps are taken" in text for text in claim.assumptions)
    assert any("private and is not released" in text for text in claim.assumptions)
    drawn = made(**SAMPLED).claim(RECIPE, 300)
    again = Account(composed(drawn.ledger))
    assert drawn.mechanism == "other"
    assert "RDP" in drawn.accountant
    assert "Opacus RDP" in drawn.accountant
    assert "Opacus PRV" in claim.accountant
    assert any("nor a PRV accountant" in text for text in drawn.assumptions)
    assert not any("PRV" in text for text in claim.assumptions)
    assert again.method.endswith("RDP"), "nobody who reads the ledger counts by loss distributions"
    assert 0.999 < again.epsilon(DELTA) <= 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.inf}, "epsilon"),
        ({"epsilon": 50.0}, "epsilon"),
        ({"stretch": 0.9}, "stretch"),
        ({"sampling": "some"}, "sampling"),
        ({"batch_size": 32}, "batch_size"),
        ({"delta": 0.0}, "delta"),
        ({"engine": "steam"}, "engine"),
    ],
)
def test_parameters_that_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**options)


def test_a_fingerprint_changes_with_every_parameter() -> None:
    changes: dict[str, Any] = {
        "epsilon": 2.0, "stretch": 3.0, "sampling": "none", "delta": 1e-6, "max_grad_norm": 0.9, "epochs": 4,
        "batch_size": 64, "lr": 0.2, "batch_norm": "refuse", "engine": "opacus", "mode": "ghost", "release": True,
    }  # fmt: skip
    base = made(**SAMPLED)
    texts = {base.wrap(RECIPE, NONE).fingerprint()}
    for field, value in changes.items():
        more = {"batch_size": None} if field == "sampling" else {}
        texts.add(dataclasses.replace(base, **{field: value, **more}).wrap(RECIPE, NONE).fingerprint())
    assert len(texts) == len(changes) + 1
    assert {field.name for field in dataclasses.fields(base)} == set(changes)
