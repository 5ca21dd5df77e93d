"""Everything a training run needs that is the same for all models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from vestige.backends.ensemble.losses import Loss
from vestige.backends.ensemble.optimisers import Optimiser
from vestige.backends.stopping import Stopping

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How models are trained: data of the whole pool, structure, and schedule.

    ``x``: (N, …) features and ``y``: (N,) labels, on ``device``; bytes are kept as bytes, a quarter of the traffic, and
    become float32 times ``byte_scale`` batch by batch. ``build`` makes an untrained module; ``multiplier`` maps the
    share of epochs done to a factor on the learning rate. ``mixup``: of which Beta the shares of blended batches come;
    ``stopping``: when to stop before ``epochs``.
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
    byte_scale: float | None = None
    mixup: float | None = None
    stopping: Stopping | None = None

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        """Return the features of these rows as the module reads them."""
        return self.floats(self.x.index_select(0, index))

    def floats(self, x: torch.Tensor) -> torch.Tensor:
        """Return some of the features, which may be bytes, as the module reads them."""
        if x.dtype != torch.uint8:
            return x
        x = x.to(torch.float32)
        return x if self.byte_scale is None else x.mul_(self.byte_scale)

    def rate(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch."""
        return float(self.multiplier(epoch / self.epochs))
