"""Everything a training run needs that is the same for all models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from vestige.backends.ensemble.losses import Loss
from vestige.backends.ensemble.optimisers import Optimiser

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How models are trained: data of the whole pool, structure, and schedule.

    ``x``: (N, …) features and ``y``: (N,) labels, on ``device``; ``build`` makes an untrained module; ``multiplier``
    maps the share of epochs done to a factor on the learning rate.
    """

    x: torch.Tensor
    y: torch.Tensor
    build: Callable[[], nn.Module]
    optimiser: Optimiser
    loss: Loss
    epochs: int
    batch_size: int
    multiplier: Callable[[float], float]
    augment: Augment | None
    device: torch.device

    def rate(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch."""
        return float(self.multiplier(epoch / self.epochs))
