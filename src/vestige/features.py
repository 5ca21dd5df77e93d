"""Features as given by a user → a dense, finite, compact array or DataFrame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError

LOSS = 1e-4
"""Largest rounding error, as a share of a column's range, at which 64-bit floats are stored as 32-bit ones."""

_CHUNK = 1 << 24


def clean_features(x: Any) -> Any:
    """Return ``x`` as an array (N, …) or DataFrame that can be audited; raise DataError when it cannot.

    Booleans become uint8; 64-bit integers become 32-bit where they fit; floats become float32 unless that would move a
    value by more than ``LOSS`` of its column's range. Other dtypes are kept, uint8 images among them.
    """
    if hasattr(x, "iloc") and hasattr(x, "columns"):
        return _clean_frame(x)
    if hasattr(x, "tocsr"):
        raise DataError("Expected dense features, got a sparse matrix.", hint="Convert it with x.toarray().")
    array = _numeric(as_array(x, "features"))
    if array.ndim < 2:
        raise DataError(
            f"Expected features of shape (records, features), got an array of shape {array.shape}.",
            hint="For a single feature use x.reshape(-1, 1).",
        )
    if array.size == 0 and len(array):
        raise DataError(f"Expected at least one feature, got an array of shape {array.shape}.")
    check_finite(array)
    return _compact(array)


def as_array(values: Any, what: str) -> NDArray[Any]:
    """Return ``values`` as an array, or raise DataError when they are ragged."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"Expected {what} that form an array, got values of different lengths or kinds ({reason})."
        ) from error


def check_finite(array: NDArray[Any], names: list[str] | None = None) -> None:
    """Raise DataError that counts NaN and infinity in ``array`` and says where the first one is."""
    if array.dtype.kind != "f":
        return
    flat = array.reshape(len(array), -1)
    step = max(1, _CHUNK // max(1, flat.shape[1]))
    counted, first = 0, ""
    for start in range(0, len(flat), step):
        bad = ~np.isfinite(flat[start : start + step])
        found = int(np.count_nonzero(bad))
        if found and not counted:
            row, column = divmod(int(np.argmax(bad)), flat.shape[1])
            name = f"'{names[column]}'" if names else str(column)
            first = f"row {start + row}, column {name} is {flat[start + row, column]}"
        counted += found
    if counted:
        raise DataError(
            f"Expected finite features, got {counted:,} NaN or infinite value(s); the first: {first}.",
            hint="Fill or drop them before the audit, exactly as was done for training.",
        )


def _numeric(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O":
        try:
            return array.astype(np.float64)
        except (ValueError, TypeError) as error:
            odd = next((v for v in array.reshape(-1).tolist() if not isinstance(v, (int, float))), None)
            kind = "rows of different lengths" if isinstance(odd, (list, tuple, np.ndarray)) else type(odd).__name__
            raise DataError(
                f"Expected numeric features, got an object array that holds {kind}.",
                hint="Pass a DataFrame, or encode texts as numbers first.",
            ) from error
    raise DataError(
        f"Expected numeric features, got dtype {array.dtype}.",
        hint="Complex numbers, dates and texts must be turned into real numbers first; or pass a DataFrame.",
    )


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.uint8)
    if kind in "iu" and size == 8:
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        return array.astype(np.int32) if low >= -(2**31) and high < 2**31 else array
    if kind == "f" and size == 2:
        return array.astype(np.float32)
    if kind == "f" and size >= 8:
        with np.errstate(over="ignore", under="ignore"):
            small = array.astype(np.float32)
        return array.astype(np.float64, copy=False) if _loses(array, small) else small
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _loses(exact: NDArray[Any], small: NDArray[np.float32]) -> bool:
    """Whether rounding moved any value by more than ``LOSS`` of the range of its column."""
    if not len(exact):
        return False
    step = max(1, _CHUNK // max(1, exact[0].size))
    error = np.zeros(exact.shape[1:])
    for start in range(0, len(exact), step):
        part = slice(start, start + step)
        error = np.maximum(error, np.abs(exact[part] - small[part]).max(axis=0))
    spread = exact.max(axis=0) - exact.min(axis=0)
    return bool(np.any((spread > 0) & (error > LOSS * spread)))


def _clean_frame(frame: Any) -> Any:
    import pandas as pd

    if frame.shape[1] == 0:
        raise DataError("Expected at least one feature, got a DataFrame without columns.")
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"Expected distinct column names, got '{name}' twice.", hint="Rename one of them.")
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "c":
            raise DataError(f"Expected real features, got complex numbers in column '{name}'.")
        missing = column.isna().to_numpy(dtype=bool)
        if pd.api.types.is_float_dtype(column.dtype):
            missing = missing | np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan))
        if missing.any():
            raise DataError(
                f"Expected complete features, got {int(missing.sum()):,} missing or infinite value(s) in column "
                f"'{name}'; "
                f"the first in row {int(np.argmax(missing))}.",
                hint="Fill or drop them before the audit, exactly as was done for training.",
            )
    return frame
