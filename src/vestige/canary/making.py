"""Canaries among records: which rows they are, what is done to them, and what every model trains on besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.canary.design import Design
from vestige.errors import DataError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import BoolArray, IntArray

PATTERN = 3
"""How many features of a blank canary are not blank, so that it differs from the other ones."""


@dataclass(frozen=True, eq=False)
class Canaries:
    """``pool``: all that a model may train on, N rows; ``inside``: (m, copies) rows of each canary; ``instead``: the
    same of what takes its place when it is left out, or None; every other row is trained on by every model.
    """

    pool: Records
    inside: IntArray
    instead: IntArray | None

    def __len__(self) -> int:
        return len(self.inside)

    @property
    def scored(self) -> IntArray:
        """One row of each canary, then one of each stand-in."""
        first = self.inside[:, 0]
        return first if self.instead is None else np.concatenate([first, self.instead[:, 0]])

    @property
    def coined(self) -> IntArray:
        """All rows whose training hangs on a coin."""
        both = [self.inside] if self.instead is None else [self.inside, self.instead]
        return np.concatenate([rows.reshape(-1) for rows in both])

    @property
    def always(self) -> int:
        """How many records every model trains on."""
        return len(self.pool) - len(self.coined)

    def mask(self, coins: BoolArray) -> BoolArray:
        """Return (N,) bool, what a model with these (m,) coins trains on."""
        mask = np.ones(len(self.pool), bool)
        mask[self.inside] = coins[:, None]
        if self.instead is not None:
            mask[self.instead] = ~coins[:, None]
        return mask


def make(records: Records, design: Design) -> Canaries:
    """Return the canaries of a design, drawn by its seed; raises DataError when there are too few records.

    They take the places of records drawn at random, in the records' own order; further copies go to random places.
    """
    wanted = design.count * (2 if design.replaces else 1)
    if wanted > len(records):
        each = "two for each canary, since one is exchanged for another" if design.replaces else "one for each canary"
        raise DataError(
            f"Expected at least {wanted:,} records, {each}, got {len(records):,}.",
            hint="Ask for fewer canaries, or give more records.",
        )
    random = rng(design.seed, "canary", "rows")
    rows = random.permutation(len(records))[:wanted].astype(np.int64)
    pool = _altered(records, rows, design)
    if design.inserted == 1:
        return _of(pool, rows[:, None], design)
    return _copied(pool, rows, design)


def _of(pool: Records, rows: IntArray, design: Design) -> Canaries:
    return Canaries(pool, rows[: design.count], rows[design.count :] if design.replaces else None)


def _copied(pool: Records, rows: IntArray, design: Design) -> Canaries:
    """Return the canaries with their further copies as rows of their own, all rows in random order."""
    extra, n = design.inserted - 1, len(pool)
    source = np.concatenate([np.arange(n), np.repeat(rows, extra)])
    order = rng(design.seed, "canary", "order").permutation(len(source))
    place = np.empty(len(source), np.int64)
    place[order] = np.arange(len(source))
    ids = np.array(
        [str(one) for one in pool.ids] + [f"{pool.ids[r]}, copy {k + 2}" for r in rows for k in range(extra)]
    )
    mixed = pool.take(source[order])
    mixed = Records(mixed.x, mixed.y, ids[order], mixed.groups, mixed.classes, mixed.name)
    copies = place[n:].reshape(len(rows), extra)
    return _of(mixed, np.concatenate([place[rows][:, None], copies], axis=1), design)


def _altered(records: Records, rows: IntArray, design: Design) -> Records:
    """Return the records with what the kind of canary asks for in ``rows``."""
    random = rng(design.seed, "canary", design.kind)
    if design.kind in ("natural", "duplicated"):
        return records
    if design.kind == "gradient":
        raise UsageError("Canaries planted in the gradient are directions, not records.")
    x, y = records.x, records.y.copy()
    if design.kind == "mislabelled":
        y[rows] = _wrong_labels(records, rows, random)
    else:
        make_values = _noise if design.kind == "out_of_distribution" else _nearly_blank
        x = _replaced(records.x, rows, make_values(records.x, len(rows), random))
        y[rows] = (
            random.choice(records.y, len(rows))
            if not records.classes
            else random.integers(len(records.classes), size=len(rows))
        )
    ids = np.array([str(one) for one in records.ids], dtype=object)
    ids[rows] = [f"canary {k} ({records.ids[row]})" for k, row in enumerate(rows)]
    return Records(x, y, ids.astype("U"), records.groups, records.classes, records.name)


def _wrong_labels(records: Records, rows: IntArray, random: np.random.Generator) -> NDArray[Any]:
    y = records.y
    if records.classes:
        count = len(records.classes)
        if count < 2:
            raise DataError("Expected at least two classes for mislabelled canaries, got one.")
        wrong: NDArray[Any] = (y[rows] + random.integers(1, count, size=len(rows))) % count
        return wrong
    # The target of the record half-way round the sorted targets: as far from its own as there are many.
    order = np.argsort(y, kind="stable")
    rank = np.empty(len(y), np.int64)
    rank[order] = np.arange(len(y))
    return y[order[(rank[rows] + len(y) // 2) % len(y)]]


def _replaced(x: Any, rows: IntArray, values: Any) -> Any:
    if hasattr(x, "iloc"):
        x = x.copy()
        for name in values.columns:
            column = x[name].copy()
            column.iloc[rows] = values[name].to_numpy()
            x[name] = column
        return x
    x = x.copy()
    x[rows] = values
    return x


def _noise(x: Any, count: int, random: np.random.Generator) -> Any:
    """Return ``count`` rows with every feature drawn on its own, evenly over its range."""
    if hasattr(x, "iloc"):
        return _frame(x, {name: _drawn(x[name], count, random) for name in x.columns})
    flat = x.reshape(len(x), -1)
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    shape = (count, flat.shape[1])
    values: NDArray[Any] = (
        random.integers(low.astype(np.int64), high.astype(np.int64) + 1, size=shape)
        if _whole(flat)
        else random.uniform(low, high, size=shape)
    )
    return values.astype(x.dtype).reshape(count, *x.shape[1:])


def _nearly_blank(x: Any, count: int, random: np.random.Generator) -> Any:
    """Return ``count`` rows of zeros, or of the value next to zero, with noise in a few features of each."""
    noise = _noise(x, count, random)
    if hasattr(x, "iloc"):
        marked = _marked(count, len(x.columns), random)
        blank = {name: _usual(x[name]) for name in x.columns}
        return _frame(
            x,
            {
                name: [other if mark else blank[name] for mark, other in zip(marked[:, k], noise[name], strict=True)]
                for k, name in enumerate(x.columns)
            },
        )
    flat = x.reshape(len(x), -1)
    blank = np.clip(0, np.nanmin(flat, axis=0), np.nanmax(flat, axis=0))
    values = np.where(_marked(count, flat.shape[1], random), noise.reshape(count, -1), blank)
    return values.astype(x.dtype).reshape(count, *x.shape[1:])


def _marked(count: int, width: int, random: np.random.Generator) -> BoolArray:
    marked = np.zeros((count, width), bool)
    if count > 1:
        places = np.argpartition(random.random((count, width)), min(PATTERN, width) - 1, axis=1)[:, :PATTERN]
        np.put_along_axis(marked, places, True, axis=1)
    return marked


def _whole(flat: NDArray[Any]) -> bool:
    return flat.dtype.kind in "iub" or bool(np.isfinite(flat).all() and (flat == np.round(flat)).all())


def _frame(x: Any, columns: dict[Any, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(list(values), dtype=x[name].dtype) for name, values in columns.items()})


def _drawn(column: Any, count: int, random: np.random.Generator) -> Any:
    if column.dtype.kind not in "iuf":
        return (
            column.dropna()
            .drop_duplicates()
            .sort_values()
            .sample(count, replace=True, random_state=int(random.integers(2**31)))
            .to_numpy()
        )
    low, high = column.min(), column.max()
    if column.dtype.kind in "iu":
        return random.integers(int(low), int(high) + 1, size=count)
    return random.uniform(low, high, size=count)


def _usual(column: Any) -> Any:
    """Return a column's blank value: zero or what is next to it, else its commonest."""
    if column.dtype.kind in "iuf":
        return min(max(0, column.min()), column.max())
    return column.value_counts().index[0]
