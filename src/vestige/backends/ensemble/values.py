"""What flows between the layers of M stacked models: one tensor (M, batch, ...) or a list of M tensors (batch, ...)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Value = torch.Tensor | list[torch.Tensor]


def each(value: Value) -> list[torch.Tensor]:
    """Return one tensor per model, without copying."""
    return list(value.unbind(0)) if isinstance(value, torch.Tensor) else value


def apply(function: Callable[..., torch.Tensor], *values: Value) -> Value:
    """Apply an elementwise function, in one call when every value is one tensor."""
    if all(isinstance(v, torch.Tensor) for v in values):
        return function(*values)
    return [function(*parts) for parts in zip(*map(each, values), strict=True)]


def per_model(function: Callable[..., Any], *values: Value) -> list[Any]:
    """Apply a function model by model, for operations whose last bits could depend on how many models are stacked."""
    return [function(*parts) for parts in zip(*map(each, values), strict=True)]


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """Return images (or filters) in the order in which CPU kernels read them.

    With one channel both orders are the same bytes, and torch takes the slow one unless the strides say otherwise.
    """
    if images.shape[1] == 1:
        rows, width = images.shape[-2:]
        return images.contiguous().as_strided(images.shape, (rows * width, 1, width, 1))
    return images.contiguous(memory_format=torch.channels_last)
