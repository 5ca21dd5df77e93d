"""What a ledger costs: ε by privacy loss distributions, held against two other accountants.

All accounting is dp-accounting's (and Opacus' PRV accountant's, as a third opinion); here it is asked so that its known
defect cannot pass, and only for what it can count in reasonable time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.defend.private.ledger import library
from vestige.errors import ModelError
from vestige.privacy_claim import Adjacency

ORDERS = (*(1 + k / 10 for k in range(1, 100)), *range(11, 64), *(2**k for k in range(6, 11)))
"""Rényi orders; with much noise the best one is far beyond the usual 63."""
WHOLE = tuple(order for order in ORDERS if order == int(order))
"""Orders at which a cost is quickly found, and a little larger."""
LEAST_NOISE = 0.3
"""Below this noise multiplier a loss distribution has too many values to be worth counting: ε is Rényi's."""
LARGEST = 20.0
"""An ε above this bounds no attack that matters."""
FINE = 1e-4
"""How finely losses are counted; a coarser grid is as many times faster, and its ε is a little larger."""
CLOSE = 2e-4
APART = 0.02
"""How far, of 1 + ε, Opacus' accountant may be from the exact one; it says ±0.01 of its own."""


@dataclass(frozen=True)
class Account:
    """What one event, or a composition of them, costs; ``adjacency``: what two neighbouring data sets are.

    ``grid``: how wide the steps are in which privacy losses are counted. The headline ``epsilon`` is that of privacy
    loss distributions; ``renyi`` is looser and must never be below it. ``orders``: those that it looks at.
    """

    event: Any
    adjacency: Adjacency = "add_remove"
    grid: float = FINE
    orders: tuple[float, ...] = ORDERS

    def epsilon(self, delta: float) -> float:
        """Return ε at this δ, by privacy loss distributions unless there is too little noise for them."""
        return float(self._headline.get_epsilon(delta))

    def delta(self, epsilon: float) -> float:
        """Return δ at this ε."""
        return float(self._headline.get_delta(epsilon))

    def get_delta_for_epsilon(self, epsilons: Any) -> NDArray[np.float64]:
        """Return δ at each ε: the claim's whole curve, as `vestige.metrics.epsilon.curve.limit_of` takes it."""
        return np.array([self.delta(float(one)) for one in np.atleast_1d(epsilons)])

    def renyi(self, delta: float) -> float:
        """Return ε by Rényi differential privacy."""
        with quiet():
            return float(self._renyi.get_epsilon(delta))

    @property
    def method(self) -> str:
        """Which accountant the headline is of, with its version."""
        from importlib.metadata import version

        return f"dp-accounting {version('dp-accounting')} {'PLD' if self._counted else 'RDP'}"

    @property
    def exact(self) -> bool:
        """Whether the headline is by privacy loss distributions."""
        return self._counted

    @cached_property
    def _counted(self) -> bool:
        return all(noise >= LEAST_NOISE for noise in _noises(self.event)) and not _has(self.event, "ZCDpEvent")

    @cached_property
    def _headline(self) -> Any:
        return self._pld if self._counted else self._renyi

    @cached_property
    def _pld(self) -> Any:
        return _losses(_Asked(repr(self.event), self._relation(library()), self.grid, self.event))

    @cached_property
    def _renyi(self) -> Any:
        accounts = library()
        from dp_accounting.rdp import RdpAccountant

        with quiet():
            return RdpAccountant(list(self.orders), self._relation(accounts)).compose(expanded(self.event))

    def _relation(self, accounts: Any) -> Any:
        kinds = accounts.NeighboringRelation
        return kinds.ADD_OR_REMOVE_ONE if self.adjacency == "add_remove" else kinds.REPLACE_ONE


@dataclass(frozen=True)
class _Asked:
    """An event, known by its text: compositions hold lists, which have no hash."""

    text: str
    relation: Any
    grid: float
    event: Any = field(compare=False)


@lru_cache(maxsize=4)  # what a search for noise ends with is what a claim asks about next
def _losses(asked: _Asked) -> Any:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(asked.relation, value_discretization_interval=asked.grid)
    return accountant.compose(expanded(asked.event))


def opacus_epsilon(history: list[tuple[float, float, int]], delta: float) -> float:
    """Return ε by Opacus' PRV accountant, of (noise multiplier, sampling rate, steps): the upper end of its interval.

    It knows Poisson-sampled Gaussian steps alone, for adding or removing a record, and is wide by ±0.01.
    """
    from opacus.accountants import PRVAccountant

    account = PRVAccountant()
    account.history = list(history)
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        # Without sampling it takes the logarithm of zero, and means minus infinity; it also speaks of Rényi orders,
        # from which it only takes how far its grid has to reach.
        warnings.filterwarnings("ignore", message="Optimal order", category=UserWarning)
        return float(account.get_epsilon(delta))


def seconded(account: Account, history: list[tuple[float, float, int]], delta: float) -> str:
    """Return which accountant ``account`` quotes, and what two others say of the same steps.

    ``history``: the steps as `opacus_epsilon` takes them. Raises ModelError where the three contradict each other:
    Rényi's ε is never below the exact one, and Opacus' is its neighbour.
    """
    headline, renyi = account.epsilon(delta), account.renyi(delta)
    if not account.exact:
        return account.method
    prv = opacus_epsilon(history, delta)
    if headline > renyi * (1 + CLOSE) or abs(prv - headline) > APART * (1 + headline):
        raise ModelError(
            f"Three accountants contradict each other about the same training: ε = {headline:.4g} by privacy loss "
            f"distributions, {renyi:.4g} by Rényi divergences, {prv:.4g} by Opacus.",
            hint="Use the versions of dp-accounting and opacus that Vestige is tested with; nothing is claimed.",
        )
    return f"{account.method} ({headline:.4g}; RDP {renyi:.4g}, Opacus PRV {prv:.4g})"


def opacus_renyi(noise: float, rate: float, count: int, delta: float) -> float:
    """Return ε by Opacus' own Rényi bounds of so many Poisson-sampled Gaussian steps, at the orders used here."""
    from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order", category=UserWarning)
        costs = np.asarray(compute_rdp(q=rate, noise_multiplier=noise, steps=count, orders=list(ORDERS)), np.float64)
        known = np.isfinite(costs)
        return float(get_privacy_spent(orders=np.array(ORDERS)[known].tolist(), rdp=costs[known], delta=delta)[0])


def renyi_seconded(noise: float, rate: float, count: int, delta: float) -> str:
    """Return which accountant counts Rényi bounds of these steps, and what Opacus says of the same.

    Raises ModelError where the two contradict each other. Privacy loss distributions have no say: where steps were
    chosen on the way, their composition is not known to hold.
    """
    own, other = Account(gaussian_steps(noise, rate, count)).renyi(delta), opacus_renyi(noise, rate, count, delta)
    if abs(other - own) > APART * (1 + own):
        raise ModelError(
            f"Two accountants contradict each other about the same training: ε = {own:.4g} by the Rényi bounds of "
            f"dp-accounting, {other:.4g} by those of Opacus.",
            hint="Use the versions of dp-accounting and opacus that Vestige is tested with; nothing is claimed.",
        )
    from importlib.metadata import version

    return f"dp-accounting {version('dp-accounting')} RDP ({own:.4g}; Opacus RDP {other:.4g})"


def gaussian_steps(noise: float, rate: float, count: int) -> Any:
    """Return the event of ``count`` Gaussian steps on Poisson samples; ``noise``: a multiple of the sensitivity."""
    events = library()
    one = events.GaussianDpEvent(noise)
    return events.SelfComposedDpEvent(one if rate >= 1 else events.PoissonSampledDpEvent(rate, one), count)


def expanded(event: Any) -> Any:
    """Return the same event without any count that dp-accounting would overlook.

    Its accountant of privacy loss distributions counts repeated randomized responses once, so each is written out.
    """
    kind = type(event).__name__
    if not _has(event, "RandomizedResponseDpEvent"):
        return event
    if kind == "SelfComposedDpEvent":
        return library().ComposedDpEvent([expanded(event.event)] * event.count)
    if kind == "ComposedDpEvent":
        return library().ComposedDpEvent([expanded(part) for part in event.events])
    return event


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing of Rényi orders that did not converge: they are left out, which only loosens the bound."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _noises(event: Any) -> Iterator[float]:
    kind = type(event).__name__
    if kind in ("GaussianDpEvent", "TruncatedSubsampledGaussianDpEvent"):
        yield float(event.noise_multiplier)
    for part in _parts(event):
        yield from _noises(part)


def _has(event: Any, name: str) -> bool:
    return type(event).__name__ == name or any(_has(part, name) for part in _parts(event))


def _parts(event: Any) -> list[Any]:
    if hasattr(event, "events"):
        return list(event.events)
    return [event.event] if hasattr(event, "event") else []
