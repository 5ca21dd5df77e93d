"""Noise on single releases: it has the law that the claim counts on, and neighbours cannot be told apart by more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("opendp")
pytest.importorskip("dp_accounting")

import vestige.defend
from vestige.defend.private.accounting import Account
from vestige.defend.private.ledger import composed
from vestige.defend.private.mechanisms import with_noise
from vestige.errors import ConfigError, DataError

DRAWS = 20_000
RARE = 1e-7
"""The noise is the operating system's, so that no seed makes a test repeatable: chance must hardly ever fail it."""


def drawn(made: Any, value: float = 0) -> np.ndarray:
    return np.asarray(made.release(np.full(DRAWS, value)).value)


@pytest.mark.parametrize(
    ("epsilon", "published"), [(0.1, 30.75), (1.0, 3.731), (4.0, 1.081), (8.0, 0.6002), (16.0, 0.3442), (32.0, 0.2049)]
)
def test_a_gaussians_deviation_is_the_exact_one(epsilon: float, published: float) -> None:
    made = vestige.defend.Gaussian(sensitivity=2.0, epsilon=epsilon, delta=1e-5)
    assert made.scale == pytest.approx(2 * published, rel=1e-3)
    claim = made.claim()
    assert claim.mu == pytest.approx(2 / made.scale)
    account = Account(composed(claim.ledger))
    assert account.exact == (epsilon < 32)  # with so little noise Rényi bounds are all that is counted
    if account.exact:
        assert account.epsilon(1e-5) == pytest.approx(epsilon, rel=2e-3)


def test_noise_has_the_law_that_it_is_claimed_to_have() -> None:
    laplace = vestige.defend.Laplace(sensitivity=3.0, epsilon=1.5)
    assert laplace.scale == pytest.approx(2.0)
    assert stats.kstest(drawn(laplace, 10.0) - 10, stats.laplace(scale=2.0).cdf).pvalue > RARE
    gaussian = vestige.defend.Gaussian(sensitivity=1.0, epsilon=1.0, delta=1e-5)
    assert stats.kstest(drawn(gaussian), stats.norm(scale=gaussian.scale).cdf).pvalue > RARE
    counts = drawn(vestige.defend.DiscreteLaplace(sensitivity=1, epsilon=0.8), 5)
    assert counts.dtype == np.int64
    seen = np.bincount(np.abs(counts - 5), minlength=12)[:12]
    law = stats.dlaplace(0.8)
    wanted = DRAWS * np.array([law.pmf(k) * (1 if k == 0 else 2) for k in range(12)])
    assert ((seen - wanted) ** 2 / wanted).sum() < stats.chi2(12).ppf(1 - RARE)


@pytest.mark.parametrize(
    ("made", "epsilon"),
    [
        (vestige.defend.Laplace(sensitivity=1, epsilon=1.0), 1.0),
        (vestige.defend.DiscreteLaplace(sensitivity=1, epsilon=1.0), 1.0),
    ],
    ids=lambda one: type(one).__name__,
)
def test_no_answer_is_likelier_of_a_neighbour_than_epsilon_allows(made: Any, epsilon: float) -> None:
    edges = np.arange(-6.5, 8.5)
    one, other = (np.histogram(drawn(made, value), edges)[0] for value in (0, 1))
    often = (one >= 50) & (other >= 50)
    assert often.sum() >= 5
    spread = np.sqrt(1 / one[often] + 1 / other[often])
    ratios = np.abs(np.log(one[often] / other[often]))
    assert (ratios <= epsilon + 5.5 * spread).all()
    # The bound is reached where both neighbours lie on one side, so that less noise would be seen.
    assert (ratios >= epsilon - 5.5 * spread).sum() >= 2


def test_the_scale_follows_the_sensitivity_and_the_budget() -> None:
    for kind, more in (("Laplace", {}), ("Gaussian", {"delta": 1e-6}), ("DiscreteGaussian", {"delta": 1e-6})):
        make = getattr(vestige.defend, kind)
        by_epsilon = [make(sensitivity=1, epsilon=e, **more).scale for e in (0.25, 1.0, 4.0)]
        by_reach = [make(sensitivity=s, epsilon=1.0, **more).scale for s in (1, 2, 5)]
        assert by_epsilon == sorted(by_epsilon, reverse=True)
        assert by_reach == sorted(by_reach)
        assert by_reach[1] == pytest.approx(2 * by_reach[0], rel=1e-5)


def test_a_discrete_gaussian_keeps_the_budget_and_is_a_little_wider() -> None:
    discrete = vestige.defend.DiscreteGaussian(sensitivity=1, epsilon=1.0, delta=1e-5)
    plain = vestige.defend.Gaussian(sensitivity=1, epsilon=1.0, delta=1e-5)
    assert plain.scale < discrete.scale < 1.2 * plain.scale
    assert 0.99 < Account(composed(discrete.claim().ledger)).epsilon(1e-5) < 1.02
    assert drawn(discrete, 3).std() == pytest.approx(discrete.scale, rel=0.04)


def test_a_release_keeps_the_shape_and_brings_its_claim() -> None:
    table = vestige.defend.Laplace(sensitivity=1.0, epsilon=0.5, unit="person").release(np.zeros((3, 2)))
    assert table.value.shape == (3, 2)
    assert (table.claim.epsilon, table.claim.delta, table.claim.unit) == (0.5, 0.0, "person")
    assert "OpenDP" in table.claim.accountant
    one = vestige.defend.Laplace(sensitivity=1.0, epsilon=0.5).release(12.0).value
    assert isinstance(one, float)
    first, second = (vestige.defend.Laplace(sensitivity=1.0, epsilon=0.5).release(12.0).value for _ in range(2))
    assert first != second
    assert with_noise(np.zeros(0), "laplace", 1.0).shape == (0,)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("Laplace", {"sensitivity": 0, "epsilon": 1.0}, "sensitivity"),
        ("Laplace", {"sensitivity": 1, "epsilon": math.inf}, "epsilon"),
        ("Laplace", {"sensitivity": 1e300, "epsilon": 1e-10}, "beyond"),
        ("Gaussian", {"sensitivity": 1, "epsilon": 1.0, "delta": 0.0}, "delta"),
        ("DiscreteLaplace", {"sensitivity": 0.5, "epsilon": 1.0}, "whole numbers"),
    ],
)
def test_mechanisms_that_cannot_be_meant(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        getattr(vestige.defend, kind)(**options)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("Laplace", math.nan, "finite"),
        ("Laplace", "twelve", "number"),
        ("Laplace", [[1.0], [1.0, 2.0]], "unequal"),
        ("Laplace", 2**53 + 1, "gaps"),
        ("DiscreteLaplace", 1.5, "whole numbers"),
        ("DiscreteLaplace", 2.0**63, "whole numbers"),
    ],
)
def test_values_that_cannot_be_released(kind: str, value: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        getattr(vestige.defend, kind)(sensitivity=1, epsilon=1.0).release(value)
