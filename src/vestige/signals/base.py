"""The Signal contract, and the table that holds what was measured on every (model, record)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vestige.errors import AuditError
from vestige.records import Records
from vestige.target import Access, FloatArray, IntArray, Outputs, Target

Signals = NDArray[np.float32]


@runtime_checkable
class Signal(Protocol):
    """A number, or K numbers, measured on (model, record)."""

    access: ClassVar[Access]

    def measure(self, target: Target, records: Records, rows: IntArray, rng: np.random.Generator) -> FloatArray:
        """Measure on ``rows``; returns (R, K)."""
        ...


@runtime_checkable
class OutputSignal(Signal, Protocol):
    """A signal that is a function of the target's answer alone, so that many of them share one query."""

    def of(self, outputs: Outputs, y: IntArray | FloatArray) -> FloatArray:
        """Return (R, K) from the answers to R records and their true labels."""
        ...


@dataclass(frozen=True, eq=False)
class SignalTable:
    """What was measured: for each signal key one array per model, (N, A) for scalars or (N, A, K) for vectors.

    N records, A queries of each record (one, unless augmented). Arrays may be memory-mapped and are never written to. A
    signal's key is its registered name, with parameters in brackets when it has any: ``log_odds``,
    ``log_probability(temperature=2.0)``.
    """

    columns: Mapping[str, Sequence[Signals] | Signals]
    records: int
    models: int

    def keys(self) -> list[str]:
        """Return the keys of the signals in the table."""
        return list(self.columns)

    def _column(self, key: str) -> Sequence[Signals] | Signals:
        if key not in self.columns:
            raise AuditError(f"The signal '{key}' was not measured; the table has {', '.join(self.columns) or 'none'}.")
        return self.columns[key]

    def model(self, key: str, index: int) -> Signals:
        """Return one model's (N, A[, K]) values."""
        return self._column(key)[index]

    def block(self, key: str, start: int, stop: int) -> Signals:
        """Return the (models, stop - start, A[, K]) values of a run of records, without loading the others."""
        column = self._column(key)
        if isinstance(column, np.ndarray):
            return column[:, start:stop]
        if not column:
            return np.empty((0, stop - start, 1), np.float32)
        return np.stack([np.asarray(one[start:stop]) for one in column])

    def select(self, models: IntArray) -> SignalTable:
        """Return the same table for these models only, in this order, without copying."""
        columns = {key: [column[int(m)] for m in models] for key, column in self.columns.items()}
        return SignalTable(columns, self.records, len(models))

    def slice(self, start: int, stop: int) -> SignalTable:
        """Return the same table for a run of records, without copying."""
        columns = {key: [one[start:stop] for one in column] for key, column in self.columns.items()}
        return SignalTable(columns, stop - start, self.models)

    def take(self, rows: IntArray) -> SignalTable:
        """Return the same table for these records only, in this order."""
        columns = {key: [one[rows] for one in column] for key, column in self.columns.items()}
        return SignalTable(columns, len(rows), self.models)


def key_of(name: str, params: Mapping[str, Any] | None = None) -> str:
    """Return the table key of a signal: its name, and its parameters when it has any."""
    if not params:
        return name
    inside = ",".join(f"{k}={params[k]!r}" for k in sorted(params))
    return f"{name}({inside})"
