"""Where the noise and the samples of a private training come from: the audit's seed, or the operating system."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vestige.errors import ModelError
from vestige.seeds import seed_for
from vestige.target import IntArray

BLOCK = 1 << 22
WORDS = 624
"""Of 32 bits each: the whole state of torch's generator on a processor."""
FIRST = 3
"""Where they begin in what torch saves of it, in units of 64 bits."""


@dataclass(frozen=True)
class Randomness:
    """One model's own generators; with ``release`` nobody can draw the same again.

    Torch's generators are no cryptographic ones, and normal numbers are rounded to floats: what is proven holds up to
    that.
    """

    seed: int
    release: bool = False

    def generator(self, purpose: str, device: torch.device | None = None) -> torch.Generator:
        """Return a generator for one purpose, shared with no other."""
        made = torch.Generator("cpu" if device is None else device)
        if not self.release:
            return made.manual_seed(seed_for(self.seed, "private", purpose))
        made.manual_seed(secrets.randbits(63))
        return unguessable(made) if made.device.type == "cpu" else made

    def normal(self, like: torch.Tensor, spread: float, generator: torch.Generator) -> None:
        """Fill a tensor with normal numbers of deviation ``spread``.

        A float's normal number never exceeds 5.8 deviations, which an answer beyond that would betray, and its last
        bits tell how it was made. For a release four of them are added up, as Opacus does in its secure mode.
        """
        if not spread:
            like.zero_()
        elif not self.release:
            _drawn(like, spread, generator)
        else:
            like.zero_()
            for _ in range(4):
                part = torch.empty_like(like)
                _drawn(part, spread / 2, generator)
                like.add_(part)


def unguessable(generator: torch.Generator) -> torch.Generator:
    """Return the generator with every bit of its state from the operating system.

    A seed is not enough: of the 64 bits that torch takes, its generator on a processor uses 32, and so many sequences
    can all be tried. Raises ModelError where torch keeps the state in a form that is not known here.
    """
    state = generator.get_state().numpy().view(np.uint64).copy()
    words = state[FIRST : FIRST + WORDS]
    if len(words) < WORDS or words[0] != (generator.initial_seed() & 0xFFFFFFFF) or words.max() > 0xFFFFFFFF:
        raise ModelError(
            f"Torch {torch.__version__} keeps the state of its generator in another form than expected.",
            hint="Use the version of torch that Vestige is tested with to train a model for release.",
        )
    words[:] = np.frombuffer(secrets.token_bytes(4 * WORDS), np.uint32)
    return generator.set_state(torch.from_numpy(state.view(np.uint8)))


def poisson(
    rows: IntArray, rate: torch.Tensor | float, steps: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield the rows of each step's batch: every record by a coin of its own, so that some batches may be empty.

    ``rate``: one for all, or a tensor of doubles with each row's own.
    """
    own = torch.as_tensor(rows, dtype=torch.int64)
    block = max(1, BLOCK // max(1, len(own)))
    for start in range(0, steps, block):
        # In doubles, so that the coins are as exact as the accounting.
        coins = torch.rand(min(block, steps - start), len(own), generator=generator, dtype=torch.float64) < rate
        for taken in coins:
            yield own[taken]


def _drawn(like: torch.Tensor, spread: float, generator: torch.Generator) -> None:
    if like.device == generator.device:
        like.normal_(0.0, spread, generator=generator)
    else:
        like.copy_(torch.empty(like.shape).normal_(0.0, spread, generator=generator))
