"""What defences change in a step: softened labels, relaxed losses, blended batches, dropped units."""

from __future__ import annotations

import numpy as np

from vestige.backends.compiled.layout import RELAXED, RELU, SOFTENED
from vestige.backends.compiled.pointwise import FAST, exp, loss_gradient
from vestige.backends.compiled.vectors import loop, part

ONE, ZERO = np.float32(1), np.float32(0)
FLOOR = np.float32(-16)
FIRST, SECOND = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
STEP, LAYER = np.uint32(0x9E3779B9), np.uint32(0x85EBCA6B)


@loop(fastmath=FAST)
def _mixed(x):
    """Return 32 bits that look nothing like the 32 that came in; every cast keeps numba from widening."""
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * FIRST)
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * SECOND)
    return np.uint32(x ^ (x >> np.uint32(16)))


@loop(fastmath=FAST)
def drop(kind, z, slopes, at, width, columns, rows, aim, turn, layer):
    """Zero units of a hidden layer, each by itself, and scale up the others and what flows back through them."""
    first = _mixed(np.uint32(np.uint32(aim.key) + np.uint32(np.uint32(turn) * STEP)))
    second = _mixed(np.uint32(np.uint32(aim.key >> 32) + np.uint32(np.uint32(layer + 1) * LAYER)))
    limit, scale = np.uint32(aim.keep * 4294967296.0), np.float32(1 / aim.keep)
    for i in range(rows):
        own, slope = part(z, at + i * width, columns), part(slopes, at + i * width, columns)
        base = np.uint32(first + np.uint32(i * columns))
        if kind == RELU:
            for j in range(columns):
                kept = _mixed(np.uint32(_mixed(np.uint32(base + np.uint32(j))) ^ second)) < limit
                # A factor, and no choice between two answers: of that the compiler makes a jump that nobody foresees.
                own[j] *= scale if kept else ZERO
        else:
            for j in range(columns):
                kept = _mixed(np.uint32(_mixed(np.uint32(base + np.uint32(j))) ^ second)) < limit
                factor = scale if kept else ZERO
                own[j] *= factor
                slope[j] *= factor


@loop(fastmath=FAST)
def undrop(kind, grads, at, width, columns, rows, aim):
    """Scale what flows back through the units of a ReLU layer, which keeps no slopes."""
    scale = np.float32(1 / aim.keep)
    if kind == RELU:
        for i in range(rows):
            own = part(grads, at + i * width, columns)
            for j in range(columns):
                own[j] *= scale


@loop(fastmath=FAST)
def blend(z, spare, at, width, rows, start, aim, turn):
    """Blend every row with its partner's: blended records give blended sums, since the first layer is linear."""
    share, rest = aim.shares[turn], ONE - aim.shares[turn]
    for i in range(rows * width):
        spare[at + i] = z[at + i]
    for i in range(rows):
        own, mine = part(z, at + i * width, width), part(spare, at + i * width, width)
        other = part(spare, at + aim.partners[start + i] * width, width)
        for j in range(width):
            own[j] = share * mine[j] + rest * other[j]


@loop(fastmath=FAST)
def unblend(grads, spare, at, width, rows, start, aim, turn):
    """Share the gradients of blended rows out to the rows that they were made of."""
    share, rest = aim.shares[turn], ONE - aim.shares[turn]
    for i in range(rows * width):
        spare[at + i] = grads[at + i]
        grads[at + i] *= share
    for i in range(rows):
        mine = part(spare, at + i * width, width)
        other = part(grads, at + aim.partners[start + i] * width, width)
        for j in range(width):
            other[j] += rest * mine[j]


@loop(fastmath=FAST)
def _probabilities(answer, out, columns):
    """Write the softmax of a row, and return the logarithm of what its exponentials sum to."""
    top = answer[0]
    for j in range(columns):
        top = max(top, answer[j])
    total = ZERO
    for j in range(columns):
        out[j] = exp(answer[j] - top)
        total += out[j]
    fraction = ONE / total
    for j in range(columns):
        out[j] *= fraction
    return top + np.float32(np.log(total))


@loop(fastmath=FAST)
def _softened(z, at, width, columns, rows, labels, order, start, grads, gt, aim):
    share = np.float32(1.0 / rows)
    for i in range(rows):
        answer, grad = part(z, at + i * width, columns), part(grads, gt + i * width, columns)
        label = labels[order[start + i]]
        total = _probabilities(answer, grad, columns)
        mean = ZERO
        for j in range(columns):
            mean += grad[j] * (answer[j] - total)
        if aim.rest < ZERO:
            # What is to become less likely pulls no further once it is unlikely enough.
            wanted = aim.top
            for j in range(columns):
                if j != label and answer[j] - total > FLOOR:
                    wanted += aim.rest
            for j in range(columns):
                p, logarithm = grad[j], answer[j] - total
                rest = aim.rest if logarithm > FLOOR else ZERO
                target = aim.top if j == label else rest
                grad[j] = share * (p * wanted - target + aim.penalty * p * (logarithm - mean))
        else:
            for j in range(columns):
                p = grad[j]
                grad[j] = share * (p - aim.rest + aim.penalty * p * (answer[j] - total - mean))
            grad[label] -= share * (aim.top - aim.rest)


@loop(fastmath=FAST)
def _relaxed(z, at, width, columns, rows, labels, order, start, grads, gt, aim):
    share, mean = np.float32(1.0 / rows), ZERO
    for i in range(rows):
        answer, grad = part(z, at + i * width, columns), part(grads, gt + i * width, columns)
        mean += share * (_probabilities(answer, grad, columns) - answer[labels[order[start + i]]])
    for i in range(rows):
        answer, grad = part(z, at + i * width, columns), part(grads, gt + i * width, columns)
        label = labels[order[start + i]]
        total = _probabilities(answer, grad, columns)
        loss = total - answer[label]
        if (loss if aim.alone else mean) > aim.level:
            for j in range(columns):
                grad[j] *= share
            grad[label] -= share
        elif aim.climbs:
            for j in range(columns):
                grad[j] *= -share
            grad[label] += share
        else:
            _flattened(answer, grad, columns, label, total, share, aim)


@loop(fastmath=FAST)
def _flattened(answer, grad, columns, label, total, share, aim):
    sure, others = grad[label], np.float32(columns - 1)
    kept = min(sure, aim.upper)
    rest = (ONE - kept) / others
    if not aim.reference:
        for j in range(columns):
            grad[j] = share * (grad[j] - rest)
        grad[label] -= share * (kept - rest)
        return
    best, logs = 0, ZERO
    for j in range(columns):
        logs += answer[j] - total
        if answer[j] > answer[best]:
            best = j
    own = answer[label] - total
    wrong = ONE if best != label else ZERO
    slope = ((logs - own) / others - own) * sure if sure <= aim.upper else ZERO
    for j in range(columns):
        grad[j] = share * (wrong * (grad[j] - rest - slope * grad[j]) - grad[j])
    grad[label] += share * (wrong * (rest - kept + slope) + ONE)


@loop()
def _one(shape, z, at, width, columns, rows, data, order, start, grads, gt, aim):
    if shape.loss == SOFTENED:
        _softened(z, at, width, columns, rows, data.labels, order, start, grads, gt, aim)
    elif shape.loss == RELAXED:
        _relaxed(z, at, width, columns, rows, data.labels, order, start, grads, gt, aim)
    else:
        loss_gradient(
            shape.loss, z, at, width, columns, rows, data.labels, data.numbers, order, start, grads, gt
        )  # fmt: skip


@loop(fastmath=FAST)
def gradient(shape, room, at, width, columns, rows, data, order, start, aim, turn):
    """Write the gradient of the batch's loss with respect to the answers, and of both halves of a blended one."""
    _one(shape, room.answers, at, width, columns, rows, data, order, start, room.deltas, at, aim)
    if len(aim.partners):
        # The last layer has no slopes, so their place is free.
        _one(shape, room.answers, at, width, columns, rows, data, aim.mates, start, room.slopes, at, aim)
        share, rest = aim.shares[turn], ONE - aim.shares[turn]
        for i in range(rows):
            own, other = part(room.deltas, at + i * width, columns), part(room.slopes, at + i * width, columns)
            for j in range(columns):
                own[j] = share * own[j] + rest * other[j]
