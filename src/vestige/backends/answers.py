"""What a model answered, made sound: asked in blocks, checked, its columns in the order of the records' classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import ModelError
from vestige.target import IntArray, OutputKind, Outputs

QUERY_BLOCK = 65_536
MISSING_LOGIT = float(np.log(np.finfo(np.float32).tiny))
SUM_TOLERANCE = 0.1


def rows_in(x: Any) -> int:
    """Return the number of records in an array, DataFrame, sparse matrix or sequence."""
    return int(x.shape[0]) if hasattr(x, "shape") else len(x)


def as_array(values: Any) -> NDArray[Any]:
    """Return an answer as an array: torch tensors leave their graph and device, float16 is widened."""
    if isinstance(values, list) and values and all(getattr(one, "ndim", 0) == 2 for one in values):
        raise ModelError(
            f"Expected one answer per record, got {len(values)} arrays: the model has several outputs.",
            hint="Audit one output at a time: wrap the model in a function that returns that output's probabilities.",
        )
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def ask_in_blocks(ask: Callable[[Any], Any], x: Any, size: int = QUERY_BLOCK) -> NDArray[Any]:
    """Ask for ``x`` in runs of at most ``size`` records and return the answers together; raises when a row is lost."""
    total = rows_in(x)
    if hasattr(x, "tocsr"):
        x = x.tocsr()
    parts = []
    for start in range(0, max(total, 1), size):
        stop = min(start + size, total)
        piece = x if stop - start == total else x.iloc[start:stop] if hasattr(x, "iloc") else x[start:stop]
        answer = as_array(ask(piece))
        if answer.ndim == 0 or len(answer) != stop - start:
            got = len(answer) if answer.ndim else "a single number"
            raise ModelError(
                f"Expected {stop - start} answers for {stop - start} records, got {got}.",
                hint="A model must answer one row per record, in the order asked.",
            )
        parts.append(answer)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def outputs_of(kind: OutputKind, values: NDArray[Any], classes: int) -> Outputs:
    """Return checked outputs; raises ModelError for NaN, infinities, wrong widths and rows that do not sum to one."""
    if kind == "labels":
        return Outputs(kind, values.astype(np.int64))
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        raise ModelError(
            f"Expected finite answers, got NaN or infinity for {int(bad.sum())} of {len(values)} records.",
            hint="Check that the model's training converged and that it sees the features it was trained on.",
        )
    if kind == "values":
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        return Outputs(kind, values)
    if values.ndim != 2 or values.shape[1] != classes:
        raise ModelError(
            f"Expected one column for each of {classes} classes, got answers of shape {values.shape}.",
            hint="A model must answer one row per record and one column per class, in the order of the classes.",
        )
    if kind == "probabilities" and len(values) and not are_probabilities(values):
        sums = values.sum(axis=1)
        raise ModelError(
            f"Expected probabilities that sum to one, got values from {values.min():.4g} to {values.max():.4g} "
            f"with row sums from {sums.min():.4g} to {sums.max():.4g}.",
            hint="If these are scores before a softmax, wrap the model in CallableTarget(..., kind='logits').",
        )
    return Outputs(kind, values)


def are_probabilities(values: NDArray[Any]) -> bool:
    """Return whether every row is a distribution, up to the rounding that serving systems apply."""
    sums = values.sum(axis=1)
    return bool(values.min() >= -1e-6 and values.max() <= 1 + 1e-6 and np.abs(sums - 1).max() <= SUM_TOLERANCE)


def from_positive(kind: OutputKind, column: NDArray[Any]) -> NDArray[Any]:
    """Return both columns of a two-class model that answers for its second class alone."""
    other = 1 - column if kind == "probabilities" else np.zeros_like(column)
    return np.stack([other, column], axis=1)


def scatter(kind: OutputKind, values: NDArray[Any], columns: IntArray, classes: int) -> NDArray[Any]:
    """Return (R, classes) with each of the model's columns in its class's place.

    A class that the model has never seen gets probability zero, or a logit far below the record's others.
    """
    if len(columns) == classes and np.array_equal(columns, np.arange(classes)):
        return values
    out = np.zeros((len(values), classes), values.dtype)
    if kind == "logits" and values.shape[1]:
        out[:] = values.min(axis=1, keepdims=True) + MISSING_LOGIT
    out[:, columns] = values
    return out


def class_indices(labels: NDArray[Any], names: Sequence[str], classes: int) -> IntArray:
    """Return the class index of each label that a model knows: by name when all are names, else as indices already."""
    places = {_plain(name): place for place, name in enumerate(names)}
    named = [places.get(_plain(label)) for label in labels.tolist()]
    found = [place for place in named if place is not None]
    if found and len(found) == len(named):
        return np.array(found, np.int64)
    if labels.dtype.kind in "biuf":
        indices = labels.astype(np.int64)
        if (indices == labels).all() and (indices >= 0).all() and (indices < classes).all():
            return indices
    strangers = [label for label, place in zip(labels.tolist(), named, strict=True) if place is None]
    expected = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else f"0 to {classes - 1}"
    raise ModelError(
        f"Expected answers among the {classes} classes ({expected}), got {strangers[:3] or labels.tolist()[:3]}.",
        hint="The model was trained on other labels, or is a regressor.",
    )


def _plain(label: Any) -> str:
    """Return one spelling for 3, 3.0, '3' and '3.0'."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return re.sub(r"^(-?\d+)\.0+$", r"\1", str(label))
