"""The inner loops that a compiler does not find by itself, written in vectors of sixteen floats.

Numba calls these from compiled code only. Each keeps its sums in registers for the whole of its loop, and adds one
product after another in the order of the loop, so that a result does not depend on how an array was cut into tiles.
Where the processor has narrower registers, the compiler splits each vector.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
# As many sums as the registers hold: 32 of sixteen floats, or 16 of eight.
ROWS, VECTORS = (8, 2) if binding.get_host_cpu_features().get("avx512f") else (4, 1)

# Compiled code that lets go of Python's lock, and that neither allocates nor counts references nor raises.
loop: Callable[..., Any] = partial(njit, nogil=True, error_model="numpy", _nrt=False)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [builder.sext(place, INDEX) if place.type.width < 64 else place])


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, VECTOR.as_pointer()), align=4)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, VECTOR.as_pointer()), align=4)


def _moved(builder: Any, pointer: Any, floats: int) -> Any:
    return builder.gep(pointer, [INDEX(floats)])


def _filled(builder: Any, value: Any) -> Any:
    """Return a vector that has ``value`` in every lane."""
    first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _sums(builder: Any, count: int) -> list[Any]:
    """Return places for sums, which start at zero and which the compiler turns into registers."""
    places = [cgutils.alloca_once(builder, VECTOR) for _ in range(count)]
    for place in places:
        builder.store(ir.Constant(VECTOR, [0.0] * LANES), place)
    return places


def tile(rows: int, vectors: int) -> Any:
    """Return ``f(a, at, down, along, b, bt, step, out, ot, width, depth)``, which writes one tile of a product.

    ``out[ot + i * width + j] = sum over k < depth of a[at + i * down + k * along] * b[bt + k * step + j]`` for
    ``i < rows`` and ``j < vectors * LANES``.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, at, down, along, b, bt, step, out, ot, width, depth = args
        kinds = signature.args
        left, right = _pointer(context, builder, kinds[0], a, at), _pointer(context, builder, kinds[4], b, bt)
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
        sums = _sums(builder, rows * vectors)
        heads = [builder.gep(left, [builder.mul(INDEX(i), down)]) for i in range(rows)]
        with cgutils.for_range(builder, depth) as loop:
            row = builder.gep(right, [builder.mul(loop.index, step)])
            line = [_load(builder, _moved(builder, row, v * LANES)) for v in range(vectors)]
            along_k = builder.mul(loop.index, along)
            for i, head in enumerate(heads):
                value = _filled(builder, builder.load(builder.gep(head, [along_k])))
                for v in range(vectors):
                    place = sums[i * vectors + v]
                    builder.store(builder.call(fma, [value, line[v], builder.load(place)]), place)
        target = _pointer(context, builder, kinds[7], out, ot)
        for i in range(rows):
            line_out = builder.gep(target, [builder.mul(INDEX(i), width)])
            for v in range(vectors):
                _store(builder, builder.load(sums[i * vectors + v]), _moved(builder, line_out, v * LANES))
        return context.get_dummy_value()

    @intrinsic
    def write(typing: Any, a: Any, at: Any, down: Any, along: Any, b: Any, bt: Any, step: Any, out: Any, ot: Any, width: Any, depth: Any) -> Any:  # noqa: ARG001, E501  # fmt: skip
        n = types.intp
        return types.void(a, n, n, n, b, n, n, out, n, n, n), emit

    return write


def row_sum(vectors: int) -> Any:
    """Return ``f(table, tt, width, places, first, count, out, ot)``, which adds up chosen rows of a table.

    ``out[ot + j] = sum over k < count of table[tt + places[first + k] * width + j]`` for ``j < vectors * LANES``.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table, tt, width, places, first, count, out, ot = args
        kinds = signature.args
        base = _pointer(context, builder, kinds[0], table, tt)
        chosen = _pointer(context, builder, kinds[3], places, first)
        sums = _sums(builder, vectors)
        with cgutils.for_range(builder, count) as loop:
            place = builder.sext(builder.load(builder.gep(chosen, [loop.index])), INDEX)
            row = builder.gep(base, [builder.mul(place, width)])
            for v, total in enumerate(sums):
                line = _load(builder, _moved(builder, row, v * LANES))
                builder.store(builder.fadd(builder.load(total), line), total)
        target = _pointer(context, builder, kinds[6], out, ot)
        for v, total in enumerate(sums):
            _store(builder, builder.load(total), _moved(builder, target, v * LANES))
        return context.get_dummy_value()

    @intrinsic
    def add(typing: Any, table: Any, tt: Any, width: Any, places: Any, first: Any, count: Any, out: Any, ot: Any) -> Any:  # noqa: ARG001, E501  # fmt: skip
        n = types.intp
        return types.void(table, n, n, places, n, n, out, n), emit

    return add


def _interleaved(builder: Any, rows: list[Any]) -> list[Any]:
    """Return rows in which the lanes of one and of the row half way further on take turns."""
    half, number = LANES // 2, ir.VectorType(ir.IntType(32), LANES)
    low = ir.Constant(number, [k // 2 + LANES * (k % 2) for k in range(LANES)])
    high = ir.Constant(number, [half + k // 2 + LANES * (k % 2) for k in range(LANES)])
    pairs = zip(rows[:half], rows[half:], strict=True)
    return [builder.shuffle_vector(one, other, mask) for one, other in pairs for mask in (low, high)]


@intrinsic
def transpose_block(typing: Any, a: Any, at: Any, step: Any, out: Any, ot: Any, width: Any) -> Any:  # noqa: ARG001
    """Write ``out[ot + j * width + i] = a[at + i * step + j]`` for all ``i`` and ``j`` below LANES."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, at, step, out, ot, width = args
        source = _pointer(context, builder, signature.args[0], a, at)
        target = _pointer(context, builder, signature.args[3], out, ot)
        rows = [_load(builder, builder.gep(source, [builder.mul(INDEX(i), step)])) for i in range(LANES)]
        for _ in range(LANES.bit_length() - 1):
            rows = _interleaved(builder, rows)
        for j, row in enumerate(rows):
            _store(builder, row, builder.gep(target, [builder.mul(INDEX(j), width)]))
        return context.get_dummy_value()

    n = types.intp
    return types.void(a, n, n, out, n, n), emit


@intrinsic
def part(typing: Any, array: Any, at: Any, count: Any) -> Any:  # noqa: ARG001
    """Return ``array[at : at + count]`` without counting references, which in a short loop costs more than the loop."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_array(signature.return_type)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        data = _pointer(context, builder, signature.args[0], args[0], args[1])
        context.populate_array(made, data=data, shape=[args[2]], strides=[size], itemsize=size, meminfo=None)
        return made._getvalue()

    return types.Array(array.dtype, 1, "C")(array, types.intp, types.intp), emit


def array_at(kind: Any) -> Any:
    """Return ``f(address, count)``: the array of that many ``kind`` at an address, which somebody else keeps."""
    made = types.Array(kind, 1, "C")

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        array = context.make_array(made)(context, builder)
        element = context.get_data_type(kind)
        data, size = builder.inttoptr(args[0], element.as_pointer()), context.get_abi_sizeof(element)
        size = context.get_constant(types.intp, size)
        context.populate_array(array, data=data, shape=[args[1]], strides=[size], itemsize=size, meminfo=None)
        return array._getvalue()

    @intrinsic
    def at(typing: Any, address: Any, count: Any) -> Any:  # noqa: ARG001
        return made(types.int64, types.int64), emit

    return at
