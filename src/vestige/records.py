"""Records: the rows that may or may not have been trained on, with ids that survive every shuffle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError
from vestige.features import as_array, clean_features
from vestige.labels import Task, encode_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Records", "Task"]


@dataclass(frozen=True, eq=False)
class Records:
    """N rows of one population.

    ``x``: N rows of features, an array (N, …) or a pandas DataFrame; ``y``: (N,) int64 class indices, or float64
    targets of a regression; ``ids``: (N,) unique, strings or int64; ``groups``: (N,) int64, equal for rows of one
    person, or None; ``classes``: the class names in index order, empty for a regression; ``prior``: (N,) probabilities
    that the target was trained on the record, known from elsewhere, or None. Build with `Records.build`, which
    validates.
    """

    x: Any
    y: NDArray[Any]
    ids: NDArray[Any]
    groups: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    name: str = "records"
    prior: NDArray[np.float64] | None = None

    @classmethod
    def build(
        cls,
        x: Any,
        y: Any,
        *,
        ids: Any = None,
        groups: Any = None,
        classes: Sequence[Any] | None = None,
        name: str = "records",
        task: Task | None = None,
        prior: Any = None,
    ) -> Records:
        """Check features and labels and return them as records; raise DataError that says what is wrong and where.

        ``x``: (N, …) numbers, or a DataFrame, which is kept as one; see `vestige.features` for how numbers are stored.
        ``y``: N labels or regression targets; see `vestige.labels`. ``ids``: N distinct integers or texts, by default 0
        … N−1. ``groups``: N values of any hashable kind, equal for records of one person. ``classes``: the class names
        in index order, by default the labels found, sorted. ``task``: by default a regression when labels are
        fractions, a classification otherwise. ``prior``: N probabilities strictly between 0 and 1.
        """
        count, labelled = _length(x, "features"), _length(y, "labels")
        if count != labelled:
            raise DataError(f"Expected one label per record, got {count:,} records and {labelled:,} labels.")
        if count < 2:
            raise DataError(
                f"Expected at least 2 records, got {count}.", hint="An audit needs members and non-members."
            )
        features = clean_features(x)
        labels, names = encode_labels(y, classes=classes, task=task)
        return cls(
            features,
            labels,
            _distinct_ids(ids, len(labels)),
            _group_codes(groups, len(labels)),
            names,
            name,
            None if prior is None else _probabilities(prior, len(labels)),
        )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def task(self) -> Task:
        """Whether the labels are classes or numbers."""
        return "classification" if self.classes else "regression"

    def rows_of(self, rows: NDArray[np.int64]) -> Any:
        """Return the features of ``rows``, in that order, as an array or DataFrame."""
        return self.x.iloc[rows] if hasattr(self.x, "iloc") else self.x[rows]

    def take(self, rows: NDArray[np.int64]) -> Records:
        """Return these rows, in this order, with the ids and groups that belong to them."""
        groups = None if self.groups is None else self.groups[rows]
        prior = None if self.prior is None else self.prior[rows]
        return Records(self.rows_of(rows), self.y[rows], self.ids[rows], groups, self.classes, self.name, prior)

    def matrix(self) -> NDArray[np.float32]:
        """Return the features as an (N, d) float32 matrix, for distances and regressions on features."""
        if hasattr(self.x, "iloc"):
            import pandas as pd

            return np.ascontiguousarray(pd.get_dummies(self.x).to_numpy(np.float32))
        return np.ascontiguousarray(np.asarray(self.x, np.float32).reshape(len(self), -1))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what models are trained on: features, labels, ids and groups, in order."""
        digest = hashlib.blake2b(digest_size=16)
        if hasattr(self.x, "iloc"):
            import pandas as pd

            digest.update(repr(list(self.x.columns)).encode())
            digest.update(pd.util.hash_pandas_object(self.x, index=False).to_numpy().tobytes())
        else:
            digest.update(f"{self.x.dtype}{self.x.shape}".encode())
            digest.update(np.ascontiguousarray(self.x).data)
        for part in (self.y, self.ids, self.groups):
            if part is not None:
                text = part.astype("U") if part.dtype.kind in "UO" else part
                digest.update(f"{text.dtype}".encode())
                digest.update(np.ascontiguousarray(text).tobytes())
        digest.update(repr(self.classes).encode())
        return digest.hexdigest()


def _length(values: Any, what: str) -> int:
    try:
        return len(values) if not hasattr(values, "shape") else int(values.shape[0])
    except (TypeError, IndexError) as error:
        raise DataError(
            f"Expected {what} with one entry per record, got a {type(values).__name__} without a length."
        ) from error


def _distinct_ids(ids: Any, count: int) -> NDArray[Any]:
    """Return the ids as (N,) int64 or text, or 0 … N−1 when there are none."""
    if ids is None:
        return np.arange(count, dtype=np.int64)
    array = as_array(ids, "ids")
    if array.shape != (count,):
        raise DataError(f"Expected one id per record, got {count:,} records and ids of shape {array.shape}.")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "f" and bool(np.all(array == np.floor(array))):
        array = array.astype(np.int64)
    if array.dtype.kind == "O":
        values = array.tolist()
        missing = [row for row, value in enumerate(values) if value is None or value != value]
        if missing:
            raise DataError(f"Expected an id for every record, got none in row {missing[0]}.")
        whole = all(isinstance(value, int) and abs(value) < 2**63 for value in values)
        array = np.array(values, np.int64) if whole else np.array([str(value) for value in values])
    if array.dtype.kind not in "iuU":
        raise DataError(f"Expected ids that are integers or texts, got dtype {array.dtype}.")
    array = array if array.dtype.kind == "U" else array.astype(np.int64)
    ordered = np.sort(array)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise DataError(
            f"Expected distinct ids, got {len(twice):,} repeated; for example '{ordered[twice[0]]}'.",
            hint="When several records belong to one person, give groups instead.",
        )
    return array


def _group_codes(groups: Any, count: int) -> NDArray[np.int64] | None:
    """Return (N,) int64 codes, equal where the groups are equal, numbered in order of first appearance."""
    if groups is None:
        return None
    values = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if len(values) != count:
        raise DataError(f"Expected one group per record, got {count:,} records and {len(values):,} groups.")
    codes: dict[Any, int] = {}
    try:
        result = np.array([codes.setdefault(value, len(codes)) for value in values], np.int64)
    except TypeError as error:
        raise DataError(f"Expected groups that can be compared, such as texts or integers: {error}.") from error
    missing = next((row for row, value in enumerate(values) if value is None or value != value), None)
    if missing is not None:
        raise DataError(
            f"Expected a group for every record, got none in row {missing}.",
            hint="Give a lone record a group of its own.",
        )
    if len(codes) < 2:
        raise DataError("Expected at least two groups, got one: members and non-members could not be told apart.")
    return result


def _probabilities(values: Any, count: int) -> NDArray[np.float64]:
    """Return what is known of membership as (N,) float64."""
    try:
        prior = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected prior probabilities of membership, got something else: {error}.") from error
    if prior.shape != (count,):
        raise DataError(f"Expected one prior probability per record, got {count:,} records and shape {prior.shape}.")
    odd = np.flatnonzero(~((prior > 0) & (prior < 1)))
    if len(odd):
        raise DataError(
            f"Expected prior probabilities strictly between 0 and 1, got {prior[odd[0]]:g} in row {odd[0]}.",
            hint="0 and 1 claim certainty, which leaves nothing to audit; members are listed in [target] members.",
        )
    return prior
