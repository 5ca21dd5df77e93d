"""Teachers' votes: who teaches whom, how votes are counted, and what a noisy count answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.defend.private.mechanisms import Kind, with_noise
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import IntArray

Floats = NDArray[np.float64]
Method = Literal["gnmax", "confident", "lnmax"]
Noise = Callable[[NDArray[Any], Kind, float], Floats]
"""(counts, kind, scale) → the counts with independent noise on each."""
FEWEST = 2
"""A teacher with fewer records than this abstains."""


def shards(records: Records, rows: IntArray, teachers: int, seed: int) -> list[IntArray]:
    """Return each teacher's rows: disjoint, and records of one group with one teacher.

    A record's teacher hangs on its own id (or group) and the seed alone, so that who else is a member moves nobody:
    with a shuffle of the members, one more of them would change every shard.
    """
    key = f"pate {seed}".encode()[:64]
    names = records.ids[rows] if records.groups is None else records.groups[rows]
    known = {name: _place(name, key, teachers) for name in np.unique(names).tolist()}
    places = np.array([known[name] for name in names.tolist()], np.int64)
    return [rows[places == k] for k in range(teachers)]


def _place(name: Any, key: bytes, teachers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=16, key=key).digest()) % teachers


def counted(labels: Sequence[IntArray], queries: int, classes: int) -> IntArray:
    """Return (queries, classes): how many of the teachers, each with one label per query, named each class."""
    found = np.zeros((queries, classes), np.int64)
    for own in labels:
        found[np.arange(queries), own] += 1
    return found


@dataclass(frozen=True, kw_only=True)
class Count:
    """How votes are counted: with ``noise`` on every class, a Gaussian's deviation or, for ``lnmax``, a Laplace scale.

    ``confident`` answers only where the largest count, with noise of deviation ``screen`` of its own, reaches
    ``threshold`` votes, and stops after ``most`` answers.
    """

    method: Method
    noise: float
    most: int
    screen: float = 0.0
    threshold: float = 0.0

    def answers(self, votes: IntArray, noised: Noise) -> tuple[IntArray, IntArray]:
        """Return which queries are answered, in the order they are asked, and the class that each is answered."""
        places = np.arange(len(votes), dtype=np.int64)
        if self.method == "confident":
            places = places[noised(votes.max(1), "gaussian", self.screen) >= self.threshold]
        places = places[: self.most]
        kind: Kind = "laplace" if self.method == "lnmax" else "gaussian"
        return places, noised(votes[places], kind, self.noise).argmax(1).astype(np.int64)


def seeded(seed: int) -> Noise:
    """Return noise that can be drawn again, as audits need it."""
    random = rng(seed, "pate", "noise")

    def noised(counts: NDArray[Any], kind: Kind, scale: float) -> Floats:
        draw = random.normal if kind == "gaussian" else random.laplace
        return np.asarray(counts + draw(0.0, scale, counts.shape), np.float64)

    return noised


def unpredictable(counts: NDArray[Any], kind: Kind, scale: float) -> Floats:
    """Return the counts with noise that nobody can draw again, and whose last bits do not tell what it was added to."""
    given = np.asarray(counts, np.float64)
    return np.asarray(with_noise(given.ravel(), kind, scale), np.float64).reshape(given.shape)
