"""Evidence made of sequences whose law is known."""

from __future__ import annotations

import numpy as np

from vestige.attacks.base import Evidence
from vestige.signals.base import SignalTable
from vestige.signals.process.metrics import METRICS


def evidence(attack, draw, *, records=600, models=2, seed=0, known=None):
    """Return evidence of one target and ``models`` shadow models, and the target's members.

    ``draw(members, generator)`` returns (R, T, 5) sequences; ``known``: the same for shadow models, where it differs.
    """
    g = np.random.default_rng(seed)
    masks = np.stack([_half(records, g) for _ in range(1 + models)])
    made = [draw(masks[0], g)] + [(known or draw)(own, g) for own in masks[1:]]
    values = np.stack([one.reshape(records, 1, -1) for one in made]).astype(np.float32)
    found = Evidence(
        access=attack.access,
        needs=attack.needs,
        labels=g.integers(0, 4, records),
        classes=4,
        own=SignalTable({attack.key: values[:1]}, records, 1),
        shadows=SignalTable({attack.key: values[1:]}, records, models),
        masks=masks[1:],
        seed=seed,
    )
    return found, masks[0]


def _half(records, g):
    members = np.zeros(records, bool)
    members[g.permutation(records)[: records // 2]] = True
    return members


def in_order(members, g, *, steps=24, shuffled=False):
    """Members' values come sorted, then shifted round by any offset; the others' in any order. Only order differs."""
    x = g.standard_normal((len(members), steps))
    at = (np.arange(steps) + g.integers(0, steps, len(members))[:, None]) % steps
    x = np.where(members[:, None], np.take_along_axis(np.sort(x, axis=1), at, axis=1), x)
    if shuffled:
        x = g.permuted(x, axis=1)
    return first_metric(x)


def falling(members, g, *, steps=12):
    """Losses that fall, members' a little faster, in noise that hides it at any one step."""
    level = g.gamma(2.0, 1.0, (len(members), 1))
    rate = 0.05 + 0.04 * members[:, None] + 0.01 * g.standard_normal((len(members), 1))
    return first_metric(
        level * np.exp(-rate * np.arange(steps)) + 0.1 * np.abs(g.standard_normal((len(members), steps)))
    )


def first_metric(x):
    """Return (R, T, 5) with ``x`` as the loss and nothing else."""
    out = np.zeros((*x.shape, len(METRICS)))
    out[:, :, 0] = x
    return out
