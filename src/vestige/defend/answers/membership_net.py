"""A small network that tells members from non-members by their scores: what a defender trains to aim noise at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.seeds import rng

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MembershipNet:
    """ReLU layers over scores sorted downwards, and one logit: above 0 where they look like a member's.

    ``weights``: (inputs, outputs) of every layer; ``biases``: (outputs,). All float32.
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @classmethod
    def trained(
        cls,
        members: NDArray[Any],
        others: NDArray[Any],
        *,
        hidden: tuple[int, ...],
        epochs: int,
        lr: float,
        batch_size: int,
        seed: int,
    ) -> MembershipNet:
        """Train on two (R, C) arrays of sorted scores by plain SGD on the cross-entropy, each kind counting one half.

        No momentum and few steps on purpose: a classifier that is smooth is turned by noise that turns others, too.
        """
        x = np.concatenate([members, others]).astype(np.float32)
        y = np.repeat(np.array([1, 0], np.float32), [len(members), len(others)])
        counts = np.repeat(np.array([len(members), len(others)], np.float32), [len(members), len(others)])
        share = (len(x) / (2 * counts)).astype(np.float32)
        draw = rng(seed, "membership_net")
        net = _fresh((x.shape[1], *hidden, 1), draw)
        for _ in range(epochs):
            order = draw.permutation(len(x))
            for start in range(0, len(order), batch_size):
                own = order[start : start + batch_size]
                slopes = net._slopes(x[own], y[own], share[own])
                for weight, slope in zip((*net.weights, *net.biases), slopes, strict=True):
                    weight -= np.float32(lr) * slope
        return net

    def layers(self, x: Floats) -> list[Floats]:
        """Return what every layer hands on, the (R, 1) logits last."""
        found: list[Floats] = []
        last = len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight
            x += bias
            if place < last:
                np.maximum(x, 0, out=x)
            found.append(x)
        return found

    def logit(self, ordered: NDArray[Any]) -> Floats:
        """Return (R,) logits of scores sorted downwards."""
        found: Floats = self.layers(np.asarray(ordered, np.float32))[-1][:, 0]
        return found

    def rise(self, layers: list[Floats]) -> Floats:
        """Return how fast the logit rises with every sorted score, given what `layers` found."""
        slope: Floats = np.broadcast_to(self.weights[-1][:, 0], (len(layers[0]), len(self.weights[-1])))
        for place in range(len(self.weights) - 2, -1, -1):
            slope = (slope * (layers[place] > 0)) @ self.weights[place].T
        return slope

    def _slopes(self, x: Floats, y: Floats, share: Floats) -> list[Floats]:
        layers = self.layers(x)
        error = ((_sigmoid(layers[-1][:, 0]) - y) * share / np.float32(len(x)))[:, None]
        inputs = [x, *layers[:-1]]
        weights: list[Floats] = []
        biases: list[Floats] = []
        for place in range(len(self.weights) - 1, -1, -1):
            weights.append(inputs[place].T @ error)
            biases.append(error.sum(0))
            if place:
                error = (error @ self.weights[place].T) * (inputs[place] > 0)
        return [*weights[::-1], *biases[::-1]]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the weights and biases by name."""
        named = {f"weight{k}": one for k, one in enumerate(self.weights)}
        return named | {f"bias{k}": one for k, one in enumerate(self.biases)}

    @classmethod
    def of(cls, state: Mapping[str, NDArray[Any]]) -> MembershipNet:
        """Return the network whose `state` this is."""
        count = sum(name.startswith("weight") for name in state)
        parts = [[np.asarray(state[f"{kind}{k}"], np.float32) for k in range(count)] for kind in ("weight", "bias")]
        return cls(tuple(parts[0]), tuple(parts[1]))


def _fresh(sizes: tuple[int, ...], draw: np.random.Generator) -> MembershipNet:
    weights = [
        (draw.standard_normal((into, out)) * np.sqrt(2 / into)).astype(np.float32) for into, out in pairwise(sizes)
    ]
    return MembershipNet(tuple(weights), tuple(np.zeros(out, np.float32) for out in sizes[1:]))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)
