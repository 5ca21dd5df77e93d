"""White-box signals: lengths of gradients, and vectors for attack models; the order of hidden units changes none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vestige.errors import UsageError
from vestige.signals.internal.inside import FLOOR, Double, Inside, InsideSignal
from vestige.target import IntArray

SHOWN = 3
DEPTHS = 4
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

Which = Literal["all", "first", "last"] | int


@dataclass(frozen=True, kw_only=True)
class GradientNorm(InsideSignal):
    """(R, 1): the logarithm of the length of the loss's gradient for each record; shorter = more likely a member.

    ``layer``: by all parameters together, by those of the first or the last layer, or of the layer with this number,
    counted from 0, or from -1 backwards. Nasr, Shokri & Houmansadr 2019, "Comprehensive Privacy Analysis of Deep
    Learning", IEEE S&P, section IV.
    """

    layer: Which = "all"

    def __post_init__(self) -> None:
        number = isinstance(self.layer, int) and not isinstance(self.layer, bool)
        if not number and self.layer not in ("all", "first", "last"):
            raise UsageError(f"Expected layer to be all, first, last or a number, got {self.layer!r}.")

    def read(self, found: Inside, y: IntArray) -> Double:  # noqa: ARG002
        """Read the lengths."""
        if self.layer == "all":
            return found.log_norm[:, None]
        place = {"first": 0, "last": -1}.get(str(self.layer), self.layer)
        count = found.lengths.shape[1]
        if not -count <= int(place) < count:
            raise UsageError(f"Expected the number of a layer below {count}, got {self.layer}.")
        return found.log_norms[:, int(place)][:, None]


@dataclass(frozen=True, kw_only=True)
class LastLayer(InsideSignal):
    """(R, 2): the logarithms of the lengths of the last layer's residual, p - e_y, and of its input.

    Their sum is the logarithm of the length of the last weight's gradient, which is their outer product; shorter = more
    likely a member.
    """

    def read(self, found: Inside, y: IntArray) -> Double:  # noqa: ARG002
        """Read the last layer."""
        return np.column_stack([found.log_slope, np.log(np.linalg.norm(found.hidden, axis=1) + FLOOR)])


@dataclass(frozen=True, kw_only=True)
class WhiteBoxVector(InsideSignal):
    """(R, 20): what a white-box attack model learns from, the same for models with more layers or other classes.

    The loss, the true class's log-odds and centred logit, the three largest log-probabilities, the lengths of the whole
    gradient, of the residual and, in four runs of layers, of their gradients; the length of the last layer's input
    and the quantiles of its values, in units of their root mean square.
    """

    def read(self, found: Inside, y: IntArray) -> Double:
        """Put the features together."""
        scale = np.sqrt((found.hidden**2).mean(axis=1)) + FLOOR
        shape = np.quantile(found.hidden / scale[:, None], QUANTILES, axis=1).T
        lengths = [found.log_norm, found.log_slope, by_depth(found)]
        columns = [scores(found, y), *lengths, np.log(np.linalg.norm(found.hidden, axis=1) + FLOOR), shape]
        features: Double = np.column_stack(columns)
        return features


@dataclass(frozen=True, kw_only=True)
class Components(InsideSignal):
    """(R, 25): what each layer did with a record: its gradient's length and how its input was filled.

    In order: the length of the whole gradient, the loss, the uncertainty (entropy over its largest value), whether the
    label is right; log-odds, centred logit, three largest log-probabilities; the gradients' lengths in four runs of
    layers; for the first layer of each run its input's length, share of values that are not zero, and peak.
    """

    def read(self, found: Inside, y: IntArray) -> Double:
        """Put the components together."""
        said = found.log_probabilities
        entropy = -(np.exp(said) * said).sum(axis=1) / np.log(max(said.shape[1], 2))
        right = said.argmax(axis=1) == y
        activity = np.column_stack([found.activity[:, run[0]] for run in runs(found.lengths.shape[1])])
        output = scores(found, y)
        columns = [found.log_norm, output[:, 0], entropy, right, output[:, 1:], by_depth(found), activity]
        features: Double = np.column_stack(columns)
        return features


def scores(found: Inside, y: IntArray) -> Double:
    """Return (R, 6): loss, log-odds and centred logit of the true class, and the largest log-probabilities."""
    said = found.log_probabilities
    at = np.arange(len(y)), y
    own = said[at]
    against = np.log(np.abs(found.slope[at])) + found.log_slope
    largest = -np.sort(-said, axis=1)[:, :SHOWN]
    if largest.shape[1] < SHOWN:
        largest = np.pad(largest, ((0, 0), (0, SHOWN - largest.shape[1])), mode="edge")
    return np.column_stack([-own, own - against, own - said.mean(axis=1), largest])


def by_depth(found: Inside) -> Double:
    """Return (R, 4): the logarithms of the gradient's lengths in four runs of layers."""
    squares = found.lengths**2
    joined = np.column_stack([np.sqrt(squares[:, run].sum(axis=1)) for run in runs(squares.shape[1])])
    lengths: Double = np.log(np.maximum(joined, FLOOR)) + found.log_slope[:, None]
    return lengths


def runs(layers: int) -> list[list[int]]:
    """Return four runs of layer numbers, first to last; with fewer than four layers some come twice."""
    if layers < DEPTHS:
        return [[k * layers // DEPTHS] for k in range(DEPTHS)]
    return [part.tolist() for part in np.array_split(np.arange(layers), DEPTHS)]
