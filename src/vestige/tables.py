"""Tables: named columns of a csv or parquet file, and how they become features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, MissingDependency
from vestige.features import check_finite, clean_features
from vestige.registry import did_you_mean

Categorical = Literal["onehot", "ordinal", "frame"]
MAX_CATEGORIES = 1000
"""A text column with more different values than this is taken for an identifier or free text, not for a category."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length by name.

    Numbers, or objects that are texts or None. ``lines``: where each row stood in a csv file.
    """

    path: Path
    columns: Mapping[str, NDArray[Any]]
    lines: NDArray[np.int64] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def require(self, name: str, role: str) -> None:
        """Raise DataError with the closest names when there is no such column."""
        if name not in self.columns:
            raise DataError(
                f"There is no {role} column '{name}' in {self.path}; it has {shorten(list(self.columns))}.",
                hint=did_you_mean(name, list(self.columns)),
            )

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as float64 numbers when every cell is one, else as texts.

        Raise DataError where a cell is missing.
        """
        cells = self.columns[name]
        if cells.dtype.kind != "O":
            return self._complete(name, cells, cells != cells)
        cells = self._complete(name, cells, np.array([cell is None or cell == "" for cell in cells.tolist()], bool))
        try:
            numbers = cells.astype(np.float64)
        except (ValueError, TypeError):
            return cells.astype(np.str_)
        return self._complete(name, numbers, numbers != numbers)

    def keys(self, name: str) -> NDArray[Any]:
        """Return a column of labels or ids: whole numbers written plainly become integers, so that 007 stays a text."""
        cells = self.column(name)
        raw = self.columns[name]
        if cells.dtype.kind == "f" and raw.dtype.kind == "O":
            texts = raw.astype(np.str_)
            if all(
                text.lstrip("-").isdigit() and (text.lstrip("-")[0] != "0" or text == "0") for text in texts.tolist()
            ):
                return _integers(texts)
            whole = bool(np.all(cells == np.floor(cells)))
            return texts if whole and not all("." in text or "e" in text.lower() for text in texts.tolist()) else cells
        return raw if raw.dtype.kind in "iub" else cells

    def _complete(self, name: str, cells: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
        if missing.any():
            row = int(np.argmax(missing))
            where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
            raise DataError(
                f"Expected a value in every cell, got {int(missing.sum()):,} missing in column '{name}' of "
                f"{self.path}, "
                f"the first in {where}.",
                hint="Fill them, drop those rows, or leave the column out with columns=[…].",
            )
        return cells


def _integers(texts: NDArray[np.str_]) -> NDArray[Any]:
    try:
        return texts.astype(np.int64)
    except (ValueError, OverflowError):
        return texts


def shorten(names: Sequence[str], limit: int = 12) -> str:
    """Return the names in one line, the last ones counted rather than listed."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown or "none"


def encode(
    table: Table, names: Sequence[str], *, categorical: Categorical = "onehot", standardise: bool = False
) -> Any:
    """Return the columns ``names`` as features, in that order.

    Text columns become one 0/1 column per value, in sorted order (``onehot``), the rank of the value (``ordinal``), or
    a pandas category in a DataFrame (``frame``). ``standardise`` gives number columns mean 0 and variance 1 over all
    records.
    """
    columns = {name: _usable(table, name) for name in names}
    if standardise:
        columns = {name: _standard(cells) if cells.dtype.kind in "iufb" else cells for name, cells in columns.items()}
    if categorical == "frame":
        return _frame(columns)
    numbers = [cells for cells in columns.values() if cells.dtype.kind != "U"]
    exact = clean_features(np.column_stack(numbers)).dtype if numbers else np.dtype(np.float32)
    dtype = np.float64 if exact == np.float64 else np.float32
    parts = []
    for cells in columns.values():
        if cells.dtype.kind != "U":
            parts.append(cells.astype(dtype)[:, None])
            continue
        values, ranks = np.unique(cells, return_inverse=True)
        parts.append(
            (ranks[:, None] == np.arange(len(values))).astype(dtype)
            if categorical == "onehot"
            else ranks.astype(dtype)[:, None]
        )
    return np.concatenate(parts, axis=1)


def _usable(table: Table, name: str) -> NDArray[Any]:
    cells = table.column(name)
    if cells.dtype.kind == "S":
        raise DataError(
            f"Expected numbers or texts in column '{name}' of {table.path}, got {cells[0].decode()}.",
            hint="Convert it, or leave it out with columns=[…].",
        )
    if cells.dtype.kind == "f":
        check_finite(cells[:, None], [name])
    if cells.dtype.kind == "U" and (found := len(set(cells.tolist()))) > MAX_CATEGORIES:
        raise DataError(
            f"Expected at most {MAX_CATEGORIES:,} different texts in a column, got {found:,} in column '{name}' of "
            f"{table.path}.",
            hint="Make it the id, or leave it out with columns=[…].",
        )
    return cells


def _standard(cells: NDArray[Any]) -> NDArray[np.float64]:
    numbers = cells.astype(np.float64)
    spread = numbers.std()
    result: NDArray[np.float64] = (numbers - numbers.mean()) / (spread if spread > 0 else 1.0)
    return result


def _frame(columns: Mapping[str, NDArray[Any]]) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency(
            "pandas", extra="tables", purpose="Keeping categorical columns in a DataFrame"
        ) from error
    return pd.DataFrame({name: pd.Categorical(c) if c.dtype.kind == "U" else c for name, c in columns.items()})
