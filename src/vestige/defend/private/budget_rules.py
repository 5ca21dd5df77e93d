"""When a budget is spent: by a Rényi filter, whose uses may be chosen on the way, or by counting planned uses.

A filter watches one order, chosen from ε and δ before anything is spent, and admits a use as long as the costs at that
order add up to what ε allows: fully adaptive composition. Privacy loss distributions are closer, and hold for uses that
were fixed beforehand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from vestige.defend.private.accounting import ORDERS, Account, expanded, quiet
from vestige.defend.private.ledger import Entry, composed
from vestige.errors import ConfigError
from vestige.privacy_claim import Adjacency

Accounting = Literal["filter", "planned"]
Uses = Sequence[Sequence[Entry]]
"""Each use's ledger."""
WHOLE = tuple(order for order in ORDERS if order == int(order))
"""At others the series for sampled noise may not converge."""


class Rule(Protocol):
    """What all uses together may cost."""

    @property
    def method(self) -> str:
        """In words."""
        ...

    def share(self, uses: Uses) -> float:
        """Return which share of the budget these uses take together; 1 is all of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Costs at one Rényi order, which add up."""

    epsilon: float
    delta: float
    adjacency: Adjacency = "add_remove"

    @property
    def order(self) -> float:
        """The order, at which Gaussian noise is counted most closely for this ε and δ."""
        best: float = max(WHOLE, key=lambda order: self._allowed(order) / order)
        return best

    @property
    def allowed(self) -> float:
        """What may be spent at the order."""
        return self._allowed(self.order)

    @property
    def method(self) -> str:
        """In words."""
        from importlib.metadata import version

        return f"dp-accounting {version('dp-accounting')} RDP, filtered at order {self.order:g}"

    def share(self, uses: Uses) -> float:
        """Return the sum of the uses' costs by what is allowed."""
        return math.fsum(self.costs(uses)) / self.allowed

    def costs(self, uses: Uses) -> list[float]:
        """Return each use's cost at the order; infinite where nothing is known of it there."""
        return [_cost(json.dumps(list(ledger), sort_keys=True), self.order, self.adjacency) for ledger in uses]

    def _allowed(self, order: float) -> float:
        """Return the largest Rényi divergence of this order that is still (ε, δ)-private."""
        return self.epsilon - math.log1p(-1 / order) + (math.log(self.delta) + math.log(order)) / (order - 1)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The ε of all uses together by privacy loss distributions, for uses that no answer decided."""

    epsilon: float
    delta: float
    adjacency: Adjacency = "add_remove"

    @property
    def method(self) -> str:
        """In words."""
        from importlib.metadata import version

        return f"dp-accounting {version('dp-accounting')} PLD"

    def share(self, uses: Uses) -> float:
        """Return the ε of all uses, composed, by the budget's."""
        if not uses:
            return 0.0
        from dp_accounting import UnsupportedEventError

        both = composed([one for ledger in uses for one in ledger])
        try:
            return Account(both, self.adjacency).epsilon(self.delta) / self.epsilon
        except UnsupportedEventError:
            return math.inf


def rule_of(accounting: Accounting, epsilon: float, delta: float, adjacency: Adjacency) -> Filter | Planned:
    """Return the rule; raises ConfigError for a budget of which nothing can be spent."""
    kind = Filter if accounting == "filter" else Planned
    rule = kind(epsilon=epsilon, delta=delta, adjacency=adjacency)
    if isinstance(rule, Filter) and rule.allowed <= 0:
        raise ConfigError(
            f"A filter leaves nothing to spend of ε = {epsilon:g} at δ = {delta:g}.",
            hint="Raise epsilon or delta, or plan all uses and set accounting = 'planned'.",
        )
    return rule


@lru_cache(maxsize=4096)
def _cost(ledger: str, order: float, adjacency: Adjacency) -> float:
    event = composed(json.loads(ledger))
    from dp_accounting import NeighboringRelation, UnsupportedEventError
    from dp_accounting.rdp import RdpAccountant

    kinds = NeighboringRelation
    relation = kinds.ADD_OR_REMOVE_ONE if adjacency == "add_remove" else kinds.REPLACE_ONE
    try:
        with quiet():
            account = RdpAccountant([order], relation).compose(expanded(event))
    except UnsupportedEventError:
        return math.inf
    return float(account.rdp[0])
