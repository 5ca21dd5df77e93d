"""What an adversary knows of membership from elsewhere, for models that it has no such knowledge of."""

from __future__ import annotations

import numpy as np

from vestige.target import BoolArray, FloatArray


def imagined_prior(prior: FloatArray, members: BoolArray, rng: np.random.Generator) -> FloatArray:
    """Return (N,) what somebody who knew as much would know of a model with these ``members``.

    ``prior``: (Z,) probabilities of membership of another model. Taken at its word, a value p is p/(1 − p) times as
    frequent among members as among others: members are given values drawn with weights p, others with 1 − p. Shadow
    models in the target's place get such a prior, because the real one says nothing of them, and thresholds have to be
    learnt on scores that contain one.
    """
    drawn = np.empty(len(members))
    for side, weights in ((members, prior), (~members, 1 - prior)):
        drawn[side] = rng.choice(prior, int(side.sum()), p=weights / weights.sum())
    return drawn
