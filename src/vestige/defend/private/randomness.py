"""Where the noise and the samples of a private training come from: the audit's seed, or the operating system."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from vestige.seeds import seed_for
from vestige.target import IntArray

BLOCK = 1 << 22


@dataclass(frozen=True)
class Randomness:
    """One model's own generators; with ``release`` nobody can draw the same again.

    Torch's generators are no cryptographic ones, and normal numbers are rounded to floats: what is proven holds up to
    that.
    """

    seed: int
    release: bool = False

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator for one purpose, shared with no other."""
        seed = secrets.randbits(63) if self.release else seed_for(self.seed, "private", purpose)
        return torch.Generator().manual_seed(seed)


def poisson(rows: IntArray, rate: float, steps: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield the rows of each step's batch: every record by a coin of its own, so that some batches may be empty."""
    own = torch.as_tensor(rows, dtype=torch.int64)
    block = max(1, BLOCK // max(1, len(own)))
    for start in range(0, steps, block):
        # In doubles, so that the coins are as exact as the accounting.
        coins = torch.rand(min(block, steps - start), len(own), generator=generator, dtype=torch.float64) < rate
        for taken in coins:
            yield own[taken]
