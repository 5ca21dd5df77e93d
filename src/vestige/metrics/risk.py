"""Who is at risk: the share of members that an adversary would name with confidence, overall and by class or group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vestige.metrics.estimate import Array, Estimate, vector, withheld
from vestige.metrics.intervals import auc, proportion
from vestige.metrics.roc import roc

AT_RISK = 0.9


@dataclass(frozen=True, kw_only=True)
class RiskSlice:
    """One class or group: its size, how well the attack does on it, and how many of its members are at risk."""

    name: str
    members: int
    nonmembers: int
    auc: Estimate
    mean_posterior: float | None
    at_risk: int | None


def share_at_risk(
    posterior: ArrayLike, member: ArrayLike, *, threshold: float = AT_RISK, confidence: float = 0.95
) -> tuple[int, Estimate]:
    """Return how many members have a posterior of at least ``threshold``, and their share of all members."""
    claimed = vector(posterior, "posteriors")[np.asarray(member, dtype=bool)]
    count = int(np.sum(claimed >= threshold))
    return count, proportion(count, len(claimed), confidence=confidence)


def posterior_histogram(posterior: ArrayLike, member: ArrayLike, *, bins: int = 10) -> list[float]:
    """Return the share of members in each of ``bins`` equal posterior bins, in ascending order."""
    claimed = vector(posterior, "posteriors")[np.asarray(member, dtype=bool)]
    place = np.minimum((claimed * bins).astype(np.int64), bins - 1)
    return [float(part) for part in np.bincount(place, minlength=bins) / max(len(claimed), 1)]


def exposure_quantiles(exposure: Array, levels: tuple[float, ...] = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)) -> list[float]:
    """Return quantiles of the exposures that are known, empty when none is."""
    known = exposure[np.isfinite(exposure)]
    return [float(q) for q in np.quantile(known, levels)] if len(known) else []


def slices(
    groups: ArrayLike,
    scores: ArrayLike,
    member: ArrayLike,
    *,
    names: list[str] | None = None,
    posterior: Array | None = None,
    threshold: float = AT_RISK,
    least: int = 20,
    confidence: float = 0.95,
) -> list[RiskSlice]:
    """Return one slice per value of ``groups``: (N,) class or group of each record, ``names`` indexed by it when given.

    A slice with fewer than ``least`` members or non-members keeps its counts, and its AUC is withheld. The intervals
    are for each slice by itself: of many slices some will stand out by chance.
    """
    kinds, codes = np.unique(np.asarray(groups), return_inverse=True)
    values, inside = vector(scores, "scores"), np.asarray(member, dtype=bool)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes, minlength=len(kinds)))[:-1])
    return [
        _slice(
            names[int(kind)] if names is not None else str(kind),
            values,
            inside,
            rows,
            posterior,
            threshold,
            least,
            confidence,
        )
        for kind, rows in zip(kinds, parts, strict=True)
    ]


def _slice(
    name: str,
    scores: Array,
    member: NDArray[np.bool_],
    rows: NDArray[np.int64],
    posterior: Array | None,
    threshold: float,
    least: int,
    confidence: float,
) -> RiskSlice:
    mine = member[rows]
    members, nonmembers = int(mine.sum()), int((~mine).sum())
    if min(members, nonmembers) < least:
        figure = withheld(f"fewer than {least} members or non-members ({members} and {nonmembers})")
    else:
        figure = auc(roc(scores[rows][mine], scores[rows][~mine]), confidence=confidence)
    claimed = None if posterior is None or members == 0 else posterior[rows][mine]
    return RiskSlice(
        name=name,
        members=members,
        nonmembers=nonmembers,
        auc=figure,
        mean_posterior=None if claimed is None else float(np.mean(claimed)),
        at_risk=None if claimed is None else int(np.sum(claimed >= threshold)),
    )
