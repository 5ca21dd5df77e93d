"""What the compiled loops are given: named groups of flat arrays. Read by both sides, and needs no compiler."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu")
LOSSES = ("cross_entropy", "binary", "one_hot", "number", "softened", "relaxed")
OPTIMISERS = ("sgd", "adam", "adamw")
RELU, TANH, SIGMOID, GELU, SILU, ELU, LEAKY = range(7)
CROSS_ENTROPY, BINARY, ONE_HOT, NUMBER, SOFTENED, RELAXED = range(6)
SGD, ADAM, ADAMW = range(3)
# Lengths of the two tables that the compiled entry reads: addresses and counts, and reals.
NUMBERS, REALS = 63, 10
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Data(NamedTuple):
    """The whole pool, row after row, in one of three forms; the others are empty.

    ``floats``; ``bytes``, times ``scale``; or lists of ones: ``ones[ends[r] : ends[r + 1]]`` are the features that
    record ``r`` has. ``labels`` are classes; ``numbers``, what a regression predicts.
    """

    floats: Floats
    bytes: NDArray[np.uint8]
    ones: NDArray[np.int32]
    ends: Ints
    labels: Ints
    numbers: Floats
    scale: np.float32


class Shape(NamedTuple):
    """Of each layer, its units, the same padded, and where its answers lie; then where its weights and biases lie."""

    units: Ints
    padded: Ints
    answers: Ints
    weights: Ints
    biases: Ints
    activation: int
    loss: int


class Model(NamedTuple):
    """What training changes: the parameters, and two numbers for each that its optimiser keeps."""

    values: Floats
    first: Floats
    second: Floats


class Room(NamedTuple):
    """Where a step writes: answers, slopes, gradients of answers, of weights, a turned matrix, lists by feature."""

    answers: Floats
    slopes: Floats
    deltas: Floats
    grads: Floats
    turned: Floats
    counts: Ints
    places: NDArray[np.int32]


class Aim(NamedTuple):
    """What defences change in an epoch, from `vestige.backends.objectives`.

    By place in the order: ``partners``, the place within the batch of the record that each is blended with (none:
    nothing is blended), and ``mates``, its row; by batch: ``shares`` of the records themselves. ``key`` of the units
    dropped, of which a share ``keep`` is kept. Whether a relaxed loss ``climbs`` in this epoch, flattens as the
    ``reference`` does, and judges each record ``alone``; its ``level`` and ``upper``. The levels of softened labels.
    """

    partners: Ints
    mates: Ints
    shares: Floats
    key: int
    climbs: int
    reference: int
    alone: int
    top: float
    rest: float
    penalty: float
    level: float
    upper: float
    keep: float


class Rule(NamedTuple):
    """An optimiser at one step; ``scaled`` and ``root`` correct Adam's running means for their start."""

    kind: int
    rate: np.float32
    decay: np.float32
    momentum: np.float32
    nesterov: bool
    scaled: np.float32
    root: np.float32
