"""How far a record's gradient may reach: a fixed norm, or one that follows a private quantile of the norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from vestige.errors import ConfigError

SLACK = 1e-6
"""Added to a norm before the division: what is cut is then a little shorter than allowed, never longer."""


class Clip(Protocol):
    """One model's clipping norm."""

    norm: float

    def spread(self, noise: float) -> float:
        """Return the standard deviation of the noise on the sum of gradients, in a step of this noise multiplier."""
        ...

    def limits(self, rows: torch.Tensor, norms: torch.Tensor) -> torch.Tensor | float:
        """Return how long the gradient of each record of a batch may be, of its row number and the gradient's norm."""
        ...

    def observe(self, norms: torch.Tensor, divisor: float) -> None:
        """See the norms of a batch's gradients, before they were cut."""
        ...


@dataclass(frozen=True)
class Part:
    """How records take part in one model's steps: how often each comes into a batch, and how far it may reach.

    ``rate``: one for all, or a tensor of doubles with one for each record.
    """

    rate: torch.Tensor | float
    clip: Clip


@dataclass(eq=False)
class Fixed:
    """The same norm in every step."""

    norm: float

    def spread(self, noise: float) -> float:
        """Return the multiplier times the norm."""
        return noise * self.norm

    def limits(self, rows: torch.Tensor, norms: torch.Tensor) -> float:  # noqa: ARG002
        """Return the norm, which is the same for all."""
        return self.norm

    def observe(self, norms: torch.Tensor, divisor: float) -> None:
        """Learn nothing."""


@dataclass(eq=False)
class ByRecord:
    """A norm of each record's own, the same in every step; ``norms``: by row number, ``norm``: the longest."""

    norm: float
    norms: torch.Tensor

    def spread(self, noise: float) -> float:
        """Return the multiplier times the longest norm."""
        return noise * self.norm

    def limits(self, rows: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Return what these rows' own norms are."""
        return self.norms[rows].to(norms.device)

    def observe(self, norms: torch.Tensor, divisor: float) -> None:
        """Learn nothing."""


@dataclass(eq=False)
class Quantile:
    """A norm that moves until a share ``quantile`` of the gradients is no longer than it.

    In each step the number of gradients within the norm is released with noise of deviation ``count_noise``, every
    record counting as plus or minus a half; ``normal()`` draws from a standard normal distribution.
    """

    norm: float
    quantile: float
    speed: float
    count_noise: float
    normal: Callable[[], float]

    def spread(self, noise: float) -> float:
        """Return the deviation with which the two releases together cost what ``noise`` alone would."""
        return split_noise(noise, self.count_noise) * self.norm

    def limits(self, rows: torch.Tensor, norms: torch.Tensor) -> float:  # noqa: ARG002
        """Return the norm, which is the same for all."""
        return self.norm

    def observe(self, norms: torch.Tensor, divisor: float) -> None:
        """Move the norm by what is released of the count."""
        within = float((norms <= self.norm).sum())
        share = 0.5 + (within - 0.5 * len(norms) + self.count_noise * self.normal()) / divisor
        self.norm *= math.exp(-self.speed * (share - self.quantile))


def split_noise(noise: float, count_noise: float) -> float:
    """Return the gradients' noise multiplier that, next to the count's noise, is worth ``noise`` for both together.

    The count moves by a half with a record, so its noise multiplier is 2 ``count_noise``, and precisions add up.

    >>> round(split_noise(1.0, 12.8), 5)
    1.00076
    """
    if noise == 0:
        return 0.0
    if not noise < 2 * count_noise:
        raise ConfigError(
            f"A count with noise of {count_noise:g} leaves nothing of a noise multiplier of {noise:g}.",
            hint=f"Set count_noise above {noise / 2:g}, or enlarge the batches.",
        )
    return float((noise**-2 - (2 * count_noise) ** -2) ** -0.5)


def shares(norms: torch.Tensor, limit: torch.Tensor | float) -> torch.Tensor:
    """Return the factor that cuts each gradient to the limit."""
    return (limit / (norms + SLACK)).clamp_(max=1.0)
