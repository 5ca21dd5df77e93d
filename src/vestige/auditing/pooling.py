"""Members and non-members that were given apart, as one set of records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError
from vestige.features import as_array
from vestige.loading import from_torch
from vestige.records import Records, Task
from vestige.seeds import rng
from vestige.target import BoolArray


def pool(
    members_x: Any,
    members_y: Any,
    nonmembers_x: Any,
    nonmembers_y: Any,
    *,
    groups: Any = None,
    task: Task | None = None,
    prior: Any = None,
) -> tuple[Records, BoolArray]:
    """Return the records in random order and (N,) bool, True for the members; raises DataError in one sentence."""
    if members_y is None and nonmembers_y is None:
        return _shuffled(_datasets(members_x, nonmembers_x, groups, task, prior), len(members_x))
    count = 0
    for side, x, y in (("members", members_x, members_y), ("non-members", nonmembers_x, nonmembers_y)):
        rows, labels = _rows(x, f"the {side}"), _rows(y, f"the labels of the {side}")
        if rows != labels:
            raise DataError(f"Expected one label per record, got {rows} {side} and {labels} labels.")
        if not rows:
            raise DataError(f"Expected at least one record among the {side}, got none.")
        count = count or rows
    y = _labels(members_y, nonmembers_y)
    records = Records.build(_features(members_x, nonmembers_x), y, groups=groups, name="arrays", task=task, prior=prior)
    return _shuffled(records, count)


def _shuffled(records: Records, count: int) -> tuple[Records, BoolArray]:
    # Members came first; in that order a row's number alone would tell who is one. Ids still say where a row was.
    order = rng(0, "pool").permutation(len(records))
    return records.take(order), order < count


@dataclass(frozen=True)
class _Joined:
    """Two map-style datasets, one after the other."""

    first: Any
    second: Any

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, row: int) -> Any:
        return self.first[row] if row < len(self.first) else self.second[row - len(self.first)]


def _datasets(inside: Any, outside: Any, groups: Any, task: Task | None, prior: Any) -> Records:
    """Read two torch datasets, or anything else that has a length and gives (features, label) by number."""
    for side, dataset in (("members", inside), ("non-members", outside)):
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or hasattr(dataset, "dtype"):
            raise DataError(
                f"Expected labels, or a dataset of (features, label) pairs, for the {side}, got no labels and "
                f"{type(dataset).__name__}.",
                hint="Pass the labels, or a map-style torch Dataset with None in place of them.",
            )
        if not len(dataset):
            raise DataError(f"Expected at least one record among the {side}, got none.")
    records = from_torch(_Joined(inside, outside), name="dataset", task=task)
    if groups is None and prior is None:
        return records
    return Records.build(
        records.x, records.y, groups=groups, classes=records.classes, name="dataset", task=task, prior=prior
    )


def _rows(values: Any, what: str) -> int:
    if isinstance(values, str | bytes):
        raise DataError(f"Expected arrays of {what}, got the text {values!r}.", hint="Read the file first.")
    if hasattr(values, "tocsr"):
        raise DataError(
            f"Expected dense features, got a sparse matrix for {what}.", hint="Convert it with x.toarray()."
        )
    try:
        return len(values)
    except TypeError as error:
        got = "None" if values is None else f"a {type(values).__name__}"
        raise DataError(
            f"Expected arrays of {what}, got {got}.", hint="Pass an array, a DataFrame or a list, one entry per record."
        ) from error


def _features(inside: Any, outside: Any) -> Any:
    frames = [hasattr(side, "iloc") and hasattr(side, "columns") for side in (inside, outside)]
    if all(frames):
        return _joined(inside, outside)
    if any(frames):
        raise DataError(
            "Expected members and non-members to be both arrays or both DataFrames, got one DataFrame.",
            hint="Give both the same columns in a DataFrame, or turn it into an array with to_numpy().",
        )
    inside, outside = as_array(inside, "features"), as_array(outside, "features")
    if inside.shape[1:] != outside.shape[1:]:
        shapes = f"{inside.shape[1:]} and {outside.shape[1:]}"
        raise DataError(f"Expected members and non-members of one shape, got {shapes}.")
    return np.concatenate([inside, outside])


def _joined(inside: Any, outside: Any) -> Any:
    import pandas as pd

    odd = sorted(set(map(str, inside.columns)) ^ set(map(str, outside.columns)))
    if odd or not inside.columns.is_unique or len(inside.columns) != len(outside.columns):
        which = f"'{odd[0]}' is in only one of them" if odd else "a name occurs twice"
        raise DataError(f"Expected members and non-members with the same columns, but {which}.")
    return pd.concat([inside, outside[inside.columns]], ignore_index=True)


def _labels(inside: Any, outside: Any) -> NDArray[Any]:
    sides = [as_array(side, "labels") for side in (inside, outside)]
    if sides[0].ndim != sides[1].ndim:
        raise DataError(f"Expected one label per record, got labels of shapes {sides[0].shape} and {sides[1].shape}.")
    kinds = ["text" if side.dtype.kind in "US" else "number" for side in sides if side.dtype.kind != "O"]
    if len(set(kinds)) > 1:
        raise DataError(
            f"Expected labels of one kind, got {kinds[0]}s for the members and {kinds[1]}s for the non-members."
        )
    return np.concatenate(sides)
