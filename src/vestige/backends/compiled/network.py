"""The shape of a network in flat arrays: where each layer lies, how it starts, and how it is told to the outside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import ModelError
from vestige.seeds import rng

# Floats: one vector of the widest registers.
LANES = 16
State = dict[str, NDArray[np.float32]]


def padded(count: int) -> int:
    """Return ``count`` rounded up to whole vectors."""
    return -(-count // LANES) * LANES


def zeros(size: int) -> NDArray[np.float32]:
    """Return float32 zeros that begin where a vector does: one that lies across two cache lines loads half as fast."""
    wider = np.zeros(size + LANES, np.float32)
    skipped = -wider.ctypes.data % (4 * LANES) // 4
    return wider[skipped : skipped + size]


@dataclass(frozen=True)
class Network:
    """Fully connected layers of these ``units``, the first of which are the features; ``names`` of their parameters."""

    units: tuple[int, ...]
    names: tuple[str, ...]
    activation: str = "relu"

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Floats in a row of each layer's answers."""
        return tuple(map(padded, self.units))

    @cached_property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """Where the weights and the bias of each layer begin among the parameters."""
        found, at = [], 0
        for before, after in pairwise(self.widths):
            found.append((at, at + before * after))
            at += (before + 1) * after
        return tuple(found)

    @property
    def size(self) -> int:
        """Floats that all parameters take, padding included."""
        return sum((before + 1) * after for before, after in pairwise(self.widths))

    def initial(self, seed: int) -> State:
        """Return new weights: uniform within one over the root of a unit's inputs, as torch's linear layers begin."""
        random, state = rng(seed, "weights"), {}
        for name, (before, after) in zip(self.names, pairwise(self.units), strict=True):
            bound = 1 / math.sqrt(before)
            state[f"{name}.weight"] = random.uniform(-bound, bound, (after, before)).astype(np.float32)
            state[f"{name}.bias"] = random.uniform(-bound, bound, after).astype(np.float32)
        return state

    def pack(self, state: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the parameters as one flat array; raises ModelError when they are not this network's."""
        values = zeros(self.size)
        for name, weight, bias in self._views(values):
            for key, view in ((f"{name}.weight", weight.T), (f"{name}.bias", bias)):
                found = state.get(key)
                if found is None or found.shape != view.shape or len(state) != 2 * len(self.names):
                    shapes = f"size mismatch for {key}: {view.shape} here, {getattr(found, 'shape', 'nothing')} there"
                    raise ModelError(
                        "The stored model does not fit this recipe.", hint="Was the recipe changed since?"
                    ) from ValueError(shapes)
                view[...] = found
        return values

    def unpack(self, values: NDArray[np.float32]) -> State:
        """Return the parameters by name, each as torch has it."""
        state = {}
        for name, weight, bias in self._views(values):
            state[f"{name}.weight"], state[f"{name}.bias"] = np.ascontiguousarray(weight.T), bias.copy()
        return state

    def _views(self, values: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Return each layer's name, its (inputs, outputs) weights and its bias, without the padding."""
        views = []
        for k, (at, end) in enumerate(self.offsets):
            before, after, width = self.units[k], self.units[k + 1], self.widths[k + 1]
            weight = values[at:end].reshape(-1, width)[:before, :after]
            views.append((self.names[k], weight, values[end : end + after]))
        return views
