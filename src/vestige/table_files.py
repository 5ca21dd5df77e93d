"""Csv and parquet files → tables, with the line of every fault."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, MissingDependency
from vestige.tables import Table

_PROBE = 1 << 16


def read_csv(path: Path, *, names: Sequence[str] | None = None, delimiter: str | None = None, skip: int = 0) -> Table:
    """Read a text table whose first line names the columns (or, with ``names``, one without such a line).

    ``skip``: lines to leave out before it. The delimiter is the comma, semicolon or tab that occurs most in the first
    line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            if "\0" in first + file.read(_PROBE):
                raise DataError(f"Expected {path} to be a text table, got a file with zero bytes in it.")
            file.seek(0)
            for _ in range(skip):
                file.readline()
            best = delimiter or max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=best, skipinitialspace=True)
            header = list(names) if names else _header(next(reader, []), path)
            rows, lines = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"Expected {len(header)} cells in every line of {path}, as in the first, got {len(row)} in "
                        f"line {reader.line_num}.",
                        hint="Put quotes around cells that hold the separator, and complete short lines.",
                    )
                rows.append([cell.strip() for cell in row])
                lines.append(skip + reader.line_num)
    except UnicodeDecodeError as error:
        raise DataError(f"Expected {path} to be UTF-8 text: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise DataError(f"Expected {path} to be a text table: {error}.") from error
    if not rows:
        raise DataError(f"Expected records in {path}, got a header and nothing below it.")
    columns = {name: np.array(cells, object) for name, cells in zip(header, zip(*rows, strict=True), strict=True)}
    return Table(path, columns, np.array(lines, np.int64))


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not header:
        raise DataError(f"Expected {path} to start with a line that names the columns, got an empty line.")
    if all(_is_number(cell) for cell in header):
        raise DataError(
            f"Expected the first line of {path} to name the columns, got numbers.", hint="Add a header line."
        )
    if "" in header:
        raise DataError(
            f"Expected a name for every column of {path}, got none for column {header.index('') + 1}.",
            hint="An unnamed first column is often a saved row number: leave it out when writing, or name it 'id'.",
        )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Expected distinct column names in {path}, got '{twice}' twice.")
    return header


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_parquet(path: Path) -> Table:
    """Read a parquet file; columns that are neither numbers, booleans nor texts are errors only when they are used."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependency("pyarrow", extra="tables", purpose="Reading a parquet file") from error
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(
            f"Expected {path} to be a whole parquet file: {str(error).splitlines()[0].rstrip('.')}."
        ) from error
    if table.num_rows == 0:
        raise DataError(f"Expected records in {path}, got none.")
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Expected distinct column names in {path}, got '{twice}' twice.")
    return Table(path, {name: _arrow_column(table.column(name)) for name in table.column_names})


def _arrow_column(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if number and column.null_count == 0:
        return np.asarray(column.to_numpy())
    if number or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), object)
    if pa.types.is_decimal(kind):
        return _arrow_column(column.cast(pa.float64()))
    return np.array([f"{kind}"] * len(column), np.dtype("S"))
