"""Models whose latency is made up: no test waits for a clock."""

from __future__ import annotations

import numpy as np

from vestige.backends.latency import SimulatedLatency
from vestige.records import Records
from vestige.target import Access, Outputs, require

LEVELS = (0.9, 0.7, 0.4)
STEP = 25e-6


def blobs(n=400, classes=4, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, classes, n)
    x = g.normal(size=(n, 6)) + 1.2 * np.eye(classes, 6)[y]
    return Records(x.astype(np.float32), y.astype(np.int64), np.arange(n), None, tuple("abcdefgh"[:classes]))


class Kernel:
    """Answers by its training records nearby, and surest about those it trained on."""

    access = Access.SCORE

    def __init__(self, x, y, classes, width=0.5):
        self.x, self.shown, self.width = x.astype(np.float64), np.eye(classes)[y], width
        self.asked = 0

    def query(self, x, want):
        require(self, want)
        self.asked += len(x)
        near = np.exp(-((x[:, None] - self.x) ** 2).sum(2) / (2 * self.width**2))
        mass = near @ self.shown + 0.02
        share = mass / mass.sum(1, keepdims=True)
        return Outputs("labels", share.argmax(1)) if want == Access.LABEL else Outputs("probabilities", share)

    def exits(self, x):
        """An exit for each level of confidence."""
        sure = self.query(x, Access.SCORE).values.max(1)
        return sum((sure < level).astype(np.int64) for level in LEVELS)


def early(inner, *, noise=2e-6, offset=80e-6, step=STEP, seed=0):
    """A model that takes longer over records that it is less sure of."""
    return SimulatedLatency(inner, lambda x: step * float(inner.exits(x)[0]), noise=noise, offset=offset, seed=seed)


def train(x, y, seed):
    """Train, for a function recipe, a model that takes longer over some records."""
    return early(Kernel(x, y, 4), seed=seed)


def train_steady(x, y, seed):
    """Train a model that does not say how long it takes."""
    return Kernel(x, y, 4)
