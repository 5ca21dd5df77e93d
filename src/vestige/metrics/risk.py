"""Who is at risk: the share of members that an adversary would name with confidence, overall and by class or group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vestige.metrics.estimate import Array, Estimate, vector, withheld
from vestige.metrics.intervals import auc, proportion
from vestige.metrics.many import Standing, split_curves, together

AT_RISK = 0.9


@dataclass(frozen=True, kw_only=True)
class RiskSlice:
    """One class or group: its size, how well the attack does on it, and how many of its members are at risk.

    ``auc``: with the interval of this slice by itself; ``standing``: what is left of it among all slices, None when the
    slice is too small.
    """

    name: str
    members: int
    nonmembers: int
    auc: Estimate
    standing: Standing | None
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

    A slice with fewer than ``least`` members or non-members keeps its counts, and its AUC is withheld. ``auc`` has the
    interval of the slice by itself; of many slices some stand out by chance, which ``standing`` allows for.
    """
    kinds, codes = np.unique(np.asarray(groups), return_inverse=True)
    values, inside = vector(scores, "scores"), np.asarray(member, dtype=bool)
    curves, rests = split_curves(codes, values, inside, len(kinds), least)
    standings = together(curves, rests, confidence=confidence)
    made = []
    for kind, (value, curve, standing) in enumerate(zip(kinds, curves, standings, strict=True)):
        mine = codes == kind
        members, nonmembers = int(np.sum(mine & inside)), int(np.sum(mine & ~inside))
        few = f"fewer than {least} members or non-members ({members} and {nonmembers})"
        claimed = None if posterior is None or members == 0 else posterior[mine & inside]
        made.append(
            RiskSlice(
                name=names[int(value)] if names is not None else str(value),
                members=members,
                nonmembers=nonmembers,
                auc=withheld(few) if curve is None else auc(curve, confidence=confidence),
                standing=standing,
                mean_posterior=None if claimed is None else float(np.mean(claimed)),
                at_risk=None if claimed is None else int(np.sum(claimed >= threshold)),
            )
        )
    return made
