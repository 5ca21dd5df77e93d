"""Small pools and networks for defences that train in a way of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from vestige.backends.torch import TorchRecipe
from vestige.defend import DEFENCES
from vestige.records import Records

ROWS = [np.arange(0, 130), np.arange(40, 170), np.arange(60, 201)]
SEEDS = [5, 6, 7]
RESERVE = np.arange(240, 320)
SMALL: dict[str, dict[str, Any]] = {
    "adversarial_regularization": {"hidden": (16, 8)},
    "adversarial_training": {"steps": 2},
    "mixup_mmd": {"matched": 8},
    "stacking": {"trees": 5},
    "selena": {"models": 4, "without": 2},
    "dmp": {"kept": 0.5, "temperature": 2.0},
}


def pool(*, image: bool = False, groups: Any = None) -> Records:
    random = np.random.Generator(np.random.PCG64(3))
    y = np.arange(320) % 4
    x = random.normal(size=(320, 6)).astype(np.float32) + y[:, None]
    if image:
        x = (random.integers(0, 120, (320, 6, 6)) + 30 * y[:, None, None]).astype(np.uint8)
    return Records.build(x, y, groups=groups)


def layered(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A module that the batched engine can read."""
    width = int(np.prod(shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes))


class Branching(nn.Module):
    """A module that it cannot read, and that draws random numbers in training."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(int(np.prod(shape)), 16), nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.first(x.flatten(1)))
        if self.training and float(hidden.detach().sum()) < 1e9:
            hidden = hidden * (torch.rand_like(hidden) < 0.9)
        return self.last(hidden)


def recipe(model: Any = layered, **options: Any) -> TorchRecipe:
    return TorchRecipe(model=model, **{"epochs": 2, "batch_size": 32, "lr": 0.05, **options})


def defence(name: str, **options: Any) -> Any:
    return DEFENCES.create(name, {**SMALL[name], **options})
