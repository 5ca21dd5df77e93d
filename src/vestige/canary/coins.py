"""The coins: independent and fair, from the seed alone; and how scores are calibrated on models with other coins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vestige.canary.design import Design
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.estimate import Array
from vestige.seeds import rng
from vestige.target import BoolArray


@dataclass(frozen=True, eq=False)
class Flips:
    """``targets``: (runs, m) bool, True for a canary that is included; ``references``: (R, m), of coins of their own.

    References come in pairs of opposite coins, so that each canary is in half of them; an odd last one stands alone.
    """

    targets: BoolArray
    references: BoolArray

    @property
    def all(self) -> BoolArray:
        """Targets, then references."""
        return np.concatenate([self.targets, self.references])


def flip(design: Design) -> Flips:
    """Return a design's coins; more runs or references never change the earlier ones."""

    def fair(*path: str | int) -> BoolArray:
        return rng(design.seed, "canary", "coins", *path).random(design.count) < 0.5

    targets = np.stack([fair("run", run) for run in range(design.runs)])
    pairs = [fair("reference", k // 2) ^ bool(k % 2) for k in range(design.references)]
    return Flips(targets, np.stack(pairs) if pairs else np.zeros((0, design.count), bool))


def calibrated(scores: Array, flips: Flips) -> Array:
    """Return (runs, m) scores in the light of the references; those of the targets alone when there are none.

    ``scores``: (runs + R, m). A canary's score becomes the log-likelihood ratio of two Gaussians, with its own means
    over references with and without it, the difference drawn towards the one of all canaries as far as it is noise, and
    one variance for all. References share no coin with a target, so this is post-processing of what the target shows.
    """
    runs = len(flips.targets)
    own, others, inside = scores[:runs], scores[runs:], flips.references
    if not len(others):
        return own
    n_in, n_out = inside.sum(axis=0), (~inside).sum(axis=0)
    both = (n_in > 0) & (n_out > 0)
    mean_in = np.where(inside, others, 0.0).sum(axis=0) / np.maximum(n_in, 1)
    mean_out = np.where(inside, 0.0, others).sum(axis=0) / np.maximum(n_out, 1)
    away = np.where(inside, others - mean_in, others - mean_out)[:, both]
    freedom = max(int(both.sum()) * (len(others) - 2), 1)
    gap = np.where(both, mean_in - mean_out, 0.0)
    usual = float(gap[both].mean()) if both.any() else 0.0
    spread = float(np.var(gap[both])) if both.any() else 0.0
    # One model of each kind says nothing of their spread: then all of the gaps' own variation is taken for noise.
    variance = max(float((away**2).sum()) / freedom if len(others) > 2 else spread / 2, 1e-12)
    noise = variance * (1 / np.maximum(n_in, 1) + 1 / np.maximum(n_out, 1))
    real = np.maximum(spread - float(noise[both].mean() if both.any() else 0.0), 0.0)
    gap = usual + (gap - usual) * real / (real + noise)
    centre = np.where(both, (mean_in + mean_out) / 2, np.where(n_in > 0, mean_in, mean_out))
    ratios: Array = gap * (own - centre) / variance
    return ratios


def coins_of(scores: Array, flips: Flips) -> Coins:
    """Return all runs' coins as one list: a coin touches one run only, so the runs together are as private as one."""
    return Coins(scores=np.ascontiguousarray(scores).reshape(-1), included=flips.targets.reshape(-1))
