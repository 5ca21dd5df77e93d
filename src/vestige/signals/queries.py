"""Augmented queries: the same few variants of every record, identical for every model that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vestige.errors import UsageError
from vestige.seeds import rng

KINDS = ("flip", "shift:PIXELS", "noise:SIGMA")


def expand(names: Sequence[str]) -> list[str]:
    """Return the single variants that ``names`` stand for; a shift stands for its four directions.

    >>> expand(["flip", "shift:1"])
    ['flip', 'shift:-1,0', 'shift:1,0', 'shift:0,-1', 'shift:0,1']
    """
    variants: list[str] = []
    for name in names:
        kind, _, value = name.partition(":")
        if kind == "flip" and not value:
            variants.append("flip")
        elif kind == "shift" and value.isdigit() and int(value) > 0:
            variants += [
                f"shift:{dy},{dx}" for dy, dx in ((-int(value), 0), (int(value), 0), (0, -int(value)), (0, int(value)))
            ]
        elif kind == "noise" and _positive(value):
            variants.append(name)
        else:
            raise UsageError(f"Expected an augmented query like {', '.join(KINDS)}, got '{name}'.")
    return variants


def _positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def variants_of(x: Any, names: Sequence[str], *, seed: int, start: int) -> Iterator[Any]:
    """Yield the plain records, then each variant; ``start`` is the place of the first row among all records asked
    about.
    """
    yield x
    for name in expand(names):
        kind, _, value = name.partition(":")
        if hasattr(x, "iloc"):
            raise UsageError(f"The augmented query '{name}' needs numeric arrays, got a table with named columns.")
        if kind == "noise":
            yield _noisy(x, float(value), seed=seed, name=name, start=start)
            continue
        if x.ndim < 3:
            raise UsageError(
                f"The augmented query '{name}' needs images of shape (H, W) or (H, W, C), got rows of {x.shape[1:]}."
            )
        if kind == "flip":
            yield x[:, :, ::-1].copy()
        else:
            dy, dx = (int(part) for part in value.split(","))
            yield _shifted(x, dy, dx)


def _noisy(x: np.ndarray[Any, Any], sigma: float, *, seed: int, name: str, start: int) -> np.ndarray[Any, Any]:
    noise = np.empty(x.shape, np.float32)
    for row in range(len(x)):
        noise[row] = rng(seed, "query", name, start + row).standard_normal(x.shape[1:], np.float32)
    return x.astype(np.float32) + np.float32(sigma) * noise


def _shifted(x: np.ndarray[Any, Any], dy: int, dx: int) -> np.ndarray[Any, Any]:
    moved = np.zeros_like(x)
    height, width = x.shape[1:3]
    moved[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = x[
        :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return moved
