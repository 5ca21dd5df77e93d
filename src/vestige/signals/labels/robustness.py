"""Robustness: how often a record keeps its label under noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from vestige.errors import UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals.base import Setting
from vestige.target import Access, FloatArray, IntArray, Target

Kind = Literal["auto", "gaussian", "flip", "salt_pepper"]
KINDS = ("auto", "gaussian", "flip", "salt_pepper")


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The share of ``queries`` noisy copies of each record that still get its true label; more = more likely a member.

    ``kind``: ``gaussian`` adds noise of standard deviation ``amount`` times a feature's own; ``flip`` changes a binary
    feature, or a category for one drawn from the pool, with probability ``amount``; ``salt_pepper`` sends a feature to
    an end of its range with probability ``amount``; ``auto``: flip for binary records and for categories, gaussian
    otherwise. Every record and every model sees noise from the same seed. Returns (R, 1).
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    kind: Kind = "auto"
    amount: float | None = None
    queries: int = 100

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"Expected kind to be one of {', '.join(KINDS)}, got '{self.kind}'.")
        if self.queries < 1 or (self.amount is not None and not self.amount > 0):
            raise UsageError(f"Expected queries ≥ 1 and an amount above 0, got {self.queries} and {self.amount}.")

    @property
    def asks(self) -> str:
        """How many labels a record takes."""
        return f"{self.queries:,}"

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Ask about noisy copies, all records with one draw at a time."""
        queries = self.queries if setting.budget is None else min(self.queries, setting.budget)
        records, rows = setting.records, setting.rows
        y = np.asarray(records.y[rows])
        noise = _Noise.of(records, self.kind, self.amount)
        kept = np.zeros(len(rows))
        for draw in range(queries):
            copies = noise.applied(records.rows_of(rows), rows, rng(setting.seed, "noise", draw))
            kept += np.asarray(target.query(copies, Access.LABEL).values) == y
        return (kept / queries)[:, None]


@dataclass(frozen=True, eq=False)
class _Noise:
    """What noise does to these records: known once from the pool, then applied draw by draw."""

    kind: Kind
    amount: float
    low: Any
    high: Any
    spread: Any
    pool: Any

    @classmethod
    def of(cls, records: Records, kind: Kind, amount: float | None) -> _Noise:
        x = records.x
        if hasattr(x, "columns"):
            if kind not in ("auto", "flip"):
                raise UsageError(
                    f"The noise '{kind}' needs numeric arrays, and these records have named columns.",
                    hint="Leave kind at auto.",
                )
            return cls("flip", amount or 0.1, None, None, None, x)
        values = np.asarray(x)
        low, high = values.min(axis=0), values.max(axis=0)
        binary = bool(np.isin(values, (0, 1)).all())
        if kind == "auto":
            kind = "flip" if binary else "gaussian"
        if kind == "flip" and not binary:
            raise UsageError("Expected binary features to flip, got others.", hint="Use kind = 'gaussian'.")
        features = int(np.prod(values.shape[1:]))
        usual = {"flip": min(0.5, 10 / features), "gaussian": 0.25, "salt_pepper": 0.05}[kind]
        return cls(kind, amount or usual, low, high, values.astype(np.float64).std(axis=0), values)

    def applied(self, x: Any, rows: IntArray, draw: np.random.Generator) -> Any:
        """Return noisy copies; a record's noise depends on its number and the draw, never on the others."""
        if hasattr(x, "columns"):
            return self._table(x, rows, draw)
        size = (int(rows.max(initial=0)) + 1, *x.shape[1:])
        if self.kind == "gaussian":
            noise = draw.standard_normal(size, np.float32)[rows] * (self.amount * self.spread).astype(np.float32)
            return np.clip(x.astype(np.float32) + noise, self.low, self.high).astype(np.float32)
        struck = (draw.random(size, np.float32) < self.amount)[rows]
        if self.kind == "flip":
            return np.where(struck, 1 - x, x).astype(x.dtype)
        up = (draw.random(size, np.float32) < 0.5)[rows]
        return np.where(struck, np.where(up, self.high, self.low), x).astype(x.dtype)

    def _table(self, x: Any, rows: IntArray, draw: np.random.Generator) -> Any:
        size = int(rows.max(initial=0)) + 1
        changed = x.copy()
        for name in x.columns:
            struck = (draw.random(size) < self.amount)[rows]
            donors = draw.integers(0, len(self.pool), size)[rows]
            column = changed[name].copy()
            column[struck] = self.pool[name].to_numpy()[donors[struck]]
            changed[name] = column
        return changed
