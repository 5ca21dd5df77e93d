"""What happens to one number at a time: activations, losses, updates. Plain loops, which the compiler vectorises.

Sums of a row may be taken in another order than written; nothing assumes that numbers are finite.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vestige.backends.compiled.layout import (
    ADAM,
    ADAMW,
    BINARY,
    CROSS_ENTROPY,
    ELU,
    GELU,
    ONE_HOT,
    RELU,
    SGD,
    SIGMOID,
    SILU,
    TANH,
)
from vestige.backends.compiled.vectors import loop, part

FAST = {"reassoc", "contract", "nsz", "arcp"}
ONE, ZERO, HALF, TWO = np.float32(1), np.float32(0), np.float32(0.5), np.float32(2)
LOG2E, LN2_HIGH, LN2_LOW = (
    np.float32(1.4426950408889634),
    np.float32(0.693145751953125),
    np.float32(1.428606765330187e-06),
)
LOWEST, HIGHEST = np.float32(-87.0), np.float32(88.0)
# 1 / k!: the series of exp over half of ln 2 on either side, where its eighth term is below a float's last bit.
E2, E3, E4, E5, E6, E7 = (np.float32(1 / math.factorial(k)) for k in range(2, 8))
ROOT_HALF, ROOT_TAU = np.float32(math.sqrt(0.5)), np.float32(1 / math.sqrt(2 * math.pi))
LEAK = np.float32(0.01)
# Abramowitz and Stegun 7.1.26: erf to 1.5e-7.
A1, A2, A3, A4, A5, AP = (
    np.float32(v) for v in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429, 0.3275911)
)  # fmt: skip


@intrinsic
def _power_of_two(typing, n):  # noqa: ARG001
    """Return 2 to the power of a whole number, by writing it into a float's exponent."""

    def emit(context, builder, signature, args):  # noqa: ARG001
        number = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.add(args[0], number(127)), number(23)), ir.FloatType())

    return types.float32(types.int32), emit


@loop(fastmath=FAST)
def exp(x):
    """Return e to the power of a float, to its last two bits; beyond the range of floats, at its ends."""
    x = min(max(x, LOWEST), HIGHEST)
    n = np.floor(x * LOG2E + HALF)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    series = ONE + r * (ONE + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7))))))
    return series * _power_of_two(np.int32(n))


@loop(fastmath=FAST)
def _sigmoid(x):
    return ONE / (ONE + exp(-x))


@loop(fastmath=FAST)
def _erf(x):
    size = abs(x)
    t = ONE / (ONE + AP * size)
    tail = t * (A1 + t * (A2 + t * (A3 + t * (A4 + t * A5)))) * exp(-size * size)
    return (ONE - tail) if x >= ZERO else tail - ONE


@loop(fastmath=FAST)
def activate(kind, z, at, width, columns, rows, params, bias, slopes):
    """Add the bias and apply the activation in place, and leave its slope where it is not the sign of its value."""
    for i in range(rows):
        own = part(z, at + i * width, columns)
        slope = part(slopes, at + i * width, columns)
        shift = part(params, bias, columns)
        if kind == RELU:
            for j in range(columns):
                own[j] = max(own[j] + shift[j], ZERO)
        elif kind == TANH:
            for j in range(columns):
                value = TWO * _sigmoid(TWO * (own[j] + shift[j])) - ONE
                own[j], slope[j] = value, ONE - value * value
        elif kind == SIGMOID:
            for j in range(columns):
                value = _sigmoid(own[j] + shift[j])
                own[j], slope[j] = value, value * (ONE - value)
        elif kind == GELU:
            for j in range(columns):
                x = own[j] + shift[j]
                share = HALF * (ONE + _erf(x * ROOT_HALF))
                own[j], slope[j] = x * share, share + x * exp(-HALF * x * x) * ROOT_TAU
        elif kind == SILU:
            for j in range(columns):
                x = own[j] + shift[j]
                share = _sigmoid(x)
                own[j], slope[j] = x * share, share * (ONE + x * (ONE - share))
        elif kind == ELU:
            for j in range(columns):
                x = own[j] + shift[j]
                below = exp(min(x, ZERO))
                own[j], slope[j] = (x, ONE) if x > ZERO else (below - ONE, below)
        else:
            for j in range(columns):
                x = own[j] + shift[j]
                own[j], slope[j] = (x, ONE) if x > ZERO else (LEAK * x, LEAK)


@loop(fastmath=FAST)
def add_bias(z, at, width, columns, rows, params, bias):
    """Add one row to every row."""
    for i in range(rows):
        own, shift = part(z, at + i * width, columns), part(params, bias, columns)
        for j in range(columns):
            own[j] += shift[j]


@loop(fastmath=FAST)
def through(kind, grads, gt, width, columns, rows, values, slopes, at):
    """Turn gradients of an activation's answers into gradients of what it was given, in place."""
    for i in range(rows):
        own = part(grads, gt + i * width, columns)
        if kind == RELU:
            value = part(values, at + i * width, columns)
            for j in range(columns):
                own[j] = own[j] if value[j] > ZERO else ZERO
        else:
            slope = part(slopes, at + i * width, columns)
            for j in range(columns):
                own[j] *= slope[j]


@loop(fastmath=FAST)
def loss_gradient(kind, z, at, width, columns, rows, labels, numbers, order, start, grads, gt):  # fmt: skip
    """Write the gradient of the batch's mean loss with respect to the answers."""
    share = np.float32(1.0 / rows)
    for i in range(rows):
        row = order[start + i]
        answer = part(z, at + i * width, columns)
        grad = part(grads, gt + i * width, columns)
        if kind == CROSS_ENTROPY:
            top = answer[0]
            for j in range(columns):
                top = max(top, answer[j])
            total = ZERO
            for j in range(columns):
                grad[j] = exp(answer[j] - top)
                total += grad[j]
            fraction = share / total
            for j in range(columns):
                grad[j] *= fraction
            grad[labels[row]] -= share
        elif kind == BINARY:
            grad[0] = (_sigmoid(answer[0]) - np.float32(labels[row])) * share
        elif kind == ONE_HOT:
            for j in range(columns):
                wanted = ONE if columns > 1 and labels[row] == j else ZERO
                if columns == 1:
                    wanted = np.float32(labels[row])
                grad[j] = (answer[j] - wanted) * np.float32(2.0 / (rows * columns))
        else:
            grad[0] = (answer[0] - numbers[row]) * np.float32(2.0 / rows)


@loop(fastmath=FAST)
def column_sums(grads, gt, width, rows, out):
    """Add up the rows of a gradient: the gradient of the bias."""
    for j in range(width):
        out[j] = ZERO
    for i in range(rows):
        row = part(grads, gt + i * width, width)
        for j in range(width):
            out[j] += row[j]


@loop(inline="always")
def descend(rule, value, kept, grad, count):
    """Move values by gradient descent with momentum, Nesterov's or the plain one. Numba copies it into its callers."""
    rate, decay, momentum = rule.rate, rule.decay, rule.momentum
    if rule.nesterov:
        for j in range(count):
            slope = grad[j] + decay * value[j]
            kept[j] = momentum * kept[j] + slope
            value[j] -= rate * (slope + momentum * kept[j])
    else:
        for j in range(count):
            kept[j] = momentum * kept[j] + (grad[j] + decay * value[j])
            value[j] -= rate * kept[j]


@loop(fastmath=FAST)
def update(rule, values, first, second, at, grads, count):
    """Move ``count`` values by their gradients, as torch's optimisers of the same names do."""
    value, one = part(values, at, count), part(first, at, count)
    if rule.kind == SGD:
        descend(rule, value, one, grads, count)
        return
    two, beta, gamma = part(second, at, count), np.float32(0.9), np.float32(0.999)
    shrink = ONE - rule.rate * rule.decay if rule.kind == ADAMW else ONE
    added = rule.decay if rule.kind == ADAM else ZERO
    for j in range(count):
        step = grads[j] + added * value[j]
        one[j] = beta * one[j] + (ONE - beta) * step
        two[j] = gamma * two[j] + (ONE - gamma) * step * step
        value[j] = shrink * value[j] - rule.scaled * one[j] / (np.sqrt(two[j]) * rule.root + np.float32(1e-8))
