"""Turns records into the float32 arrays that networks read: tables encoded, images channels first, values scaled.

What is fitted here (categories, scales) is fitted on the whole pool, so it says nothing about who was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError

Normalize = Literal["auto", "none", "standard", "unit"]
LARGE = 10.0


@dataclass(frozen=True, eq=False)
class Features:
    """How raw records become arrays: categories per column (tables), layout (images), then ``(x - shift) * scale``."""

    columns: Mapping[str, tuple[Any, ...] | None] | None
    image: Literal["none", "add_channel", "channels_last"]
    shift: NDArray[np.float32] | None
    scale: NDArray[np.float32] | None
    integers: bool = False

    def __call__(self, x: Any) -> NDArray[Any]:
        """Return (R, …) float32, or int64 where a network looks indices up."""
        raw = self._arranged(x)
        if self.integers:
            return np.ascontiguousarray(raw, np.int64)
        out = np.asarray(raw, np.float32)
        if self.shift is not None and self.scale is not None:
            out = (out - self.shift if self.shift.any() else out) * self.scale
        return np.ascontiguousarray(out, np.float32)

    def bytes_of(self, x: Any) -> NDArray[np.uint8] | None:
        """Return (R, …) bytes that become what `__call__` returns when multiplied by ``scale``, or None."""
        if self.integers or self.columns is not None or hasattr(x, "columns") or np.asarray(x).dtype != np.uint8:
            return None
        if self.scale is not None and (self.scale.ndim or self.shift is None or self.shift.any()):
            return None
        return np.ascontiguousarray(self._arranged(x))

    def _arranged(self, x: Any) -> NDArray[Any]:
        if self.columns is not None:
            return _encode(x, self.columns)
        array = np.asarray(x)
        if self.image == "add_channel":
            return array[:, None]
        return array.transpose(0, 3, 1, 2) if self.image == "channels_last" else array


def fit_features(
    x: Any,
    normalize: Normalize,
    *,
    image: Literal["none", "add_channel", "channels_last"] = "none",
    integers: bool = False,
) -> Features:
    """Fit categories and scales on every record of the pool.

    ``standard``: mean 0 and deviation 1, per feature, or per channel of images. ``unit``: bytes over 255, anything else
    from its smallest to its largest value. ``auto``: unit for bytes above 1, standard above 10, else none.
    """
    columns = _columns(x) if hasattr(x, "columns") else None
    plain = Features(columns, image, None, None, integers)
    if integers:
        return plain
    byte = columns is None and np.asarray(x).dtype == np.uint8
    if byte and normalize in ("auto", "none", "unit"):
        # Bytes say what they need without ever becoming four times as large.
        wanted = normalize == "unit" or (normalize == "auto" and int(np.asarray(x).max(initial=0)) > 1)
        scaled = replace(plain, shift=np.zeros((), np.float32), scale=np.asarray(1 / 255, np.float32))
        return scaled if wanted else plain
    array = plain(x)
    if not np.isfinite(array).all():
        raise DataError(
            "Expected every feature to be a finite number, got NaN or infinity.",
            hint="Fill or drop missing values first.",
        )
    if normalize == "auto":
        largest = float(np.abs(array).max(initial=0.0))
        normalize = "standard" if largest > LARGE else "none"
    if normalize == "none":
        return plain
    axes = (0,) if array.ndim < 4 else (0, 2, 3)
    wide = array.astype(np.float64)
    low, high = wide.min(axes, keepdims=True)[0], wide.max(axes, keepdims=True)[0]
    if normalize == "unit":
        shift, width = low, high - low
    else:
        shift, width = wide.mean(axes, keepdims=True)[0], wide.std(axes, keepdims=True)[0]
    scale = np.where(high > low, 1 / np.where(width > 0, width, 1), 1)
    return Features(columns, image, np.asarray(shift, np.float32), np.asarray(scale, np.float32))


def _columns(frame: Any) -> dict[str, tuple[Any, ...] | None]:
    found: dict[str, tuple[Any, ...] | None] = {}
    for name in frame.columns:
        column = frame[name]
        numeric = column.dtype.kind in "biuf" if hasattr(column.dtype, "kind") else False
        found[name] = None if numeric else tuple(sorted(column.astype(str).unique()))
    return found


def _encode(frame: Any, columns: Mapping[str, tuple[Any, ...] | None]) -> NDArray[np.float32]:
    if not hasattr(frame, "columns"):
        return np.asarray(frame, np.float32)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"Expected the columns the model was trained on, but there is no '{missing[0]}'.")
    parts = []
    for name, categories in columns.items():
        if categories is None:
            parts.append(frame[name].to_numpy(np.float32)[:, None])
        else:
            values = frame[name].astype(str).to_numpy()
            parts.append((values[:, None] == np.asarray(categories, dtype=object)).astype(np.float32))
    return np.concatenate(parts, axis=1)
