"""One binary linear model under differential privacy, by noise on the objective or on its minimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vestige.defend.convex.curves import ORDERS, objective_perturbation, smallest_noise
from vestige.defend.convex.losses import Double, MarginLoss
from vestige.defend.convex.solver import minimise
from vestige.errors import ConfigError

FLOOR = 1e-11
"""The least gradient, as a share of the problem's scale, that the solver is asked for: ten times what it can reach."""
SHARE_OF_RELEASE = 0.01
"""The share of ε and of δ that pays for releasing a minimiser that was only nearly reached."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """n records of norm at most ``norm`` with labels −1 and 1, a loss of their margins, and what may be spent.

    ``regularization``: Λ of the objective mean ℓ + Λ/2 ‖θ‖². ``count``: how many records there are said to be, in place
    of n: what adding a record must not move, where the claim is about that.
    """

    x: Double
    y: Double
    loss: MarginLoss
    norm: float
    regularization: float
    epsilon: float
    delta: float = 0.0
    count: int | None = None

    @property
    def size(self) -> int:
        """The number of records as it is made public."""
        return len(self.x) if self.count is None else self.count

    @property
    def strength(self) -> float:
        """nΛ, the regularisation of the sum."""
        return self.size * self.regularization


def sphere_noise(d: int, rate: float, rng: np.random.Generator) -> Double:
    """Return a vector of density proportional to exp(−rate ‖b‖): an even direction, a length of Gamma(d, 1/rate)."""
    direction = rng.standard_normal(d)
    return np.asarray(direction / np.linalg.norm(direction) * rng.gamma(d, 1 / rate))


def output_perturbation(p: Problem, rng: np.random.Generator) -> Double:
    """Return the minimiser plus noise; ε-DP for δ = 0, otherwise (ε, δ) by a Gaussian, for exchanging one record.

    Two data sets that differ in one record have minimisers at most 2R/(nΛ) apart. Chaudhuri, Monteleoni & Sarwate 2011,
    "Differentially Private Empirical Risk Minimization", JMLR 12, algorithm 1.
    """
    theta = minimise(p.x, p.y, p.loss, strength=p.strength)
    sensitivity = 2 * p.norm / p.strength
    if p.delta == 0:
        return theta + sphere_noise(len(theta), p.epsilon / sensitivity, rng)
    return theta + sensitivity * gaussian_sigma(p.epsilon, p.delta) * rng.standard_normal(len(theta))


def objective_budget(p: Problem) -> tuple[float, float]:
    """Return what is left of ε for the noise, and how much regularisation has to be added.

    Chaudhuri et al. 2011, algorithm 2, with the curvature cR² of records of norm up to R.
    """
    bend = p.loss.curvature * p.norm**2 / p.strength
    left = p.epsilon - 2 * math.log1p(bend)
    if left > 0:
        return left, 0.0
    wanted = p.loss.curvature * p.norm**2 / math.expm1(p.epsilon / 4)
    return p.epsilon / 2, max(0.0, wanted - p.strength)


def pure_objective(p: Problem, rng: np.random.Generator) -> Double:
    """Return the minimiser of the objective plus a random linear term; ε-DP for exchanging one record.

    Chaudhuri, Monteleoni & Sarwate 2011, algorithm 2; with records of norm up to R the noise has rate ε'/(2R).
    """
    left, extra = objective_budget(p)
    b = sphere_noise(p.x.shape[1], left / (2 * p.norm), rng)
    return minimise(p.x, p.y, p.loss, strength=p.strength + extra, linear=b)


def rdp_objective(p: Problem, rng: np.random.Generator) -> Double:
    """Return the minimiser of the objective plus a Gaussian linear term; (ε, δ) for adding or removing one record.

    Regularisation that is too weak for any noise is raised to twice the curvature of one record. Redberg, Koskela &
    Wang 2023, NeurIPS, theorem 3.
    """
    curvature = p.loss.curvature * p.norm**2
    strength = max(p.strength, least_strength(curvature, p.epsilon))
    sigma = rdp_noise(p.norm, curvature, strength, p.epsilon, p.delta)
    b = np.asarray(sigma * rng.standard_normal(p.x.shape[1]))
    return minimise(p.x, p.y, p.loss, strength=strength, linear=b)


def least_strength(curvature: float, epsilon: float) -> float:
    """Return a regularisation of the sum that leaves half of ε for the noise."""
    return curvature / -math.expm1(-epsilon / 2)


def approximate_minima(p: Problem, rng: np.random.Generator, *, mode: str = "rdp") -> Double:
    """Return a minimiser that need only be nearly reached, with noise before and after; (ε, δ).

    ``mode``: paper, the constants of Iyengar et al. for exchanging one record; rdp, the Rényi bound of
    `rdp_objective` for adding or removing one, with a second Gaussian for the rest of the way to the minimum.
    Iyengar, Near, Song, Thakkar, Thakurta & Wang 2019, "Towards Practical Differentially Private Convex Optimization",
    IEEE S&P, algorithm 1 and section V (the defaults without hyperparameters).
    """
    d = p.x.shape[1]
    spent, slack = SHARE_OF_RELEASE * p.epsilon, SHARE_OF_RELEASE * p.delta
    first = p.epsilon - spent
    sigma, total = first_noise(p, first, p.delta - slack, mode=mode)
    b = np.asarray(sigma * rng.standard_normal(d))
    # On the sum, γ = 1/n² of the mean is 1/n; what no solver could reach with so many records is not asked for. All of
    # this is public: how near the minimum the solver comes must not hang on the records.
    tolerance = max(1 / p.size, FLOOR * (p.size * p.norm + total + sigma * math.sqrt(d)))
    # Both minimisers are missed by up to the gradient over the strength, in any two directions.
    reach = 2 * tolerance / total
    ratio = (1 + math.sqrt(2 * math.log(1 / slack))) / spent if mode == "paper" else gaussian_sigma(spent, slack)
    theta = minimise(p.x, p.y, p.loss, strength=total, linear=b, tolerance=tolerance)
    return np.asarray(theta + reach * ratio * rng.standard_normal(d))


def first_noise(p: Problem, epsilon: float, delta: float, *, mode: str) -> tuple[float, float]:
    """Return the deviation of the noise on the objective and the regularisation, both of the sum, for this budget."""
    curvature = p.loss.curvature * p.norm**2
    if mode == "paper":
        third = epsilon * noise_share(p.epsilon)
        # Λ of the paper: its objective has Λ/(2n), which is Λ on the sum.
        total = max(2 * curvature / (epsilon - third), p.strength)
        return 2 * p.norm * (1 + math.sqrt(2 * math.log(1 / delta))) / third, total
    total = max(p.strength, least_strength(curvature, epsilon))
    return rdp_noise(p.norm, curvature, total, epsilon, delta), total


@lru_cache(maxsize=256)
def rdp_noise(slope: float, curvature: float, strength: float, epsilon: float, delta: float) -> float:
    """Return the least deviation of a Gaussian linear term that is (ε, δ), of `objective_perturbation`."""
    return smallest_noise(
        lambda s: objective_perturbation(ORDERS, sigma=s, slope=slope, curvature=curvature, strength=strength),
        epsilon,
        delta,
    )


def noise_share(epsilon: float) -> float:
    """Return ε₃/ε₁, the share of the first budget that the noise on the objective gets."""
    fitted = min(0.88671 + 0.0186607 / epsilon**0.372906, 0.99)
    return float(max(fitted, 1 - 1 / epsilon + 0.001))


def gaussian_sigma(epsilon: float, delta: float) -> float:
    """Return the least σ of a Gaussian mechanism of sensitivity 1 that is (ε, δ)-DP."""
    from vestige.errors import MissingDependency

    try:
        import dp_accounting
    except ImportError as error:
        raise MissingDependency("dp-accounting", extra="dp", purpose="Accounting for privacy") from error
    if delta <= 0:
        raise ConfigError("A Gaussian mechanism needs a delta above 0.", hint="Set delta = 1e-5.")
    return float(dp_accounting.get_sigma_gaussian(epsilon, delta))
