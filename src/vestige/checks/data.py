"""Doubts about the records: too few, unbalanced, or repeated across the sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vestige.checks.base import Check, Level, check
from vestige.metrics.roc import area, roc
from vestige.metrics.tpr import needed
from vestige.seeds import rng

MANY_TWINS = 0.10
TELLING = 0.95
SOME_TWINS = 0.005
NEAR = 0.02
SAMPLE = 2_000
DIRECTIONS = 64
COLUMNS = 2_000


def few_nonmembers(nonmembers: int, fprs: Sequence[float]) -> Check | None:
    """Warn when a false-positive rate asked for needs more non-members than there are."""
    coarse = sorted(fpr for fpr in fprs if nonmembers < needed(fpr))
    if not coarse:
        return None
    lost = [fpr for fpr in coarse if nonmembers * fpr < 1 - 1e-9]
    rates = " and ".join(f"{fpr:g}" for fpr in coarse)
    kept = [fpr for fpr in coarse if fpr not in lost]
    parts = [
        f"TPR at {' and '.join(f'{fpr:g}' for fpr in lost)} is withheld" if lost else "",
        f"TPR at {' and '.join(f'{fpr:g}' for fpr in kept)} is coarse" if kept else "",
    ]
    return check(
        "few-nonmembers",
        "warning",
        f"A false-positive rate of {rates} needs {needed(coarse[0]):,} non-members, there are {nonmembers:,}: "
        f"{'; '.join(part for part in parts if part)}.",
    )


def member_imbalance(members: int, nonmembers: int, *, least: float = 0.2) -> Check | None:
    """Warn when the smaller side has less than ``least`` of the larger."""
    small, large = sorted((members, nonmembers))
    if small >= least * large:
        return None
    return check("member-imbalance", "warning", f"There are {members:,} members and {nonmembers:,} non-members.")


def prior_used(prior: NDArray[np.float64], member: NDArray[np.bool_]) -> Check:
    """Say that a prior of membership was added, and how far it gets by itself; warn where it says nearly all."""
    alone = area(roc(prior[member], prior[~member]))
    level: Level = "warning" if alone >= TELLING else "info"
    return check("prior-used", level, f"A prior of membership was added to scores; alone it has an AUC of {alone:.3f}.")


def duplicates(first: NDArray[np.int64], member: NDArray[np.bool_], *, near: float = 0.0) -> Check | None:
    """Doubt an audit whose members recur among the non-members.

    ``first``: (N,) for every record the first row with the same features; ``member``: (N,); ``near``: the share of
    members with a near-duplicate, from `near_duplicates`.
    """
    inside = np.unique(first[member])
    shared = np.intersect1d(inside, np.unique(first[~member]))
    twins = np.isin(first, shared)
    share = float(np.mean(twins)) if len(first) else 0.0
    worst = max(share, near)
    if worst < SOME_TWINS:
        return None
    parts = []
    if share > 0:
        count = int(twins.sum())
        parts.append(f"{count:,} of {len(first):,} records ({share:.1%}) have an exact twin on the other side")
    if near > 0:
        parts.append(f"{near:.1%} of members have a near-duplicate among the non-members")
    return check("duplicates", "error" if worst > MANY_TWINS else "warning", f"{'; '.join(parts)}.")


def near_duplicates(features: NDArray[np.float32], member: NDArray[np.bool_], *, seed: int = 0) -> float:
    """Return the share of members with a non-member at under 2 % of the usual nearest distance, exact twins aside.

    ``features``: (N, d). A sample of 2,000 of each side is compared, through 64 random directions where d is larger.
    """
    generator = rng(seed, "checks", "near-duplicates")
    sides = []
    for side in (member, ~member):
        rows = np.flatnonzero(side)
        sides.append(np.sort(generator.choice(rows, min(SAMPLE, len(rows)), replace=False)))
    if min(len(rows) for rows in sides) < 2:
        return 0.0
    rows = np.concatenate(sides)
    width = features.shape[1]
    columns = np.arange(width) if width <= COLUMNS else np.sort(generator.choice(width, COLUMNS, replace=False))
    values = features[rows[:, None], columns].astype(np.float32)
    values = np.nan_to_num((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))
    if values.shape[1] > DIRECTIONS:
        ways = generator.standard_normal((values.shape[1], DIRECTIONS)).astype(np.float32) / np.sqrt(DIRECTIONS)
        values = values @ ways.astype(np.float32)
    inside, outside = values[: len(sides[0])], values[len(sides[0]) :]
    square = (inside**2).sum(axis=1)[:, None] + (outside**2).sum(axis=1) - 2 * inside @ outside.T
    nearest = np.argmin(square, axis=1)
    # The expanded square loses digits just where two records are close, so the winners are measured again.
    distance = np.linalg.norm(inside - outside[nearest], axis=1)
    usual = float(np.median(distance))
    if usual == 0:
        return 0.0
    found = float(np.mean((distance > 1e-6 * usual) & (distance < NEAR * usual)))
    # Of the non-members only a sample was looked at, so only that share of the twins could be found.
    return min(1.0, found * int((~member).sum()) / len(outside))
