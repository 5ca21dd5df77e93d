"""Which way a signal points: whether members have more of it or less."""

from __future__ import annotations

import numpy as np

from vestige.attacks.base import Evidence
from vestige.attacks.moments import Floats, Moments, collect, scalars

_FALLS = frozenset({"loss", "entropy", "modified_entropy", "gradient_norm"})


def sign(key: str) -> float:
    """Return +1 when members tend to have larger values of the signal, −1 when smaller."""
    return -1.0 if key.partition("(")[0] in _FALLS else 1.0


def oriented(evidence: Evidence, key: str) -> tuple[Floats, Moments, Moments]:
    """Return the target's (N, A) values and the moments of OUT and IN references, turned so that members have more."""
    turn = sign(key)
    sides = collect(evidence, key)
    if turn < 0:
        out, inside = (Moments(side.count, -side.mean, side.scatter, -side.centre) for side in sides)
        return -scalars(evidence, key), out, inside
    return scalars(evidence, key), *sides


def filled(mean: Floats) -> Floats:
    """Return (N, A) means with those of records that have none replaced by the average of the others."""
    known = np.isfinite(mean)
    usual = np.where(known, mean, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, mean, usual)
