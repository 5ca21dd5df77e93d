"""Guesses about coins made from the scores alone, as one-run bounds need them: the most extreme scores first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestige.metrics.epsilon.base import Coins


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """How many guesses were ``right``, and how many fell among ``tied`` scores that the cut runs through."""

    right: int
    tied: int = 0


def guess_surest(coins: Coins, guesses: int) -> Guessed:
    """Guess ``guesses`` canaries: the highest scores included, the lowest left out, in the proportion of the coin.

    Nothing but the scores decides which canaries are guessed, and how. Where a cut would run through tied scores,
    both cuts shift together to the nearest places that tie nothing; where there are none, the wrong guesses among the
    tied are picked first.
    """
    order = np.argsort(-coins.scores, kind="stable")
    ranked, included = coins.scores[order], coins.included[order]
    total = len(coins)
    ends = np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])  # ends[k]: the first k tie with none of the rest
    wanted = round(guesses * coins.rate)
    clean = np.flatnonzero(ends[: guesses + 1] & ends[total - guesses :])
    if len(clean):
        top = int(clean[np.argmin(np.abs(clean - wanted))])
        right = np.sum(included[:top]) + np.sum(~included[total - guesses + top :])
        return Guessed(right=int(right))
    places = np.flatnonzero(ends)
    above, tied_above = _fewest(included, wanted, places)
    below, tied_below = _fewest(~included[::-1], guesses - wanted, (total - places)[::-1])
    return Guessed(right=above + below, tied=tied_above + tied_below)


def _fewest(hits: NDArray[np.bool_], count: int, places: NDArray[np.int64]) -> tuple[int, int]:
    """Return the fewest hits among the first ``count`` when ties may be ordered at will, and how many ties are picked.

    ``places`` are the counts that split no tie, ascending from 0 to all.
    """
    start = int(places[np.searchsorted(places, count, side="right") - 1])
    if start == count:
        return int(hits[:count].sum()), 0
    stop = int(places[np.searchsorted(places, count)])
    misses = int((~hits[start:stop]).sum())
    return int(hits[:start].sum()) + max(count - start - misses, 0), count - start
