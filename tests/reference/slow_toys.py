"""Evidence built by hand, and worlds whose best attack is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from vestige.attacks.base import Evidence
from vestige.signals.base import SignalTable
from vestige.target import Access


def table(columns, models):
    columns = {key: [np.asarray(one, np.float32) for one in values] for key, values in columns.items()}
    records = len(next(iter(columns.values()))[0])
    return SignalTable(columns, records, models)


def shaped(values):
    """(models, records[, queries]) → (models, records, queries)."""
    values = np.asarray(values, np.float32)
    return values if values.ndim == 3 else values[:, :, None]


def evidence(
    attack, own, references, masks, *, key=None, population=None, features=None, labels=None, classes=2, seed=0
):
    """Evidence for ``attack`` on one signal. ``own``: (N[, A]); ``references``: (M, N[, A]); ``masks``: (M, N)."""
    key = key or attack.needs.signals[0]
    own = shaped(np.asarray(own)[None])
    references = shaped(references)
    count = own.shape[1]
    return Evidence(
        access=Access.SCORE,
        needs=attack.needs,
        labels=np.zeros(count, np.int64) if labels is None else labels,
        classes=classes,
        own=table({key: own}, 1),
        shadows=SignalTable({key: list(references)}, count, len(references)),
        masks=np.asarray(masks, bool),
        features=features,
        population=population,
        seed=seed,
    )


def balanced_masks(models, records, rng):
    """Every record IN exactly half of the models."""
    return np.argsort(np.argsort(rng.random((models, records)), axis=0), axis=0) < models // 2


@dataclass(frozen=True)
class Gaussian:
    """Records differ in difficulty μ ~ N(0, τ²); a model shows μ + δ·[trained on it] + N(0, σ²)."""

    shift: float = 1.0
    sigma: float = 0.5
    tau: float = 3.0

    def draw(self, models, records, rng):
        """Return own (N,), references (M, N), masks (M, N) and the truth (N,); the first half are members."""
        hard = rng.normal(0, self.tau, records)
        truth = np.arange(records) < records // 2
        masks = balanced_masks(models, records, rng)
        own = hard + self.shift * truth + rng.normal(0, self.sigma, records)
        references = hard + self.shift * masks + rng.normal(0, self.sigma, (models, records))
        return own, references, masks, truth

    @property
    def best_auc(self):
        return norm.cdf(self.shift / (np.sqrt(2) * self.sigma))

    def best_tpr(self, fpr):
        return norm.sf(norm.isf(fpr) - self.shift / self.sigma)


def auc(scores, truth):
    """The probability that a member scores above a non-member, ties one half, by sorting."""
    others = np.sort(scores[~truth])
    below = np.searchsorted(others, scores[truth], side="left") + np.searchsorted(others, scores[truth], side="right")
    return below.mean() / (2 * len(others))


def tpr_at(scores, truth, fpr):
    """The largest true-positive rate of a threshold whose empirical false-positive rate is at most ``fpr``."""
    others = np.sort(scores[~truth])[::-1]
    return (scores[truth] > others[int(np.floor(fpr * len(others)))]).mean()
