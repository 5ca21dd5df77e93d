"""How many canaries a one-run audit guesses, fixed before any coin is looked at, and how many guesses were right."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.estimate import Array, share
from vestige.seeds import rng

Tails = Literal["both", "top", "bottom"]
IntArray = NDArray[np.int64]

SCAN = (0.02, 0.04, 0.08, 0.14, 0.22, 0.34, 0.5, 0.7, 1.0)
GRID = (0.05, 0.2, 0.6)


@dataclass(frozen=True, kw_only=True)
class GuessShare:
    """Guess one fixed share of the canaries, and abstain on the rest.

    ``tails``: "both" guesses *in* for the highest scores and *out* for the lowest, in the proportion of the inclusion
    rate; "top" and "bottom" guess on one side only.
    """

    share: float = 0.2
    tails: Tails = "both"

    def __post_init__(self) -> None:
        _check((self.share,), self.tails)

    @property
    def shares(self) -> tuple[float, ...]:
        """The one share."""
        return (self.share,)

    def __str__(self) -> str:
        return f"{self.share:.0%} of the canaries guessed ({_sides(self.tails)}), fixed beforehand"


@dataclass(frozen=True, kw_only=True)
class GuessScan:
    """Follow the guesses from the most extreme scores inwards and look at several counts, at one joint price.

    The counts are nested, so their joint law under the least favourable mechanism is that of a random walk with known
    steps; the price of looking often is exact, and far below Bonferroni's.
    """

    shares: tuple[float, ...] = SCAN
    tails: Tails = "both"

    def __post_init__(self) -> None:
        _check(self.shares, self.tails)

    def __str__(self) -> str:
        return f"{_listed(self.shares)} of the canaries guessed ({_sides(self.tails)}), jointly"


@dataclass(frozen=True, kw_only=True)
class GuessBonferroni:
    """Try each share of a declared grid, each at an equal part of the error."""

    shares: tuple[float, ...] = GRID
    tails: Tails = "both"

    def __post_init__(self) -> None:
        _check(self.shares, self.tails)

    def __str__(self) -> str:
        return f"best of {_listed(self.shares)} of the canaries guessed ({_sides(self.tails)}), Bonferroni"


@dataclass(frozen=True, kw_only=True)
class GuessSplit:
    """Choose the share on a random part of the canaries (``fraction``), and audit the other part with it."""

    fraction: float = 0.3
    shares: tuple[float, ...] = SCAN
    tails: Tails = "both"

    def __post_init__(self) -> None:
        share(self.fraction, "the fraction of canaries that choose")
        _check(self.shares, self.tails)

    def __str__(self) -> str:
        return f"share guessed ({_sides(self.tails)}) chosen on {self.fraction:.0%} of the canaries, used on the rest"


Guesses = GuessShare | GuessScan | GuessBonferroni | GuessSplit


def _check(shares: tuple[float, ...], tails: str) -> None:
    if tails not in ("both", "top", "bottom"):
        raise UsageError(f'Expected tails to be "both", "top" or "bottom", got {tails!r}.')
    if not shares or not all(0 < s <= 1 for s in shares) or sorted(set(shares)) != list(shares):
        raise UsageError(f"Expected shares of guesses above 0, at most 1 and rising, got {shares}.")


def _sides(tails: Tails) -> str:
    return {"both": "both tails", "top": "highest scores", "bottom": "lowest scores"}[tails]


def _listed(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{s:.0%}" for s in shares)


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """Nested numbers of guesses among ``canaries``, and how many were right.

    ``inside`` and ``outside``: (J,) guesses of *in* and of *out* up to each look, never falling; ``correct``: (J,) how
    many of the first ``inside + outside`` were right.
    """

    canaries: int
    rate: float
    inside: IntArray
    outside: IntArray
    correct: IntArray

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def guessed(self) -> IntArray:
        """Guesses up to each look."""
        return self.inside + self.outside

    def only(self, look: int) -> Looks:
        """Return one look by itself."""
        one = slice(look, look + 1)
        return Looks(
            canaries=self.canaries,
            rate=self.rate,
            inside=self.inside[one],
            outside=self.outside[one],
            correct=self.correct[one],
        )


def perfect(canaries: int, rate: float, shares: tuple[float, ...], tails: Tails) -> Looks:
    """Return the looks of an audit in which every guess is right."""
    high = {"both": rate, "top": 1.0, "bottom": 0.0}[tails]
    inside, outside = (
        np.array([math.floor(s * canaries * part + 1e-9) for s in shares], np.int64) for part in (high, 1 - high)
    )
    return Looks(canaries=canaries, rate=rate, inside=inside, outside=outside, correct=inside + outside)


def look(coins: Coins, shares: tuple[float, ...], tails: Tails, *, seed: int) -> Looks:
    """Guess the canaries by the rank of their scores, and count what was right up to each share.

    Ties are broken at random. Where the guesses of *in* and of *out* would end among the same equal scores, those
    canaries are not guessed: their score cannot tell. What is not guessed counts as wrong, which is always allowed.
    """
    made = perfect(len(coins), coins.rate, shares, tails)
    rising, ranked = _ranked(coins, seed)
    inside, outside = made.inside.copy(), made.outside.copy()
    for j in np.flatnonzero((inside > 0) & (outside > 0)):
        lowest_in, highest_out = rising[-inside[j]], rising[outside[j] - 1]
        if lowest_in == highest_out:
            inside[j] = len(coins) - np.searchsorted(rising, lowest_in, side="right")
            outside[j] = np.searchsorted(rising, lowest_in, side="left")
    high = np.concatenate([[0], np.cumsum(ranked[::-1])])
    low = np.concatenate([[0], np.cumsum(~ranked)])
    return Looks(
        canaries=made.canaries,
        rate=made.rate,
        inside=made.inside,
        outside=made.outside,
        correct=high[inside] + low[outside],
    )


def parted(coins: Coins, fraction: float, *, seed: int) -> tuple[Coins, Coins]:
    """Return a random part of the canaries, ``fraction`` of them, and the rest; at least one canary each."""
    order = _shuffled(coins, seed, "part")
    cut = min(max(round(fraction * len(coins)), 1), len(coins) - 1)
    first, second = (
        Coins(scores=coins.scores[rows], included=coins.included[rows], rate=coins.rate)
        for rows in (order[:cut], order[cut:])
    )
    return first, second


def _ranked(coins: Coins, seed: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return scores and coins from the lowest score to the highest, ties in random order."""
    order = np.argsort(coins.scores)
    rising = coins.scores[order]
    if np.any(rising[1:] == rising[:-1]):
        shuffled = _shuffled(coins, seed, "ties")
        order = shuffled[np.argsort(coins.scores[shuffled], kind="stable")]
    return rising, coins.included[order]


def _shuffled(coins: Coins, seed: int, purpose: str) -> IntArray:
    """Return a random order of the canaries.

    Canaries often arrive with the included ones first, and one fixed order would then favour or harm every audit of
    the same size alike. So the order depends on the seed and on the audit's own content, as if drawn afresh for each;
    on ranks rather than scores, so that rescaling the scores changes nothing.
    """
    ranks = np.unique(coins.scores, return_inverse=True)[1].astype(np.int64)
    content = hashlib.blake2b(ranks.tobytes() + coins.included.tobytes(), digest_size=8).hexdigest()
    order: IntArray = rng(seed, "one_run", purpose, content).permutation(len(coins))
    return order
