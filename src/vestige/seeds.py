"""All randomness derives from (seed, path): the same path always draws the same numbers."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed that depends only on ``seed`` and ``path``."""
    text = "/".join([str(int(seed)), *map(str, path)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def rng(seed: int, *path: str | int) -> np.random.Generator:
    """Return a generator that depends only on ``seed`` and ``path``.

    >>> bool(rng(0, "split").random() == rng(0, "split").random())
    True
    """
    return np.random.Generator(np.random.PCG64(seed_for(seed, *path)))
