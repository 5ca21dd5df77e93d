"""Labels as given by a user → class indices with their names, or the numbers of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, UsageError
from vestige.features import as_array

Task = Literal["classification", "regression"]
_IDENTIFIER = 20
"""From this many records on, a different class for every record is taken for a mistake."""


def encode_labels(
    y: Any, *, classes: Sequence[Any] | None = None, task: Task | None = None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return (N,) int64 class indices and the class names, or (N,) float64 and ``()`` for a regression.

    Labels may be integers, texts, booleans or floats. Floats that are not all whole numbers make a regression unless
    ``task`` says otherwise. Without ``classes`` the classes are the labels found, in sorted order. With ``classes`` a
    label is looked up by name if all of them are names, and is an index into ``classes`` otherwise.
    """
    if task not in (None, "classification", "regression"):
        raise UsageError(f"Expected task to be 'classification' or 'regression', got '{task}'.")
    labels = _flat(y)
    if task == "regression" or (task is None and classes is None and _fractional(labels)):
        return _numbers(labels, classes), ()
    if labels.dtype.kind == "f":
        if _fractional(labels):
            raise DataError(
                f"Expected class labels, got fractions such as {_first_fraction(labels)}.",
                hint="For a regression say task='regression'.",
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuUO":
        raise DataError(f"Expected labels that are integers, texts, booleans or floats, got dtype {labels.dtype}.")
    try:
        found, indices = np.unique(labels, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(v).__name__ for v in labels.tolist()})
        raise DataError(f"Expected labels of one kind, got a mixture of {' and '.join(kinds)}.") from error
    if len(found) < 2 and len(labels) > 1:
        raise DataError(
            f"Expected at least two classes, got one: every label is {found[0]!s}.",
            hint="Check that the right column was taken for the label.",
        )
    if len(found) == len(labels) >= _IDENTIFIER:
        raise DataError(
            f"Expected classes with several records each, got {len(found):,} different labels for as many records.",
            hint="Check the label column, or say task='regression'.",
        )
    if classes is None:
        return indices.astype(np.int64), tuple(str(v) for v in found.tolist())
    names = tuple(str(c) for c in classes)
    return _positions(found, names)[indices], names


def _flat(y: Any) -> NDArray[Any]:
    labels = as_array(y, "labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"Expected one label per record, got an array of shape {labels.shape}.",
            hint="Turn one-hot labels into indices with y.argmax(axis=1).",
        )
    if labels.dtype.kind == "O":
        missing = np.array([v is None or v != v for v in labels.tolist()], bool)
    elif labels.dtype.kind == "S":
        labels, missing = np.char.decode(labels, "utf-8"), np.zeros(len(labels), bool)
    elif labels.dtype.kind == "f":
        missing = ~np.isfinite(labels)
    else:
        missing = np.zeros(len(labels), bool)
    if missing.any():
        row = int(np.argmax(missing))
        raise DataError(
            f"Expected a label for every record, got {int(missing.sum()):,} missing or infinite; the first in row "
            f"{row}."
        )
    return _unboxed(labels) if labels.dtype.kind == "O" else labels


def _unboxed(labels: NDArray[Any]) -> NDArray[Any]:
    """Turn an object array of one plain kind into an array of that kind; leave mixtures as they are."""
    values = labels.tolist()
    kinds = {type(v) for v in values}
    if kinds == {str} or kinds == {bool}:
        return np.array(values)
    if kinds <= {int, float} and kinds:
        return np.array(values)
    return labels


def _fractional(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind == "f" and bool(np.any(labels != np.floor(labels)))


def _first_fraction(labels: NDArray[Any]) -> float:
    return float(labels[np.argmax(labels != np.floor(labels))])


def _numbers(labels: NDArray[Any], classes: Sequence[Any] | None) -> NDArray[np.float64]:
    if classes is not None:
        raise UsageError("A regression has no classes; leave out either classes or task='regression'.")
    if labels.dtype.kind not in "biuf":
        raise DataError(f"Expected numbers as regression targets, got labels such as '{labels[0]}'.")
    numbers = labels.astype(np.float64)
    if len(numbers) > 1 and np.ptp(numbers) == 0:
        raise DataError(f"Expected regression targets that differ, got {numbers[0]:g} for every record.")
    return numbers


def _positions(found: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the class index of every distinct label."""
    if len(set(names)) < len(names):
        raise DataError(f"Expected distinct class names, got {', '.join(names)}.")
    index = {name: i for i, name in enumerate(names)}
    texts = [str(v) for v in found.tolist()]
    unknown = [t for t in texts if t not in index]
    if not unknown:
        return np.array([index[t] for t in texts], np.int64)
    if found.dtype.kind in "iu" and found[0] >= 0 and found[-1] < len(names):
        return found.astype(np.int64)
    shown = f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
    outside = str(found[-1]) if found.dtype.kind in "iu" and found[-1] >= len(names) else unknown[0]
    raise DataError(
        f"Expected labels among the {len(names)} classes given ({shown}) or indices 0 to {len(names) - 1}, got "
        f"{outside}."
    )
