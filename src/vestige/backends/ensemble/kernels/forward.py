"""The compiled convolution with its ReLU and pooling: only the maxima leave the registers.

Codes say for every answer where its maximum was: 0 to 3 for the place in the window, row by row, the first of equals;
4 where the answer is a ReLU's zero and so has no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

from vestige.backends.ensemble.kernels.code import Code, Number
from vestige.backends.ensemble.kernels.shapes import FLOAT, KERNEL, Shape

DEAD = 4
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
TAPS = [(row, column) for row in range(KERNEL) for column in range(KERNEL)]
UNROLLED = 4


def forward(shape: Shape, *, coded: bool = True) -> str:
    """Return the text of ``forward(x, weights, bias, room, stride, y, codes, images)``; not ``coded``: writes no codes.

    ``weights``: (depth, 9, wide); ``room``: for padded images, zero at the borders, ``stride`` bytes apart.
    """
    names = ("%x", "%weights", "%bias", "%room", "%y", "%codes")
    pointers = [f"ptr noalias {name}" for name in names]
    parameters = [*pointers[:4], "i64 %stride", *pointers[4:], "i64 %images"]
    code = Code("forward", parameters, lanes=shape.lanes)
    rows, columns = shape.windows
    step = _tile(shape)
    with code.loop("%images") as image:
        room = code.at("%room", code.let(f"mul nsw i64 {image}, %stride"))
        pad(code, shape, code.at("%x", code.times(image, shape.height * shape.width * shape.depth * FLOAT)), room)
        place = code.times(image, rows * columns * shape.filters)
        for start, stop, lanes in _runs(shape, step[1]):
            with code.loop(stop, start=start, step=len(lanes) * shape.lanes) as base, code.loop(rows) as row:
                for left, right, size in tiles(columns, step[0]):
                    with code.loop(right, start=left, step=size) as column:
                        window = code.add(code.times(row, columns), column)
                        out = code.add(code.add(place, code.times(window, shape.filters)), base)
                        corner = code.add(code.times(row, 2 * shape.padded[1]), code.times(column, 2))
                        at = code.at(room, code.times(corner, shape.depth * FLOAT))
                        _windows(code, shape, _Part(at, out, base, lanes, size), coded=coded)
    return code.text()


class _Part(NamedTuple):
    """Some windows next to each other and some vectors of filters: where, which, and how many lanes each fills."""

    at: str
    out: Number
    base: Number
    lanes: tuple[int, ...]
    size: int


def _runs(shape: Shape, together: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """Cut the filters into (start, stop, lanes of each vector) runs of equal parts, the last of what is left."""
    part = together * shape.lanes
    whole = shape.filters // part * part
    runs = [(0, whole, (shape.lanes,) * together)] if whole else []
    rest = [min(shape.lanes, shape.filters - at) for at in range(whole, shape.filters, shape.lanes)]
    return [*runs, (whole, shape.filters, tuple(rest))] if rest else runs


def _tile(shape: Shape) -> tuple[int, int]:
    """Return how many windows and how many vectors of filters to work on at once: as many as the registers hold."""
    if shape.lanes == 16:
        return (5, 1) if shape.blocks == 1 else (3, 2)
    return (2, 1) if shape.blocks == 1 else (1, 2)


def tiles(columns: int, most: int) -> list[tuple[int, int, int]]:
    """Cut a row of windows into (start, stop, size) runs of tiles of nearly equal size."""
    count = -(-columns // most)
    small, large = columns // count, columns % count
    runs = [(0, large * (small + 1), small + 1)] if large else []
    return [*runs, (large * (small + 1), columns, small)]


def pad(code: Code, shape: Shape, source: str, room: str) -> None:
    """Copy one image into its frame."""
    length = shape.width * shape.depth
    whole, rest = divmod(length, shape.lanes)
    edge = shape.padding * shape.padded[1] * shape.depth + shape.padding * shape.depth
    with code.loop(shape.height) as row:
        start = code.at(source, code.times(row, length * FLOAT))
        end = code.at(room, code.add(code.times(row, shape.padded[1] * shape.depth * FLOAT), edge * FLOAT))
        with code.loop(whole) as k:
            offset = code.times(k, shape.lanes * FLOAT)
            code.put(code.vector, code.get(code.vector, code.at(start, offset)), code.at(end, offset))
        if rest:
            offset = whole * shape.lanes * FLOAT
            code.store(code.load(code.at(start, offset), rest), code.at(end, offset), rest)


def _windows(code: Code, shape: Shape, part: _Part, *, coded: bool) -> None:
    """Compute one part."""
    spots = [(row, column) for row in range(2) for column in range(2 * part.size)]
    vectors = range(len(part.lanes))
    bias = code.at("%bias", code.times(part.base, FLOAT))
    biases = [code.get(code.vector, code.at(bias, k * shape.lanes * FLOAT)) for k in vectors]
    sums = {(spot, k): code.variable(code.vector, biases[k]) for spot in spots for k in vectors}
    weights = code.at("%weights", code.times(part.base, FLOAT))
    size = len(TAPS) * shape.wide * FLOAT
    if shape.depth <= UNROLLED:
        for channel in range(shape.depth):
            _channel(code, shape, code.at(part.at, channel * FLOAT), code.at(weights, channel * size), sums)
    else:
        with code.loop(shape.depth) as place:
            at, own = code.at(part.at, code.times(place, FLOAT)), code.at(weights, code.times(place, size))
            _channel(code, shape, at, own, sums)
    for window in range(part.size):
        for k, lanes in enumerate(part.lanes):
            corners = [sums[(row, 2 * window + column), k] for row, column in PLACES]
            values = [code.get(code.vector, corner) for corner in corners]
            offset = code.add(part.out, window * shape.filters + k * shape.lanes)
            best, place = maximum(code, values, relu=shape.relu)
            code.store(best, code.at("%y", code.times(offset, FLOAT)), lanes)
            if coded:
                _store_codes(code, place, offset, lanes)


def _channel(code: Code, shape: Shape, at: str, weights: str, sums: dict[tuple[tuple[int, int], int], str]) -> None:
    """Add one channel's part of every sum."""
    vectors = sorted({k for _, k in sums})
    spots = dict.fromkeys(spot for spot, _ in sums)
    for tap, (down, right) in enumerate(TAPS):
        place = tap * shape.wide
        rows = [code.get(code.vector, code.at(weights, (place + k * shape.lanes) * FLOAT)) for k in vectors]
        for row, column in spots:
            pixel = (row + down) * shape.padded[1] + column + right
            value = code.spread(code.at(at, pixel * shape.depth * FLOAT))
            for k in vectors:
                own = sums[(row, column), k]
                code.put(code.vector, code.fma(value, rows[k], code.get(code.vector, own)), own)


def maximum(code: Code, values: list[str], *, relu: bool) -> tuple[str, str]:
    """Return the largest of four, and where it was; what nobody reads the compiler leaves out."""
    v, flags, bytes_ = code.vector, f"<{code.lanes} x i1>", f"<{code.lanes} x i8>"
    best, place = values[0], code.whole(0)
    for k, value in enumerate(values[1:], 1):
        # A value that is not a number wins, and stays, as in torch.
        larger = code.let(f"fcmp ogt {v} {value}, {best}")
        unknown = code.let(f"fcmp uno {v} {value}, {value}")
        wins = code.let(f"or {flags} {larger}, {unknown}")
        best = code.let(f"select {flags} {wins}, {v} {value}, {v} {best}")
        place = code.let(f"select {flags} {wins}, {bytes_} {code.whole(k)}, {bytes_} {place}")
    if relu:
        dead = code.let(f"fcmp ole {v} {best}, zeroinitializer")
        best = code.let(f"select {flags} {dead}, {v} zeroinitializer, {v} {best}")
        place = code.let(f"select {flags} {dead}, {bytes_} {code.whole(DEAD)}, {bytes_} {place}")
    return best, place


def _store_codes(code: Code, place: str, offset: Number, lanes: int) -> None:
    target = code.at("%codes", offset)
    if lanes == code.lanes:
        code.put(f"<{code.lanes} x i8>", place, target, align=1)
        return
    for k in range(lanes):
        number = code.let(f"extractelement <{code.lanes} x i8> {place}, i32 {k}")
        code.put("i8", number, code.at(target, k), align=1)
