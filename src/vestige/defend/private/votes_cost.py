"""What noisy counts cost, whatever the votes: ε from noise, and noise from ε, each held against other accountants.

One member moves one teacher's vote, from one class to another: two counts by one each, which is √2 in L2 norm and 2 in
L1, and the largest count by one at most. With Gaussian noise all answers together are one Gaussian mechanism's, however
the queries follow from earlier answers, and its ε is known in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from vestige.defend.private.accounting import APART, CLOSE, LARGEST, Account
from vestige.defend.private.calibration import noise_for
from vestige.defend.private.ledger import library
from vestige.defend.private.mechanisms import grown
from vestige.defend.private.voting import Method
from vestige.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class AnyVotes:
    """What is counted: ``answers`` noisy counts, and for confident ``queries`` threshold tests of ``screening`` times
    their noise.
    """

    method: Method
    queries: int
    answers: int
    screening: float
    delta: float

    @property
    def gaussian(self) -> bool:
        """Whether the noise is Gaussian."""
        return self.method != "lnmax"

    def event(self, noise: float) -> Any:
        """Return all tests and counts as one event of dp_accounting; ``noise`` in votes."""
        events = library()
        if not self.gaussian:
            # Two independent Laplace numbers hide the two counts that a member moves.
            return events.SelfComposedDpEvent(events.LaplaceDpEvent(noise), 2 * self.answers)
        votes = events.SelfComposedDpEvent(events.GaussianDpEvent(noise / math.sqrt(2)), self.answers)
        if self.method == "gnmax":
            return votes
        screens = events.SelfComposedDpEvent(events.GaussianDpEvent(noise * self.screening), self.queries)
        return events.ComposedDpEvent([screens, votes])

    def strength(self, noise: float) -> float:
        """Return μ of all tests and counts as Gaussian differential privacy: the root of what each adds, squared."""
        screened = self.queries / self.screening**2 if self.method == "confident" else 0.0
        return math.sqrt(2 * self.answers + screened) / noise

    def epsilon(self, noise: float) -> float:
        """Return ε: of the Gaussian's own curve, or for Laplace noise the sum or the composition, whichever is less."""
        if self.gaussian:
            return float(library().get_epsilon_gaussian(1 / self.strength(noise), self.delta))
        return _laplace(self, noise)[0]

    def noise(self, epsilon: float) -> float:
        """Return the least noise, in votes, that costs at most ``epsilon``."""
        return _noise(self, epsilon)

    def seconded(self, noise: float) -> str:
        """Return which accountant ``epsilon`` is of, and what others say of the same event.

        Raises ModelError where they contradict each other: Rényi's ε is never below the others', and a Gaussian's own
        curve and its privacy losses, counted, are neighbours.
        """
        return _seconded(self, noise)


@lru_cache(maxsize=64)
def _noise(votes: AnyVotes, epsilon: float) -> float:
    if not votes.gaussian:
        summed = 2 * votes.answers / epsilon
        summed = grown(summed, lambda noise: 2 * votes.answers / noise <= epsilon)
        return min(summed, noise_for(epsilon, votes.delta, votes.event))
    least = votes.strength(1.0) * float(library().get_sigma_gaussian(epsilon, votes.delta))
    # The library's search ends within its tolerance, on either side.
    return grown(least, lambda noise: votes.epsilon(noise) <= epsilon)


@lru_cache(maxsize=64)
def _laplace(votes: AnyVotes, noise: float) -> tuple[float, str]:
    """Return ε, and how it came about."""
    account, whole = Account(votes.event(noise)), 2 * votes.answers / noise
    renyi = account.renyi(votes.delta)
    if min(whole, renyi) > 2 * LARGEST:
        # It is refused anyway, and so little noise has too many losses to be counted.
        return min(whole, renyi), f"dp-accounting {version('dp-accounting')} RDP"
    counted = account.epsilon(votes.delta)
    if counted > renyi + CLOSE * (1 + renyi):
        raise _contradiction(f"{counted:.4g} by privacy loss distributions and {renyi:.4g} by Rényi divergences")
    return min(whole, counted), f"{account.method} ({counted:.4g}; RDP {renyi:.4g}, summed up {whole:.4g})"


@lru_cache(maxsize=64)
def _seconded(votes: AnyVotes, noise: float) -> str:
    if not votes.gaussian:
        return _laplace(votes, noise)[1]
    own, account = votes.epsilon(noise), Account(votes.event(noise))
    renyi, others = account.renyi(votes.delta), ""
    if account.exact:
        counted = account.epsilon(votes.delta)
        others = f"PLD {counted:.4g}, "
        if abs(counted - own) > APART * (1 + own):
            raise _contradiction(f"{own:.4g} by a Gaussian's curve and {counted:.4g} by privacy loss distributions")
    if own > renyi + CLOSE * (1 + renyi):
        raise _contradiction(f"{own:.4g} by a Gaussian's curve and {renyi:.4g} by Rényi divergences")
    return f"dp-accounting {version('dp-accounting')} Gaussian curve ({own:.4g}; {others}RDP {renyi:.4g})"


def _contradiction(found: str) -> ModelError:
    return ModelError(
        f"Accountants contradict each other about the same votes: ε = {found}.",
        hint="Use the version of dp-accounting that Vestige is tested with; nothing is claimed.",
    )
