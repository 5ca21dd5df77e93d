"""Arithmetic on many answers, a few rows at a time, so that what is worked on stays in the processor's caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = 1 << 15


def spans(values: NDArray[Any]) -> Iterator[slice]:
    """Yield runs of rows of an (R, C) array that hold some ten thousand numbers each."""
    size = max(1, _NUMBERS // max(values.shape[1], 1))
    for first in range(0, len(values), size):
        yield slice(first, min(first + size, len(values)))


def softmax_rows(logits: NDArray[Any], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return (R, C) float64 probabilities of logits divided by ``temperature``."""
    found = np.empty(logits.shape)
    for rows in spans(logits):
        block = found[rows]
        block[...] = logits[rows]
        block -= block.max(1, keepdims=True)
        if temperature != 1:
            block /= temperature
        np.exp(block, out=block)
        block /= block.sum(1, keepdims=True)
    return found
