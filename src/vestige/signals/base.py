"""The Signal contract, and the table that holds what was measured on every (model, record)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vestige.errors import AuditError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, BoolArray, FloatArray, IntArray, Outputs, Recipe, Target

Signals = NDArray[np.float32]
History = Callable[[IntArray, Callable[[Outputs], None]], None]


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


class Reference(Protocol):
    """A shadow model that the adversary trained: the model, and which of the pool's records it trained on."""

    @property
    def target(self) -> Target:
        """The model, with all that its own trainer can see of it; loaded when first asked for."""
        ...

    @property
    def mask(self) -> BoolArray:
        """(N,) bool over all records of the pool, True where it trained on the record."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What an adversary may use while probing one model: nothing here says which records that model trained on.

    ``records``: the pool; ``rows``: those to measure on, in this order; ``spare``: rows that no model trained on and no
    attack is judged on; ``references``: shadow models of the adversary's own, none of which shares a block with the
    model probed; ``recipe``: how the adversary trains models, or None; ``budget``: queries allowed per record, or None;
    ``history``: for an adversary who kept the snapshots of the probed model's training, a function of rows and of what
    to do with the model's answers to them after each epoch, the first epoch first; None when there are none.
    """

    records: Records
    rows: IntArray
    spare: IntArray
    references: Sequence[Reference]
    recipe: Recipe | None
    budget: int | None
    seed: int
    history: History | None = None

    @property
    def rng(self) -> np.random.Generator:
        """A new generator, the same each time."""
        return rng(self.seed, "probe")


@runtime_checkable
class Probe(Protocol):
    """A signal that takes many queries, or other models beside the one it is measured on.

    Probes are dear, so they are measured on the target and on a few shadow models that take its place, not on all.
    What a probe takes may be told to readers: ``asks``, how many answers a record costs (default "1"), and ``knows``,
    what the adversary has besides records and target, such as "the recipe".
    """

    access: ClassVar[Access]

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Measure on the setting's rows; returns (R, K)."""
        ...


@dataclass(frozen=True, eq=False)
class SignalTable:
    """What was measured: for each signal key one array per model, (N, A) for scalars or (N, A, K) for vectors.

    N records, A queries of each record (one, unless augmented). Arrays may be memory-mapped and are never written to. A
    signal's key is its registered name, with parameters in brackets when it has any: ``log_odds``,
    ``log_probability(temperature=2.0)``. A column has None where a model was not probed.
    """

    columns: Mapping[str, Sequence[Signals | None] | Signals]
    records: int
    models: int

    def keys(self) -> list[str]:
        """Return the keys of the signals in the table."""
        return list(self.columns)

    def _column(self, key: str) -> Sequence[Signals | None] | Signals:
        if key not in self.columns:
            raise AuditError(f"The signal '{key}' was not measured; the table has {', '.join(self.columns) or 'none'}.")
        return self.columns[key]

    def has(self, key: str, index: int) -> bool:
        """Whether the signal was measured on this model."""
        return self._column(key)[index] is not None

    def measured(self, key: str) -> IntArray:
        """Return which models the signal was measured on."""
        return np.array([m for m in range(self.models) if self.has(key, m)], np.int64)

    def model(self, key: str, index: int) -> Signals:
        """Return one model's (N, A[, K]) values."""
        found = self._column(key)[index]
        if found is None:
            raise AuditError(f"The signal '{key}' was not measured on model {index}.")
        return found

    def block(self, key: str, start: int, stop: int) -> Signals:
        """Return the (models, stop - start, A[, K]) values of a run of records, without loading the others."""
        column = self._column(key)
        if isinstance(column, np.ndarray):
            return column[:, start:stop]
        if not column:
            return np.empty((0, stop - start, 1), np.float32)
        return np.stack([np.asarray(self.model(key, m)[start:stop]) for m in range(self.models)])

    def select(self, models: IntArray) -> SignalTable:
        """Return the same table for these models only, in this order, without copying."""
        columns = {key: [column[int(m)] for m in models] for key, column in self.columns.items()}
        return SignalTable(columns, self.records, len(models))

    def slice(self, start: int, stop: int) -> SignalTable:
        """Return the same table for a run of records, without copying."""
        columns = {key: [_cut(one, slice(start, stop)) for one in column] for key, column in self.columns.items()}
        return SignalTable(columns, stop - start, self.models)

    def take(self, rows: IntArray) -> SignalTable:
        """Return the same table for these records only, in this order."""
        columns = {key: [_cut(one, rows) for one in column] for key, column in self.columns.items()}
        return SignalTable(columns, len(rows), self.models)


def _cut(values: Signals | None, rows: IntArray | slice) -> Signals | None:
    return None if values is None else values[rows]


def key_of(name: str, params: Mapping[str, Any] | None = None) -> str:
    """Return the table key of a signal: its name, and its parameters when it has any."""
    if not params:
        return name
    inside = ",".join(f"{k}={params[k]!r}" for k in sorted(params))
    return f"{name}({inside})"
