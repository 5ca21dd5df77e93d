"""Matrix products, transposes and sums of rows over flat arrays: the loops around the inner loops of `vectors`."""

from __future__ import annotations

from vestige.backends.compiled.vectors import LANES, ROWS, VECTORS, loop, row_sum, tile, transpose_block

_wide, _narrow = tile(ROWS, VECTORS), tile(ROWS, 1)
sum_eight, _four, _one = row_sum(8), row_sum(4), row_sum(1)


@loop()
def product(a, at, down, along, b, bt, step, out, ot, width, rows, columns, depth):
    """Write ``out = A B``: element (i, k) of A is at ``at + i * down + k * along``, rows of B are ``step`` apart.

    ``rows`` is rounded up to whole tiles and ``columns`` to whole vectors, so the arrays must reach as far.
    """
    j = 0
    while j < columns:
        wide = columns - j >= VECTORS * LANES
        for i in range(0, rows, ROWS):
            if wide:
                _wide(a, at + i * down, down, along, b, bt + j, step, out, ot + i * width + j, width, depth)
            else:
                _narrow(a, at + i * down, down, along, b, bt + j, step, out, ot + i * width + j, width, depth)
        j += VECTORS * LANES if wide else LANES


@loop()
def transpose(a, at, rows, columns, out):
    """Write the (rows, columns) matrix at ``at`` to ``out`` with its axes exchanged; both are whole vectors wide."""
    for j in range(0, columns, LANES):
        for i in range(0, rows, LANES):
            transpose_block(a, at + i * columns + j, columns, out, j * rows + i, rows)


@loop()
def sum_rows(table, tt, width, places, first, count, out, ot, columns):
    """Write the sum of the rows ``places[first : first + count]`` of a table to ``out``, over whole vectors."""
    j = 0
    while j < columns:
        left = (columns - j) // LANES
        if left >= 8:
            sum_eight(table, tt + j, width, places, first, count, out, ot + j)
            j += 8 * LANES
        elif left >= 4:
            _four(table, tt + j, width, places, first, count, out, ot + j)
            j += 4 * LANES
        else:
            _one(table, tt + j, width, places, first, count, out, ot + j)
            j += LANES
