"""The compiled gradients of a convolution with its ReLU and pooling.

Of every window one answer at most has a gradient, the one where the maximum was, so three quarters of the products of a
plain backward pass are with zeros, and more where the ReLU cut. What is left is summed in the order of the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from vestige.backends.ensemble.kernels.code import Code, Number
from vestige.backends.ensemble.kernels.forward import DEAD, PLACES, TAPS
from vestige.backends.ensemble.kernels.shapes import FLOAT, KERNEL, Shape

SHALLOW = 4
Item = TypeVar("Item")


def _groups(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def inputs(shape: Shape) -> str:
    """Return the text of ``inputs(grad, codes, weights, room, back, images)``: the gradient of the images.

    ``weights``: (filters, 9, deep); ``room``: for one padded image, (height, width, deep).
    """
    names = ("%grad", "%codes", "%weights", "%room", "%back")
    code = Code("inputs", [*(f"ptr noalias {n}" for n in names), "i64 %images"], lanes=shape.lanes)
    rows, columns = shape.windows
    bits = 16 if shape.filters <= 16 else 32 if shape.filters <= 32 else 64
    with code.loop("%images") as image:
        with code.loop(shape.padded[0] * shape.padded[1] * shape.deep // shape.lanes) as k:
            code.put(code.vector, "zeroinitializer", code.at("%room", code.times(k, shape.lanes * FLOAT)))
        first = code.times(image, rows * columns * shape.filters)
        with code.loop(shape.deep, step=shape.lanes) as base, code.loop(rows) as row, code.loop(columns) as column:
            window = code.add(first, code.times(code.add(code.times(row, columns), column), shape.filters))
            corner = code.add(code.times(row, 2 * shape.padded[1]), code.times(column, 2))
            at = code.at("%room", code.times(code.add(code.times(corner, shape.deep), base), FLOAT))
            _patch(code, shape, at, code.at("%weights", code.times(base, FLOAT)), window, bits)
        _unpad(code, shape, code.at("%back", code.times(image, shape.height * shape.width * shape.depth * FLOAT)))
    return code.text()


def _patch(code: Code, shape: Shape, at: str, weights: str, window: Number, bits: int) -> None:
    """Add one window's part to the 4 x 4 pixels that it was computed from, for one vector of channels."""
    pixels = [(row, column) for row in range(KERNEL + 1) for column in range(KERNEL + 1)]
    places = {pixel: code.at(at, (pixel[0] * shape.padded[1] + pixel[1]) * shape.deep * FLOAT) for pixel in pixels}
    sums = {pixel: code.variable(code.vector, code.get(code.vector, place)) for pixel, place in places.items()}
    for start in range(0, shape.filters, bits):
        here = code.add(window, start)
        codes = code.get(f"<{bits} x i8>", code.at("%codes", here), align=1)
        grads = code.at("%grad", code.times(here, FLOAT))
        count = min(bits, shape.filters - start)
        for number, (down, right) in enumerate(PLACES):
            wanted = "<" + ", ".join([f"i8 {number}"] * bits) + ">"
            equal = code.let(f"icmp eq <{bits} x i8> {codes}, {wanted}")
            mask = code.let(f"bitcast <{bits} x i1> {equal} to i{bits}")
            if count < bits:
                mask = code.let(f"and i{bits} {mask}, {(1 << count) - 1}")
            with code.each_bit(mask, bits) as one:
                grad = code.spread(code.at(grads, code.times(one, FLOAT)))
                own_weights = code.at(weights, code.times(code.add(one, start), len(TAPS) * shape.deep * FLOAT))
                for tap, (row, column) in enumerate(TAPS):
                    vector = code.get(code.vector, code.at(own_weights, tap * shape.deep * FLOAT))
                    own = sums[down + row, right + column]
                    code.put(code.vector, code.fma(grad, vector, code.get(code.vector, own)), own)
    for pixel, place in places.items():
        code.put(code.vector, code.get(code.vector, sums[pixel]), place)


def _unpad(code: Code, shape: Shape, back: str) -> None:
    """Copy one image out of its frame."""
    edge = (shape.padding * shape.padded[1] + shape.padding) * shape.deep
    with code.loop(shape.height) as row, code.loop(shape.width) as column:
        inside = code.add(code.times(row, shape.padded[1] * shape.deep), code.times(column, shape.deep))
        source = code.at("%room", code.times(code.add(inside, edge), FLOAT))
        pixel = code.add(code.times(row, shape.width), column)
        target = code.at(back, code.times(pixel, shape.depth * FLOAT))
        whole = shape.depth // shape.lanes * shape.lanes
        with code.loop(whole, step=shape.lanes) as base:
            offset = code.times(base, FLOAT)
            code.put(code.vector, code.get(code.vector, code.at(source, offset)), code.at(target, offset))
        if whole < shape.depth:
            last = code.get(code.vector, code.at(source, whole * FLOAT))
            code.store(last, code.at(target, whole * FLOAT), shape.depth - whole)


def weights(shape: Shape) -> str:
    """Return the text of ``weights(room, stride, grad, codes, sums, biases, apart, list, images)``.

    It adds to ``sums`` (filters, 3, 3, depth), or for `SHALLOW` images (3, 3, depth, wide), and to ``biases`` (wide);
    each image to its own, ``apart`` bytes after those of the image before, where that is not 0. ``room``: the padded
    images; ``list``: room for an offset and a number per window and filter of one image.
    """
    names = ("%grad", "%codes", "%sums", "%biases")
    pointers = ["i64 %stride", *(f"ptr noalias {n}" for n in names), "i64 %apart", "ptr noalias %list"]
    parameters = ["ptr noalias %room", *pointers, "i64 %images"]
    code = Code("weights", parameters, lanes=shape.lanes)
    rows, columns = shape.windows
    with code.loop("%images") as image:
        room = code.at("%room", code.let(f"mul nsw i64 {image}, %stride"))
        first = code.times(image, rows * columns * shape.filters)
        away = code.let(f"mul nsw i64 {image}, %apart")
        sums, biases = code.at("%sums", away), code.at("%biases", away)
        if shape.depth <= SHALLOW:
            for block in range(shape.blocks):
                _by_filter_vector(code, shape, room, first, block, (sums, biases))
        else:
            _listed(code, shape, first, biases)
            _by_filter(code, shape, room, sums)
    return code.text()


def _given(code: Code, shape: Shape, place: Number, block: int) -> tuple[str, str]:
    """Return the codes and the gradients of one window, for one vector of filters; dead ones are zero."""
    here = code.add(place, block * shape.lanes)
    codes = code.get(f"<{code.lanes} x i8>", code.at("%codes", here), align=1)
    grad = code.load(code.at("%grad", code.times(here, FLOAT)), shape.lanes_of(block, shape.filters))
    alive = code.let(f"icmp ne <{code.lanes} x i8> {codes}, {code.whole(DEAD)}")
    return codes, code.let(f"select <{code.lanes} x i1> {alive}, {code.vector} {grad}, {code.vector} zeroinitializer")


def _accumulate(code: Code, sums: Sequence[tuple[str, str, int]]) -> None:
    """Add each variable's vector to what is at its address, in so many lanes."""
    for own, place, lanes in sums:
        total = code.let(f"fadd {code.vector} {code.load(place, lanes)}, {code.get(code.vector, own)}")
        code.store(total, place, lanes)


def _by_filter_vector(code: Code, shape: Shape, room: str, first: Number, block: int, into: tuple[str, str]) -> None:
    """Images of few channels: vectors over the filters, each pixel of a window times the gradients that are its own."""
    rows, columns = shape.windows
    taps = [(row, column, channel) for row, column in TAPS for channel in range(shape.depth)]
    most = 2 * len(TAPS) if shape.lanes == 16 else len(TAPS)
    for part, group in enumerate(_groups(taps, most)):
        sums = {tap: code.variable(code.vector, "zeroinitializer") for tap in group}
        bias = code.variable(code.vector, "zeroinitializer")
        with code.loop(rows) as row, code.loop(columns) as column:
            window = code.add(code.times(row, columns), column)
            codes, grad = _given(code, shape, code.add(first, code.times(window, shape.filters)), block)
            corner = code.add(code.times(row, 2 * shape.padded[1]), code.times(column, 2))
            at = code.at(room, code.times(corner, shape.depth * FLOAT))
            if part == 0:
                code.put(code.vector, code.let(f"fadd {code.vector} {code.get(code.vector, bias)}, {grad}"), bias)
            for place, (down, right) in enumerate(PLACES):
                here = code.let(f"icmp eq <{code.lanes} x i8> {codes}, {code.whole(place)}")
                choice = f"select <{code.lanes} x i1> {here}, {code.vector} {grad}, {code.vector} zeroinitializer"
                own = code.let(choice)
                for tap in group:
                    pixel = (tap[0] + down) * shape.padded[1] + tap[1] + right
                    value = code.spread(code.at(at, (pixel * shape.depth + tap[2]) * FLOAT))
                    code.put(code.vector, code.fma(value, own, code.get(code.vector, sums[tap])), sums[tap])
        places = [((tap[0] * KERNEL + tap[1]) * shape.depth + tap[2]) * shape.wide for tap in group]
        found = [(sums[tap], place) for tap, place in zip(group, places, strict=True)]
        offset = block * shape.lanes
        _accumulate(code, [(own, code.at(into[0], (at + offset) * FLOAT), shape.lanes) for own, at in found])
        if part == 0:
            _accumulate(code, [(bias, code.at(into[1], offset * FLOAT), shape.lanes)])


def _listed(code: Code, shape: Shape, first: Number, into: str) -> None:
    """Write down for every window and filter where its pixels begin, in bytes, and its gradient."""
    rows, columns = shape.windows
    kind, bytes_ = f"<{code.lanes} x i32>", f"<{code.lanes} x i8>"
    pixel = shape.depth * FLOAT
    biases = [code.variable(code.vector, "zeroinitializer") for _ in range(shape.blocks)]
    with code.loop(rows) as row, code.loop(columns) as column:
        window = code.add(code.times(row, columns), column)
        corner = code.add(code.times(row, 2 * shape.padded[1]), code.times(column, 2))
        start = code.let(f"trunc i64 {code.times(corner, pixel)} to i32")
        start = code.let(f"insertelement {kind} poison, i32 {start}, i32 0")
        start = code.let(f"shufflevector {kind} {start}, {kind} poison, {kind} zeroinitializer")
        for block, bias in enumerate(biases):
            codes, grad = _given(code, shape, code.add(first, code.times(window, shape.filters)), block)
            place = code.let(f"zext {bytes_} {codes} to {kind}")
            right = code.let(f"and {kind} {place}, {code.whole(1, 32)}")
            right = code.let(f"mul {kind} {right}, {code.whole(pixel, 32)}")
            down = code.let(f"and {kind} {code.let(f'lshr {kind} {place}, {code.whole(1, 32)}')}, {code.whole(1, 32)}")
            down = code.let(f"mul {kind} {down}, {code.whole(shape.padded[1] * pixel, 32)}")
            offset = code.let(f"add {kind} {code.let(f'add {kind} {start}, {right}')}, {down}")
            target = code.at("%list", code.times(code.add(code.times(window, shape.wide), block * shape.lanes), 4))
            code.put(kind, offset, target)
            code.put(code.vector, grad, code.at(target, rows * columns * shape.wide * FLOAT))
            code.put(code.vector, code.let(f"fadd {code.vector} {code.get(code.vector, bias)}, {grad}"), bias)
    _accumulate(
        code,
        [(own, code.at(into, k * shape.lanes * FLOAT), shape.lanes) for k, own in enumerate(biases)],
    )


def _by_filter(code: Code, shape: Shape, room: str, into: str) -> None:
    """Images of many channels: vectors along the row of pixels under a filter's row, one filter after another."""
    rows, columns = shape.windows
    length = KERNEL * shape.depth
    vectors = [(row, k) for row in range(KERNEL) for k in range(-(-length // shape.lanes))]
    most = 24 if shape.lanes == 16 else 12
    together = 2 if 2 * len(vectors) <= most and shape.filters % 2 == 0 else 1
    for group in _groups(vectors, most):
        with code.loop(shape.filters, step=together) as one:
            filters = [code.add(one, k) for k in range(together)]
            keys = [(k, vector) for k in range(together) for vector in group]
            sums = {key: code.variable(code.vector, "zeroinitializer") for key in keys}
            with code.loop(rows * columns) as window:
                entry = code.at("%list", code.times(code.add(code.times(window, shape.wide), one), 4))
                for k in range(together):
                    offset = code.let(f"zext i32 {code.get('i32', code.at(entry, 4 * k))} to i64")
                    grad = code.spread(code.at(entry, (rows * columns * shape.wide + k) * FLOAT))
                    at = code.at(room, offset)
                    for vector in group:
                        place = vector[0] * shape.padded[1] * shape.depth + vector[1] * shape.lanes
                        pixels = code.get(code.vector, code.at(at, place * FLOAT))
                        own = sums[k, vector]
                        code.put(code.vector, code.fma(grad, pixels, code.get(code.vector, own)), own)
            found = []
            for k, (row, part) in keys:
                start = code.times(code.add(code.times(filters[k], KERNEL), row), length)
                target = code.at(into, code.times(code.add(start, part * shape.lanes), FLOAT))
                found.append((sums[k, (row, part)], target, shape.lanes_of(part, length)))
            _accumulate(code, found)
