"""The compiled convolution for answers alone: fewer multiplications, and nothing kept for a gradient.

Four neighbouring answers of a 3 x 3 filter, which are one window of the pooling, take 16 products instead of 36:
Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, F(2 x 2, 3 x 3). Sums are
taken in another order than in training, so the last bits differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from vestige.backends.ensemble.kernels.code import Code, Number
from vestige.backends.ensemble.kernels.forward import maximum, pad, tiles
from vestige.backends.ensemble.kernels.shapes import FLOAT, Shape

SIDE = 4
SPOTS = SIDE * SIDE
WHOLE = 16
# What a filter (3) becomes in one direction: the sums of its numbers times these.
FILTER = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def fits(shape: Shape) -> bool:
    """Whether a shape gains: channels come in whole vectors, of any processor, and are transformed together."""
    return shape.depth % WHOLE == 0


def scratch(shape: Shape) -> int:
    """Return how many floats one thread needs beside its padded image."""
    return SPOTS * shape.windows[1] * (shape.depth + shape.wide)


def answering(shape: Shape) -> str:
    """Return the text of ``answering(x, filters, bias, room, scratch, y, images)``.

    ``filters``: (16, depth, wide), transformed; ``room``: for one padded image, zero at the borders.
    """
    names = ("%x", "%filters", "%bias", "%room", "%scratch", "%y")
    code = Code("answering", [*(f"ptr noalias {name}" for name in names), "i64 %images"], lanes=shape.lanes)
    rows, columns = shape.windows
    sums = code.at("%scratch", SPOTS * columns * shape.depth * FLOAT)
    with code.loop("%images") as image:
        pad(code, shape, code.at("%x", code.times(image, shape.height * shape.width * shape.depth * FLOAT)), "%room")
        place = code.times(image, rows * columns * shape.filters)
        with code.loop(rows) as row:
            corner = code.at("%room", code.times(row, 2 * shape.padded[1] * shape.depth * FLOAT))
            with code.loop(columns) as column, code.loop(shape.depth, step=shape.lanes) as channel:
                at = code.add(code.times(column, 2 * shape.depth), channel)
                out = code.add(code.times(column, shape.depth), channel)
                _transform(code, shape, code.at(corner, code.times(at, FLOAT)), out)
            with code.loop(SPOTS) as spot:
                _multiply(code, shape, spot, sums)
            start = code.add(place, code.times(row, columns * shape.filters))
            with code.loop(columns) as column:
                out = code.add(start, code.times(column, shape.filters))
                own = code.at(sums, code.times(column, shape.wide * FLOAT))
                for block in range(shape.blocks):
                    _answer(code, shape, own, out, block)
    return code.text()


def _transform(code: Code, shape: Shape, corner: str, out: Number) -> None:
    """Turn the 4 x 4 pixels that one window reads, some channels of them, into as many numbers to multiply."""
    v = code.vector

    def turned(d: Sequence[str]) -> list[str]:
        pairs = (("fsub", 0, 2), ("fadd", 1, 2), ("fsub", 2, 1), ("fsub", 1, 3))
        return [code.let(f"{do} {v} {d[a]}, {d[b]}") for do, a, b in pairs]

    pixels = [
        [code.get(v, code.at(corner, (r * shape.padded[1] + c) * shape.depth * FLOAT)) for r in range(SIDE)]
        for c in range(SIDE)
    ]
    columns = [turned(pixel) for pixel in pixels]
    target = code.at("%scratch", code.times(out, FLOAT))
    for r in range(SIDE):
        for c, value in enumerate(turned([column[r] for column in columns])):
            code.put(v, value, code.at(target, (r * SIDE + c) * shape.windows[1] * shape.depth * FLOAT))


def _multiply(code: Code, shape: Shape, spot: str, sums: str) -> None:
    """Multiply what one of the 16 places holds of a row of windows with its (depth, wide) filters."""
    columns = shape.windows[1]
    values = code.at("%scratch", code.times(spot, columns * shape.depth * FLOAT))
    filters = code.at("%filters", code.times(spot, shape.depth * shape.wide * FLOAT))
    out = code.at(sums, code.times(spot, columns * shape.wide * FLOAT))
    most, together = (12, 2) if shape.lanes == 16 else (6, 2)
    for first in range(0, shape.blocks, together):
        vectors = range(min(together, shape.blocks - first))
        for left, right, size in tiles(columns, most):
            with code.loop(right, start=left, step=size) as column:
                own = code.at(values, code.times(column, shape.depth * FLOAT))
                totals = {(t, k): code.variable(code.vector, "zeroinitializer") for t in range(size) for k in vectors}
                with code.loop(shape.depth) as channel:
                    weights = code.at(filters, code.times(channel, shape.wide * FLOAT))
                    places = [code.at(weights, (first + k) * shape.lanes * FLOAT) for k in vectors]
                    parts = [code.get(code.vector, place) for place in places]
                    at = code.at(own, code.times(channel, FLOAT))
                    for t in range(size):
                        value = code.spread(code.at(at, t * shape.depth * FLOAT))
                        for k in vectors:
                            held = code.get(code.vector, totals[t, k])
                            code.put(code.vector, code.fma(value, parts[k], held), totals[t, k])
                target = code.at(out, code.times(column, shape.wide * FLOAT))
                for (t, k), total in totals.items():
                    place = code.at(target, (t * shape.wide + (first + k) * shape.lanes) * FLOAT)
                    code.put(code.vector, code.get(code.vector, total), place)


def _answer(code: Code, shape: Shape, sums: str, out: Number, block: int) -> None:
    """Turn a window's 16 sums into the four answers of one vector of filters, and store the largest."""
    v, step = code.vector, shape.windows[1] * shape.wide
    first = block * shape.lanes

    def turned(m: Sequence[str]) -> tuple[str, str]:
        both, apart = code.let(f"fadd {v} {m[1]}, {m[2]}"), code.let(f"fsub {v} {m[1]}, {m[2]}")
        return code.let(f"fadd {v} {m[0]}, {both}"), code.let(f"fsub {v} {apart}, {m[3]}")

    held = [code.get(v, code.at(sums, (spot * step + first) * FLOAT)) for spot in range(SPOTS)]
    rows = [turned(held[start : start + SIDE]) for start in range(0, SPOTS, SIDE)]
    values = [value for c in range(2) for value in turned([row[c] for row in rows])]
    bias = code.get(v, code.at("%bias", first * FLOAT))
    best, _ = maximum(code, [code.let(f"fadd {v} {value}, {bias}") for value in values], relu=shape.relu)
    code.store(best, code.at("%y", code.times(code.add(out, first), FLOAT)), shape.lanes_of(block, shape.filters))
