"""The Attack contract: what an attack declares it needs, and the evidence that is all it ever sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from vestige.errors import AccessError
from vestige.seeds import rng
from vestige.signals.base import Signals, SignalTable
from vestige.target import Access, BoolArray, FloatArray, IntArray

Side = Literal["none", "out", "both"]
BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an attack asks for beyond the target's answers.

    ``signals``: table keys; ``shadows``: the fewest reference models it can work with, ``wants`` how many it uses at
    most (None: all); ``side``: which shadow values it may read (``out``: only those of models that did not train on
    the record); ``population``: records that no model trained on; ``features``: the records' own features; ``prior``:
    how likely each record is a member, as the adversary knows from elsewhere.
    """

    signals: tuple[str, ...]
    shadows: int = 0
    wants: int | None = None
    side: Side = "none"
    population: bool = False
    features: bool = False
    prior: bool = False


@runtime_checkable
class Attack(Protocol):
    """A pure function from evidence to one score per audited record, larger = more likely a member."""

    access: ClassVar[Access]
    paper: ClassVar[str]

    @property
    def needs(self) -> Needs:
        """What it asks for."""
        ...

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What the adversary has. There is no field for the target's own membership row.

    ``labels``: (N,) class indices (or regression targets); ``classes``: their number (0: regression); ``own``: a
    table with the target as its only model; ``shadows``: a table of M reference models over the same N records;
    ``masks``: (M, N) bool, True where a reference trained on the record; ``features``: (N, d) float32 or None;
    ``population``: the same for Z records that neither the target nor any reference trained on, or None; ``seed``:
    for attacks that draw; ``block``: (M,) equal for references that were drawn together, where that is known;
    ``prior``: (N,) what the adversary knows from elsewhere, as probabilities of membership, or None.
    """

    access: Access
    needs: Needs
    labels: IntArray | FloatArray
    classes: int
    own: SignalTable
    shadows: SignalTable
    masks: BoolArray
    features: FloatArray | None = None
    population: Evidence | None = None
    seed: int = 0
    block: IntArray | None = None
    prior: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def _allowed(self, key: str) -> None:
        if key not in self.needs.signals:
            raise AccessError(f"The attack reads the signal '{key}', which it did not declare in its needs.")

    def target(self, key: str) -> Signals:
        """Return what the target showed: (N, A) or (N, A, K)."""
        self._allowed(key)
        return self.own.model(key, 0)

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) runs of records, so that no step holds models × records × queries at once."""
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))

    def reference(self, key: str, start: int = 0, stop: int | None = None, *, hidden: float = np.nan) -> Signals:
        """Return the references' (M, n, A[, K]) values for a run of records; ``hidden`` where the side forbids them."""
        self._allowed(key)
        if self.needs.side == "none":
            raise AccessError("The attack reads reference models, which it did not declare in its needs.")
        stop = len(self) if stop is None else stop
        values = self.shadows.block(key, start, stop)
        if self.needs.side == "both":
            return values
        inside = self.masks[:, start:stop]
        return np.where(inside.reshape(*inside.shape, *(1,) * (values.ndim - 2)), np.float32(hidden), values)

    def outside(self, start: int = 0, stop: int | None = None) -> BoolArray:
        """Return (M, n): True where the reference did not train on the record."""
        return ~self.masks[:, start:stop]

    @property
    def rng(self) -> np.random.Generator:
        """A new generator, the same each time, fixed by the audit's seed."""
        return rng(self.seed, "attack")
