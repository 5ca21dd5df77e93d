"""A network trained on rows of a pool, and asked about records: what the compiled loops need, and calls to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.compiled.calling import call
from vestige.backends.compiled.judging import NO_AIM, Aims, Draws, plain_loss
from vestige.backends.compiled.layout import ACTIVATIONS, LOSSES, OPTIMISERS, Aim, Data, Model, Room, Shape
from vestige.backends.compiled.network import Network, State, zeros
from vestige.backends.stopping import Best, Stopping
from vestige.seeds import rng
from vestige.target import IntArray

# Records that are asked about at a time: what lies between two layers then stays in the caches.
BLOCK = 128
TALLEST = 8
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How a network is trained; ``multiplier`` maps the share of epochs done to a factor on the learning rate."""

    optimiser: str
    lr: float
    momentum: float
    decay: float
    nesterov: bool
    loss: str
    epochs: int
    batch: int
    multiplier: Callable[[float], float]
    aims: Aims = field(default_factory=Aims)
    stopping: Stopping | None = None

    def rate(self, epoch: int) -> float:
        """Return the learning rate in an epoch."""
        return self.lr * float(self.multiplier(epoch / self.epochs))


def train(
    network: Network,
    steps: Steps,
    data: Data,
    rows: IntArray,
    seed: int,
    start: State | None = None,
    on_epoch: Callable[[int, State], None] | None = None,
    best: Best | None = None,
) -> State:
    """Return the parameters that ``rows``, ``seed`` and ``start`` (by default new ones) lead to.

    ``on_epoch`` sees the parameters after each epoch, beside its number; ``best`` judges them too, says when to stop,
    and has those that are returned.
    """
    random, chosen = rng(seed, "order"), np.ascontiguousarray(rows, np.int64)
    batch = min(steps.batch, len(chosen))
    values = network.pack(network.initial(seed) if start is None else start)
    model = Model(values, zeros(network.size), zeros(0 if steps.optimiser == "sgd" else network.size))
    shape = shape_of(network, batch, LOSSES.index(steps.loss))
    room = _room(network, batch, batch * network.units[0] if len(data.ends) else 0)
    done, none, draws = 0, np.zeros(0, np.float32), Draws(steps.aims, seed)
    for epoch in range(steps.epochs):
        order = random.permutation(chosen)
        counts = [OPTIMISERS.index(steps.optimiser), int(steps.nesterov), batch, done, 0]
        reals, aim = [steps.rate(epoch), steps.decay, steps.momentum], draws.epoch(epoch, order, batch)
        _run(data, order, shape, model, room, none, counts, reals, aim)
        done += -(-len(order) // batch)
        if on_epoch is not None:
            on_epoch(epoch, network.unpack(values))
        if best is not None:
            judged = np.array(best.stopping.rows, np.int64)
            loss = plain_loss(steps.loss, _ask(network, values, data, judged), data, judged)
            best.see(loss, values.copy)
            if best.over:
                break
    return network.unpack(values if best is None else best.state)


def answers(network: Network, values: Floats, x: Floats) -> Floats:
    """Return (R, outputs) answers to (R, features) records; ``values`` as `Network.pack` returns them."""
    whole, empty, small = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int32)
    data = Data(x, np.zeros(0, np.uint8), small, whole, whole, empty, np.float32(1))
    return _ask(network, values, data, np.arange(len(x), dtype=np.int64))


def _ask(network: Network, values: Floats, data: Data, order: IntArray) -> Floats:
    whole, empty, small = np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int32)
    height = _rows(BLOCK) * sum(network.widths)
    room = Room(zeros(height), zeros(height), empty, empty, empty, whole, small)
    out = np.empty((len(order), network.units[-1]), np.float32)
    model, shape = Model(values, empty, empty), shape_of(network, BLOCK, 0)
    _run(data, order, shape, model, room, out, [0, 0, BLOCK, 0, 1], [0.0, 0.0, 0.0], NO_AIM)
    return out


def _run(
    data: Data,
    order: IntArray,
    shape: Shape,
    model: Model,
    room: Room,
    out: Floats,
    counts: list[int],
    reals: list[float],
    aim: Aim,
) -> None:
    arrays: list[Any] = [*data[:-1], order, *shape[:-2], *model, *room, out, *aim[:3]]
    call(arrays, [*shape[-2:], *counts, *aim[3:7]], [float(data.scale), *reals, *aim[7:]])


def shape_of(network: Network, batch: int, loss: int) -> Shape:
    """Return where everything lies when ``batch`` records are shown at a time."""
    widths = np.array(network.widths, np.int64)
    starts = np.concatenate([[0], np.cumsum(widths * _rows(batch))[:-1]]).astype(np.int64)
    weights, biases = np.array(network.offsets, np.int64).T.copy()
    units = np.array(network.units, np.int64)
    return Shape(units, widths, starts, weights, biases, ACTIVATIONS.index(network.activation), loss)


def _rows(batch: int) -> int:
    return -(-batch // TALLEST) * TALLEST


def _room(network: Network, batch: int, places: int) -> Room:
    height, largest = _rows(batch) * sum(network.widths), max(a * b for a, b in pairwise(network.widths))
    answers, slopes, deltas, grads, turned = (zeros(size) for size in (height, height, height, largest, largest))
    counts, lists = np.zeros(network.units[0], np.int64), np.zeros(places, np.int32)
    return Room(answers, slopes, deltas, grads, turned, counts, lists)
