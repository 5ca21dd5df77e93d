"""One model shown all of its records once: the whole training step, compiled, with no Python in the loop.

Matrices lie in flat arrays, and every row of theirs is padded with zeros to whole vectors. Weights are kept one row per
input, so that the first layer of records that are few ones is a sum of rows, and its gradient and its update need one
visit to each row, without a gradient that is ever written down.
"""

from __future__ import annotations

import numpy as np

from vestige.backends.compiled.aims import blend, drop, gradient, unblend, undrop
from vestige.backends.compiled.layout import SGD, Rule
from vestige.backends.compiled.pointwise import (
    FAST,
    activate,
    add_bias,
    column_sums,
    descend,
    through,
    update,
)
from vestige.backends.compiled.products import product, sum_eight, sum_rows, transpose
from vestige.backends.compiled.vectors import LANES, loop, part

BLOCK = 8 * LANES


@loop()
def _first_answers(data, order, start, rows, shape, model, room):
    features, width, out = shape.units[0], shape.padded[1], shape.answers[1]
    if len(data.ends):
        for i in range(rows):
            low, high = data.ends[order[start + i]], data.ends[order[start + i] + 1]
            sum_rows(
                model.values, shape.weights[0], width, data.ones, low, high - low, room.answers, out + i * width, width
            )
        return
    # Not plain 0 and 1, of which numba would make a product of their own.
    step, at, along = shape.padded[0], np.int64(0), np.int64(1)
    for i in range(rows):
        own, row = part(room.answers, i * step, features), order[start + i]
        if len(data.bytes):
            raw = part(data.bytes, row * features, features)
            for j in range(features):
                own[j] = np.float32(raw[j]) * data.scale
        else:
            given = part(data.floats, row * features, features)
            for j in range(features):
                own[j] = given[j]
    product(
        room.answers,
        at,
        step,
        along,
        model.values,
        shape.weights[0],
        width,
        room.answers,
        out,
        width,
        rows,
        width,
        features,
    )


@loop()
def forward(data, order, start, rows, shape, model, room, aim, turn):
    """Leave the answers of every layer to the batch that begins at ``start``."""
    layers, along = len(shape.weights), np.int64(1)
    for k in range(layers):
        given, out, step, width = shape.answers[k], shape.answers[k + 1], shape.padded[k], shape.padded[k + 1]
        if k == 0:
            _first_answers(data, order, start, rows, shape, model, room)
            if len(aim.partners):
                blend(room.answers, room.deltas, out, width, rows, start, aim, turn)
        else:
            product(
                room.answers, given, step, along, model.values, shape.weights[k], width, room.answers, out, width,
                rows, width, shape.units[k],
            )  # fmt: skip
        columns = shape.units[k + 1]
        if k + 1 < layers:
            activate(
                shape.activation, room.answers, out, width, columns, rows, model.values, shape.biases[k], room.slopes
            )
            if aim.keep < 1:
                drop(shape.activation, room.answers, room.slopes, out, width, columns, rows, aim, turn, k)
        else:
            add_bias(room.answers, out, width, columns, rows, model.values, shape.biases[k])


@loop()
def _by_feature(data, order, start, rows, batch, features, room):
    """List, for each feature, which records of the batch have it: ``counts[f]`` from ``places[f * batch]`` on."""
    for f in range(features):
        room.counts[f] = 0
    for i in range(rows):
        row = order[start + i]
        for t in range(data.ends[row], data.ends[row + 1]):
            feature = data.ones[t]
            room.places[feature * batch + room.counts[feature]] = i
            room.counts[feature] += 1


@loop(fastmath=FAST)
def _update_rows(data, order, start, rows, shape, model, room, rule):
    """Update the first layer's weights a row at a time, from the gradients of the records that have its feature."""
    width, features = shape.padded[1], shape.units[0]
    at_first = np.int64(0)
    batch = len(room.places) // features
    _by_feature(data, order, start, rows, batch, features, room)
    # A block of columns at a time, so that the batch's gradients stay in the nearest cache.
    for j in range(0, width, BLOCK):
        columns, source = min(BLOCK, width - j), shape.answers[1] + j
        for f in range(features):
            first, count, at = f * batch, room.counts[f], shape.weights[0] + f * width + j
            if columns == BLOCK and rule.kind == SGD:
                # The usual case without a call, which with so many arrays would cost as much as its work.
                sum_eight(room.deltas, source, width, room.places, first, count, room.grads, 0)
                descend(rule, part(model.values, at, BLOCK), part(model.first, at, BLOCK), room.grads, BLOCK)
            else:
                sum_rows(room.deltas, source, width, room.places, first, count, room.grads, at_first, columns)
                update(rule, model.values, model.first, model.second, at, room.grads, columns)


@loop()
def _backward(data, order, start, rows, shape, model, room, rule, aim, turn):
    """Go back from the gradient of the answers, and update each layer as soon as nothing needs its weights any more."""
    at, along = np.int64(0), np.int64(1)
    for k in range(len(shape.weights) - 1, -1, -1):
        given, out, step, width = shape.answers[k], shape.answers[k + 1], shape.padded[k], shape.padded[k + 1]
        if k:
            transpose(model.values, shape.weights[k], step, width, room.turned)
            product(
                room.deltas, out, width, along, room.turned, at, step, room.deltas, given, step,
                rows, step, shape.units[k + 1],
            )  # fmt: skip
            columns = shape.units[k]
            through(shape.activation, room.deltas, given, step, columns, rows, room.answers, room.slopes, given)
            if aim.keep < 1:
                undrop(shape.activation, room.deltas, given, step, columns, rows, aim)
        column_sums(room.deltas, out, width, rows, room.grads)
        update(rule, model.values, model.first, model.second, shape.biases[k], room.grads, width)
        if k == 0 and len(aim.partners):
            unblend(room.deltas, room.answers, out, width, rows, start, aim, turn)
        if k == 0 and len(data.ends):
            _update_rows(data, order, start, rows, shape, model, room, rule)
        else:
            product(room.answers, given, along, step, room.deltas, out, width, room.grads, at, width, step, width, rows)
            update(rule, model.values, model.first, model.second, shape.weights[k], room.grads, step * width)


@loop()
def run(data, order, batch, shape, model, room, rule, aim, done):
    """Show the rows in ``order`` once, ``batch`` at a time, after ``done`` steps."""
    last = len(shape.weights)
    answers, width, columns = shape.answers[last], shape.padded[last], shape.units[last]
    start, turn = 0, 0
    while start < len(order):
        rows = min(batch, len(order) - start)
        done += 1
        scaled = np.float32(rule.rate / (1 - 0.9**done))
        root = np.float32(1 / np.sqrt(1 - 0.999**done))
        now = Rule(rule.kind, rule.rate, rule.decay, rule.momentum, rule.nesterov, scaled, root)
        forward(data, order, start, rows, shape, model, room, aim, turn)
        gradient(shape, room, answers, width, columns, rows, data, order, start, aim, turn)
        _backward(data, order, start, rows, shape, model, room, now, aim, turn)
        start += batch
        turn += 1


@loop()
def ask(data, order, batch, shape, model, room, aim, out):
    """Write the network's answers to the rows in ``order`` to ``out``, ``batch`` records at a time."""
    last = len(shape.weights)
    answers, width, columns = shape.answers[last], shape.padded[last], shape.units[last]
    start = 0
    while start < len(order):
        rows = min(batch, len(order) - start)
        forward(data, order, start, rows, shape, model, room, aim, 0)
        for i in range(rows):
            for j in range(columns):
                out[(start + i) * columns + j] = room.answers[answers + i * width + j]
        start += batch
