"""What a step aims at, told to the compiled loops, and how a model does on records it is judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestige.backends.compiled.layout import Aim, Data
from vestige.backends.objectives import Levels, Relaxed
from vestige.seeds import rng
from vestige.target import IntArray

NO_AIM = Aim(
    partners=np.zeros(0, np.int64), mates=np.zeros(0, np.int64), shares=np.zeros(0, np.float32), key=0, climbs=0,
    reference=0, alone=0, top=1.0, rest=0.0, penalty=0.0, level=0.0, upper=1.0, keep=1.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Aims:
    """What defences change: of a loss, ``softened`` or ``relaxed``; ``mixup`` and ``dropout`` as in a recipe."""

    softened: Levels | None = None
    relaxed: Relaxed | None = None
    mixup: float | None = None
    dropout: float = 0.0


class Draws:
    """One model's aims, epoch by epoch."""

    def __init__(self, aims: Aims, seed: int) -> None:
        self.aims, self._blends, self._keys = aims, rng(seed, "mixup"), rng(seed, "dropout")

    def epoch(self, number: int, order: IntArray, batch: int) -> Aim:
        """Return the aim of the next epoch, in which the rows are shown in this order."""
        aims = self.aims
        soft = aims.softened or Levels(1.0, 0.0, 0.0)
        relaxed = aims.relaxed or Relaxed(level=0.0)
        partners, shares = self._partners(len(order), batch)
        key = int(self._keys.integers(1 << 62)) if aims.dropout else 0
        starts = np.arange(len(partners)) // batch * batch
        return Aim(
            partners=partners, mates=order[starts + partners], shares=shares, key=key, climbs=int(number % 2 == 0),
            reference=int(relaxed.flatten == "reference"), alone=int(relaxed.per_record), top=soft.top, rest=soft.rest,
            penalty=soft.penalty, level=relaxed.level, upper=relaxed.upper, keep=1 - aims.dropout,
        )  # fmt: skip

    def _partners(self, count: int, batch: int) -> tuple[IntArray, NDArray[np.float32]]:
        spread, found, shares = self.aims.mixup, [np.zeros(0, np.int64)], []
        if spread is None:
            return NO_AIM.partners, NO_AIM.shares
        for start in range(0, count, batch):
            shares.append(self._blends.beta(spread, spread))
            found.append(self._blends.permutation(min(batch, count - start)))
        return np.concatenate(found), np.array(shares, np.float32)


def plain_loss(kind: str, answers: NDArray[np.float32], data: Data, rows: IntArray) -> float:
    """Return the mean plain loss of answers to ``rows``: a squared error where training aims at one."""
    from scipy.special import log_softmax

    found = answers.astype(np.float64)
    if kind == "number":
        return float(np.mean((found[:, 0] - data.numbers[rows]) ** 2))
    labels = data.labels[rows]
    if kind == "one_hot":
        wanted = np.eye(found.shape[1])[labels] if found.shape[1] > 1 else labels[:, None]
        return float(np.mean((found - wanted) ** 2))
    if found.shape[1] == 1:
        found = np.column_stack([np.zeros(len(found)), found])
    return float(-np.mean(log_softmax(found, axis=1)[np.arange(len(found)), labels]))
