"""Looks at guesses, built from their counts."""

from __future__ import annotations

import numpy as np

from vestige.metrics.epsilon.guesses import Looks


def looks_of(inside, outside, correct, *, canaries, rate=0.5):
    return Looks(
        canaries=canaries,
        rate=rate,
        inside=np.array(inside),
        outside=np.array(outside),
        correct=np.array(correct),
    )
