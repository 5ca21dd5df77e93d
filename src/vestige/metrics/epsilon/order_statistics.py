"""order_statistics: a lower confidence bound on the μ of a Gaussian mechanism, from the surest guesses of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, EpsilonBound
from vestige.metrics.epsilon.declaration import Declaration
from vestige.metrics.epsilon.quadrature import legendre
from vestige.metrics.epsilon.surest import guess_surest
from vestige.metrics.estimate import Array
from vestige.privacy_claim import Mechanism

NODES = 96
OUTSIDE = 1e-13  # the probability that the integral over the cut leaves out at either end
FAR = 40.0  # normal deviates beyond which nothing is left
NEGLIGIBLE = 1e-6  # a μ that shows nothing, and is too small to measure a coin's log-odds by


def order_statistics(
    coins: Coins, *, mechanism: Mechanism, delta: float, confidence: float = 0.95, share: float = 0.75
) -> EpsilonBound:
    """Return a lower bound on ε at ``delta`` from how many of the surest guesses are right, for a Gaussian mechanism.

    The r = ``share`` · m canaries with the most extreme scores are guessed: the highest are called included, the
    lowest left out. Whatever the scores, no μ-GDP mechanism makes the number of right guesses stochastically larger
    than that among the r largest of m independent posteriors of N(μ, 1) against N(0, 1); given the smallest of those r
    they are independent, so that law is one integral of a binomial over an order statistic, and the bound is exact.
    Xiang et al. 2025 ("Tight Privacy Audit in One Run") guess by order statistics and bound the same sum from outside.

    ``share`` must be fixed before looking. 1 guesses every canary, needs no cut among tied scores and has the highest
    ceiling; smaller shares show more of a weak leak. Scores that tie at the cut count as if the wrong ones had been
    picked.

    A mechanism declared anything but Gaussian is refused: the value is None and the reason says why. For
    "subsampled_gaussian" the answer is an estimate.
    """
    if not 0 < share <= 1:
        raise UsageError(f"Expected the share of canaries to guess to be above 0 and at most 1, got {share}.")
    declared = Declaration(method="order_statistics", mechanism=mechanism, delta=delta, confidence=confidence)
    if declared.objection:
        return declared.refuse()
    guesses = max(round(share * len(coins)), 1)
    guessed = guess_surest(coins, guesses)
    law = RightGuesses(canaries=len(coins), guesses=guesses, rate=coins.rate)
    tied = f"{guessed.tied} guesses fell among tied scores and were counted as wrong where they could be."
    return declared.answer(
        law.mu_from(guessed.right, confidence),
        law.mu_from(guesses, confidence),
        design=f"the {guesses} most extreme of {len(coins)} scores guessed, a share fixed beforehand",
        reason=tied if guessed.tied else "",
    )


@dataclass(frozen=True, kw_only=True)
class RightGuesses:
    """How many of the ``guesses`` surest guesses about ``canaries`` coins are right, at best, when μ-GDP holds.

    A canary's coin lands "included" with probability ``rate``; what the mechanism shows of it is a draw of N(μ, 1) or
    N(0, 1). Its sureness is |log-odds|, measured here in units of μ so that nothing degenerates as μ → 0.
    """

    canaries: int
    guesses: int
    rate: float = 0.5

    def mu_from(self, right: int, confidence: float) -> float:
        """Return the smallest μ ≥ 0 under which ``right`` or more right guesses are not too unlikely."""
        level = 1 - confidence
        if self.tail(right, 0.0) >= level:
            return 0.0
        high = 1.0
        while self.tail(right, high) < level:
            high *= 2
        return float(scipy.optimize.brentq(lambda mu: self.tail(right, mu) - level, 0.0, high, xtol=1e-12))

    def tail(self, right: int, mu: float) -> float:
        """Return P(at least ``right`` guesses are right), increasing in ``mu``."""
        if right <= 0:
            return 1.0
        if mu < NEGLIGIBLE:
            return float(self._binomial(right, np.array(max(self.rate, 1 - self.rate))))
        if self.guesses == self.canaries:
            return float(self._binomial(right, self._right(np.zeros(()), mu)))
        above, below = self.guesses + 1, self.canaries - self.guesses
        low, high = (
            self._cut(mu, float(mass))
            for mass in (
                scipy.special.betainccinv(above, below, OUTSIDE),
                scipy.special.betaincinv(above, below, OUTSIDE),
            )
        )
        places, weights = legendre(NODES)
        cut = (low + high) / 2 + (high - low) / 2 * places
        correct, surer = self._right(cut, mu), self._surer(cut, mu)
        log_density = (
            self.guesses * np.log(surer) + scipy.special.xlog1py(below - 1, -surer) - scipy.special.betaln(above, below)
        )
        weight = weights * (high - low) / 2 * np.exp(log_density) * self._thinning(cut, mu)
        return min(float(weight @ self._binomial(right, correct / surer)) + 2 * OUTSIDE, 1.0)

    def _binomial(self, right: int, correct: Array) -> Array:
        return scipy.special.betainc(right, self.guesses - right + 1, correct)

    def _right(self, cut: Array, mu: float) -> Array:
        """P(the likelier side is the true one, and it is surer than ``cut``)."""
        lean = self._lean(mu)
        return self.rate * scipy.special.ndtr(mu / 2 - cut + lean) + (1 - self.rate) * scipy.special.ndtr(
            mu / 2 - cut - lean
        )

    def _surer(self, cut: Array, mu: float) -> Array:
        """P(a canary is surer than ``cut``)."""
        lean = self._lean(mu)
        wrong = self.rate * scipy.special.ndtr(-mu / 2 - cut - lean) + (1 - self.rate) * scipy.special.ndtr(
            -mu / 2 - cut + lean
        )
        return self._right(cut, mu) + wrong

    def _thinning(self, cut: Array, mu: float) -> Array:
        """How fast ``_surer`` falls."""
        lean = self._lean(mu)
        bells = [_bell(side * mu / 2 - cut + side * lean) for side in (1, -1)]
        others = [_bell(side * mu / 2 - cut - side * lean) for side in (1, -1)]
        return self.rate * (bells[0] + bells[1]) + (1 - self.rate) * (others[0] + others[1])

    def _lean(self, mu: float) -> float:
        """The log-odds of the coin itself, in units of μ."""
        return math.log(self.rate / (1 - self.rate)) / mu

    def _cut(self, mu: float, mass: float) -> float:
        """The cut that a share ``mass`` of canaries is surer than."""
        centre = abs(self._lean(mu))
        low, high = max(centre - mu / 2 - FAR / 4, 0.0), centre + mu / 2 + FAR

        def excess(cut: float) -> float:
            return float(self._surer(np.array(cut), mu)) - mass

        return low if excess(low) <= 0 else float(scipy.optimize.brentq(excess, low, high))


def _bell(z: Array) -> Array:
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
