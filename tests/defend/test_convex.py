"""Private linear models: the exact law of the released weights is compared with the claim, in one dimension."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vestige.defend.convex.curves import ORDERS, epsilon_of, gaussian, objective_perturbation, smallest_noise
from vestige.defend.convex.frank_wolfe import choose, frank_wolfe, step_epsilon
from vestige.defend.convex.losses import HuberHinge, Logistic, MarginLoss
from vestige.defend.convex.perturbation import (
    Problem,
    approximate_minima,
    first_noise,
    gaussian_sigma,
    least_strength,
    noise_share,
    objective_budget,
    output_perturbation,
    pure_objective,
    rdp_objective,
    sphere_noise,
)
from vestige.defend.convex.solver import minimise
from vestige.errors import ConfigError, ModelError

LOSSES: list[MarginLoss] = [Logistic(), HuberHinge(0.5), HuberHinge(0.1)]
GRID = np.linspace(-60, 60, 60_001)


def linear_term(theta: np.ndarray, x: np.ndarray, y: np.ndarray, loss: MarginLoss, strength: float) -> np.ndarray:
    """The b that makes each θ the minimiser of Σℓ + strength/2 θ² + bθ."""
    z = (x * y)[:, None] * theta
    return -((x * y)[:, None] * loss.slope(z)).sum(0) - strength * theta


def log_density(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, loss: MarginLoss, strength: float, law: stats.rv_continuous
) -> np.ndarray:
    z = (x * y)[:, None] * theta
    bend = ((x**2)[:, None] * loss.bend(z)).sum(0) + strength
    return law.logpdf(linear_term(theta, x, y, loss, strength)) + np.log(bend)


@pytest.mark.parametrize("loss", LOSSES[:2], ids=["logistic", "huber"])
@pytest.mark.parametrize(("epsilon", "norm"), [(0.1, 1.0), (1.0, 1.0), (1.0, 3.0), (1.0, 12.0), (4.0, 12.0)])
def test_the_exact_loss_of_pure_objective_perturbation_stays_below_the_claim(
    loss: MarginLoss, epsilon: float, norm: float
) -> None:
    worst = 0.0
    for base in (0, 1, 3):
        n = base + 1
        shared = np.linspace(-norm, norm, base) if base else np.zeros(0)
        p = Problem(x=np.zeros((n, 1)), y=np.ones(n), loss=loss, norm=norm, regularization=1.0, epsilon=epsilon)
        left, extra = objective_budget(p)
        law = stats.laplace(scale=2 * norm / left)
        ends = [(norm, 1.0), (-norm, 1.0), (norm, -1.0), (0.0, 1.0), (norm / 2, 1.0)]
        for one, other in itertools.permutations(ends, 2):
            both = [
                log_density(
                    GRID,
                    np.append(shared, last[0]),
                    np.append(np.ones(base), last[1]),
                    loss,
                    p.strength + extra,
                    law,
                )
                for last in (one, other)
            ]
            worst = max(worst, float(np.abs(both[0] - both[1]).max()))
    assert worst <= epsilon * (1 + 1e-9)
    assert worst >= 0.2 * epsilon  # the oracle sees the leak that there is


def test_the_oracle_catches_noise_that_forgets_the_norm() -> None:
    norm, epsilon = 12.0, 1.0
    p = Problem(x=np.zeros((1, 1)), y=np.ones(1), loss=Logistic(), norm=1.0, regularization=1.0, epsilon=epsilon)
    left, extra = objective_budget(p)  # as for records of norm 1, which these are not
    law = stats.laplace(scale=2 / left)
    both = [log_density(GRID, np.array([x]), np.ones(1), Logistic(), 1 + extra, law) for x in (norm, -norm)]
    assert np.abs(both[0] - both[1]).max() > epsilon


@pytest.mark.parametrize("strength", [2.0, 5.0])
def test_the_exact_delta_of_gaussian_objective_perturbation_stays_below_the_claim(strength: float) -> None:
    epsilon, delta = 1.0, 1e-3
    sigma = smallest_noise(
        lambda s: objective_perturbation(ORDERS, sigma=s, slope=1.0, curvature=0.25, strength=strength), epsilon, delta
    )
    assert sigma == pytest.approx({2.0: 3.504, 5.0: 3.238}[strength], abs=2e-3)
    law, step = stats.norm(scale=sigma), GRID[1] - GRID[0]
    worst = 0.0
    for base in (0, 1, 3):
        shared = np.linspace(-1, 1, base) if base else np.zeros(0)
        without = np.exp(log_density(GRID, shared, np.ones(base), Logistic(), strength, law))
        assert without.sum() * step == pytest.approx(1, abs=1e-6)
        for last in (1.0, -1.0, 0.3):
            within = np.exp(log_density(GRID, np.append(shared, last), np.ones(base + 1), Logistic(), strength, law))
            for p, q in ((within, without), (without, within)):
                worst = max(worst, float(np.maximum(p - math.exp(epsilon) * q, 0).sum() * step))
    assert 1e-6 < worst <= delta


def test_too_little_regularisation_has_no_finite_bound() -> None:
    curve = objective_perturbation(ORDERS, sigma=100.0, slope=1.0, curvature=0.25, strength=0.25)
    assert np.isinf(curve).all()
    assert least_strength(0.25, 1.0) > 0.25
    with pytest.raises(ConfigError, match="No noise"):
        smallest_noise(
            lambda s: objective_perturbation(ORDERS, sigma=s, slope=1.0, curvature=0.25, strength=0.26), 0.01, 1e-5
        )


def test_the_gaussian_curve_gives_the_analytic_epsilon_up_to_its_slack() -> None:
    for epsilon, sigma in ((1.0, 3.7306), (4.0, 1.0812)):
        assert gaussian_sigma(epsilon, 1e-5) == pytest.approx(sigma, abs=1e-3)
        found = epsilon_of(gaussian(ORDERS, sigma=sigma, sensitivity=1.0), 1e-5)
        assert epsilon <= found <= epsilon * 1.12


def random_problem(seed: int, n: int = 40, d: int = 5, *, epsilon: float = 1.0, delta: float = 0.0) -> Problem:
    r = np.random.default_rng(seed)
    x = r.standard_normal((n, d))
    x /= np.maximum(1, np.linalg.norm(x, axis=1, keepdims=True))
    y = np.where(r.random(n) < 0.5, -1.0, 1.0)
    return Problem(x=x, y=y, loss=Logistic(), norm=1.0, regularization=0.05, epsilon=epsilon, delta=delta)


@pytest.mark.parametrize("loss", LOSSES, ids=["logistic", "huber", "narrow huber"])
@pytest.mark.parametrize("shape", [(60, 4), (8, 30)])
def test_the_solver_reaches_the_minimum_that_a_general_one_finds(loss: MarginLoss, shape: tuple[int, int]) -> None:
    from scipy.optimize import minimize

    r = np.random.default_rng(1)
    x, y, b = r.standard_normal(shape), np.where(r.random(shape[0]) < 0.5, -1.0, 1.0), r.standard_normal(shape[1])

    def objective(t: np.ndarray) -> float:
        return float(loss.value(y * (x @ t)).sum() + 0.35 * t @ t + b @ t)

    found = minimise(x, y, loss, strength=0.7, linear=b)
    other = minimize(objective, np.zeros(shape[1]), method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).x
    assert objective(found) <= objective(other) + 1e-9
    np.testing.assert_allclose(found, other, atol=2e-4)
    gradient = x.T @ (y * loss.slope(y * (x @ found))) + 0.7 * found + b
    assert np.linalg.norm(gradient) <= 1e-9


def test_a_solver_that_cannot_finish_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import vestige.defend.convex.solver as solver

    monkeypatch.setattr(solver, "STEPS", 1)
    p = random_problem(0)
    with pytest.raises(ModelError, match="not reached"):
        minimise(p.x, p.y, p.loss, strength=1e-3)


def test_exchanging_one_record_moves_the_minimum_no_further_than_the_noise_assumes() -> None:
    p = random_problem(2)
    start = minimise(p.x, p.y, p.loss, strength=p.strength)
    farthest = 0.0
    for seed in range(30):
        r = np.random.default_rng(seed)
        x, y = p.x.copy(), p.y.copy()
        row = r.standard_normal(5)
        x[seed], y[seed] = row / np.linalg.norm(row), -y[seed]
        farthest = max(farthest, float(np.linalg.norm(minimise(x, y, p.loss, strength=p.strength) - start)))
    assert 0.05 * 2 / p.strength < farthest <= 2 / p.strength


def test_noise_on_the_sphere_has_the_law_that_the_proof_names() -> None:
    r = np.random.default_rng(0)
    draws = np.stack([sphere_noise(6, 2.5, r) for _ in range(2000)])
    assert stats.kstest(np.linalg.norm(draws, axis=1), stats.gamma(6, scale=1 / 2.5).cdf).pvalue > 1e-3
    assert np.abs(draws.mean(0)).max() < 0.15


@pytest.mark.parametrize("method", [output_perturbation, pure_objective, rdp_objective, approximate_minima])
def test_without_a_limit_on_epsilon_every_method_finds_what_no_noise_would(method) -> None:  # type: ignore[no-untyped-def]
    delta = 0.0 if method is pure_objective else 1e-3
    p = random_problem(3, n=300, epsilon=1e6, delta=delta)
    exact = minimise(p.x, p.y, p.loss, strength=p.strength)
    np.testing.assert_allclose(method(p, np.random.default_rng(0)), exact, atol=0.02)


def test_the_published_constants_of_approximate_minima() -> None:
    assert noise_share(1.0) == pytest.approx(0.88671 + 0.0186607)
    assert noise_share(100.0) == pytest.approx(0.991)
    p = random_problem(4, n=500, epsilon=1.0, delta=1e-2)
    first = approximate_minima(p, np.random.default_rng(0), mode="paper")
    assert np.isfinite(first).all()
    assert not np.array_equal(first, approximate_minima(p, np.random.default_rng(1), mode="paper"))


@pytest.mark.parametrize(("delta", "wanted"), [(1e-2, 9.0), (1e-3, 10.5), (1e-4, 11.8)])
def test_the_published_noise_of_approximate_minima(delta: float, wanted: float) -> None:
    p = random_problem(0, epsilon=1.0, delta=delta)
    sigma, strength = first_noise(p, 0.99, 0.99 * delta, mode="paper")
    assert sigma == pytest.approx(wanted, rel=0.02)
    assert strength == pytest.approx(0.5 / (0.99 * (1 - noise_share(1.0))))
    assert first_noise(p, 0.99, 0.99 * delta, mode="rdp")[0] < 0.6 * sigma


@pytest.mark.parametrize("mode", ["paper", "rdp"])
@pytest.mark.parametrize("loss", LOSSES[:2], ids=["logistic", "huber"])
def test_the_exact_delta_of_approximate_minima_stays_below_the_claim(mode: str, loss: MarginLoss) -> None:
    epsilon, delta, step = 1.0, 1e-3, GRID[1] - GRID[0]
    ends = [(1.0, 1.0), (-1.0, 1.0), (0.3, -1.0)]
    worst = 0.0
    for base in (0, 3):
        shared = np.linspace(-1, 1, base) if base else np.zeros(0)
        p = Problem(x=np.zeros((base + 1, 1)), y=np.ones(base + 1), loss=loss, norm=1.0, regularization=1e-3,
                    epsilon=epsilon, delta=delta)  # fmt: skip
        sigma, strength = first_noise(p, epsilon, delta, mode=mode)
        laws = []
        for last in [*ends, None] if mode == "rdp" else ends:
            x, y = (shared, np.ones(base)) if last is None else (
                np.append(shared, last[0]), np.append(np.ones(base), last[1])
            )  # fmt: skip
            laws.append(np.exp(log_density(GRID, x, y, loss, strength, stats.norm(scale=sigma))))
        pairs = [(a, laws[-1]) for a in laws[:-1]] if mode == "rdp" else list(itertools.combinations(laws, 2))
        for one, other in [*pairs, *((b, a) for a, b in pairs)]:
            worst = max(worst, float(np.maximum(one - math.exp(epsilon) * other, 0).sum() * step))
    assert worst <= delta
    assert worst > 0 if mode == "rdp" else worst < 1e-15, "the published constants are far too careful"


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_exact_loss_of_output_perturbation_stays_below_the_claim(epsilon: float) -> None:
    """In one dimension the noise is Laplace's, and what counts is how far two minimisers are apart."""
    worst = 0.0
    for base, norm in ((0, 1.0), (0, 5.0), (3, 5.0)):
        shared = np.linspace(-norm, norm, base)
        places, rate = [], 0.0
        for last in ((norm, 1.0), (norm, -1.0), (norm / 2, 1.0)):
            x, y = np.append(shared, last[0])[:, None], np.append(np.ones(base), last[1])
            p = Problem(x=x, y=y, loss=Logistic(), norm=norm, regularization=2.0, epsilon=epsilon)
            places.append(float(minimise(x, y, p.loss, strength=p.strength)[0]))
            quiet = [float(output_perturbation(p, np.random.default_rng(k))[0]) - places[-1] for k in range(600)]
            rate = 1 / float(np.abs(quiet).mean())
            assert rate == pytest.approx(epsilon * p.strength / (2 * norm), rel=0.15)
            rate = epsilon * p.strength / (2 * norm)
        worst = max(worst, rate * (max(places) - min(places)))
    assert 0.2 * epsilon < worst <= epsilon


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_the_exact_delta_of_frank_wolfe_stays_below_the_claim(epsilon: float) -> None:
    """Every sequence of corners has a probability that can be written down."""
    delta, steps, radius = 1e-3, 6, 3.0
    each = step_epsilon(epsilon, delta, steps)

    def law(x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
        found = []
        for path in itertools.product((0, 1), repeat=steps):
            theta, chance = 0.0, 1.0
            for t, corner in enumerate(path):
                slope = radius * float((x * y * Logistic().slope(x * y * theta)).sum()) / count
                weights = np.exp(-each * np.array([slope, -slope]) / (2 * radius / count))
                chance *= weights[corner] / weights.sum()
                share = 2 / (t + 2)
                theta = (1 - share) * theta + share * (radius if corner == 0 else -radius)
            found.append(chance)
        return np.array(found)

    worst = 0.0
    for base in (0, 4):
        x, y = np.linspace(-1, 1, base) if base else np.zeros(0), np.ones(base)
        without = law(x, y, base + 1)
        for last in ((1.0, 1.0), (-1.0, 1.0)):
            within = law(np.append(x, last[0]), np.append(y, last[1]), base + 1)
            for p, q in ((within, without), (without, within)):
                worst = max(worst, float(np.maximum(p - math.exp(epsilon) * q, 0).sum()))
            assert np.abs(np.log(within / without)).max() > 0.1 * epsilon
    assert worst <= delta


def test_nothing_but_the_records_themselves_moves_with_their_number() -> None:
    """With one record more, what is added or removed is that record: not the regularisation, nor the divisor."""
    x = random_problem(5, n=300).x
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    for rows in (np.arange(300), np.arange(299)):
        p = Problem(x=x[rows], y=y[rows], loss=Logistic(), norm=1.0, regularization=0.05, epsilon=1.0, delta=1e-5,
                    count=300)  # fmt: skip
        assert p.strength == 15.0
        assert first_noise(p, 1.0, 1e-5, mode="rdp") == (pytest.approx(3.98, abs=0.8), 15.0)
    padded = np.vstack([x, np.zeros((1, 5))]), np.append(y, 1.0)
    options = {"radius": 2.0, "largest": 1.0, "steps": 5, "epsilon": 0.5, "count": 300}
    same = [frank_wolfe(a, b, Logistic(), rng=np.random.default_rng(0), **options) for a, b in ((x, y), padded)]
    assert np.array_equal(*same)


def test_corners_are_chosen_with_the_frequencies_of_the_exponential_mechanism() -> None:
    scores, r = np.array([0.0, 0.1, 0.3, 0.35]), np.random.default_rng(0)
    drawn = np.bincount([choose(scores, 0.05, 1.0, r) for _ in range(20_000)], minlength=4)
    wanted = np.exp(-scores / 0.1)
    assert stats.chisquare(drawn, wanted / wanted.sum() * 20_000).pvalue > 1e-3


def test_frank_wolfe_stays_in_the_ball_and_sparse_and_without_noise_it_descends() -> None:
    r = np.random.default_rng(0)
    x = r.uniform(-1, 1, (200, 50))
    y = np.sign(x[:, 0] + 0.01)
    kinds = {"radius": 5.0, "largest": 1.0, "rng": r}
    noisy = frank_wolfe(x, y, Logistic(), steps=7, epsilon=0.1, **kinds)
    assert np.count_nonzero(noisy) <= 7
    assert np.abs(noisy).sum() <= 5 + 1e-9
    exact = frank_wolfe(x, y, Logistic(), steps=200, epsilon=math.inf, **kinds)
    assert ((x @ exact > 0) == (y > 0)).mean() > 0.95
    assert step_epsilon(1.0, 1e-5, 100) == pytest.approx(0.0494, abs=1e-4)
