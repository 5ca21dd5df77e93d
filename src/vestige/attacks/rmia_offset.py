"""RMIA's marginal likelihood, and the line by which its offline form guesses what IN references would have said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vestige.attacks.base import Evidence
from vestige.attacks.likelihoods import half_and_half
from vestige.attacks.moments import Floats
from vestige.errors import AccessError
from vestige.target import BoolArray

GRID = tuple(round(0.05 * step, 2) for step in range(21))
FALLBACK = 0.8
_MODELS, _RECORDS, _RUNS = 8, 5000, 8  # simulated targets and records that settle the offset: more do not move it
_FAINT = -690.0


def log_marginal(out: Floats, inside: Floats, offset: float) -> Floats:
    """Return the log of ½(mean OUT + mean IN likelihood), (N, A), from the logs of both; all finite.

    A missing IN mean is guessed as ``offset``·OUT + (1 − ``offset``), a missing OUT mean by the same line, and a
    record without any reference gets the average of the others.
    """
    has_out, has_in = np.isfinite(out), np.isfinite(inside)
    guess_in = offline_inside(np.where(has_out, out, _FAINT), offset)
    likelihood = np.exp(np.where(has_in, inside, 0.0))
    back = (likelihood - (1 - offset)) / offset if offset > 0 else np.zeros_like(likelihood)
    guess_out = np.log(np.clip(back, np.exp(_FAINT), likelihood + np.exp(_FAINT)))
    marginal = half_and_half(np.where(has_out, out, guess_out), np.where(has_in, inside, guess_in))
    known = has_out | has_in
    if known.all():
        return marginal
    usual = marginal[known].mean() if known.any() else 0.0
    return np.where(known, marginal, usual)


def offline_inside(out: Floats, offset: float) -> Floats:
    """Return the log of ``offset``·p + (1 − ``offset``) from the log of p."""
    if offset >= 1:
        return out
    if offset <= 0:
        return np.zeros_like(out)
    inside: Floats = np.logaddexp(np.log(offset) + out, np.log1p(-offset))
    return inside


def tuned_offset(evidence: Evidence, key: str) -> float:
    """Return the offset with which references, attacked in the target's place, are told apart best on average.

    The target is not looked at. Each simulated target is left out of its own marginal, and so is a model trained on
    exactly the records that it was not, because the number of OUT references would give its members away.
    """
    if evidence.needs.side != "both":
        raise AccessError("Tuning RMIA's offset needs the references' IN values, which the attack did not declare.")
    if not len(evidence.masks):
        return FALLBACK
    parts = list(_sample(len(evidence)))
    masks = np.concatenate([evidence.masks[:, a:b] for a, b in parts], axis=1)
    values = np.concatenate([evidence.reference(key, a, b) for a, b in parts], axis=1).astype(np.float64)
    weights = (~masks)[:, :, None].astype(np.float64)
    likelihoods = np.exp(values) * weights
    total, count = likelihoods.sum(axis=0), weights.sum(axis=0)
    gains = np.zeros(len(GRID))
    for model in np.unique(np.linspace(0, len(masks) - 1, min(len(masks), _MODELS)).astype(np.int64)):
        left_out = [model, *np.flatnonzero((masks == ~masks[model]).all(axis=1))]
        others = count - weights[left_out].sum(axis=0)
        known = others[:, 0] > 0
        member = masks[model][known]
        if not known.any() or member.all() or not member.any():
            continue
        mean = (total - likelihoods[left_out].sum(axis=0))[known] / others[known]
        out = np.log(np.maximum(mean, np.exp(_FAINT)))
        for place, offset in enumerate(GRID):
            marginal = half_and_half(out, offline_inside(out, offset))
            gains[place] += _auc((values[model][known] - marginal).mean(axis=1), member)
    return GRID[int(np.argmax(gains))] if gains.any() else FALLBACK


def _sample(records: int) -> Iterator[tuple[int, int]]:
    """Yield runs of records, all of them when they are few."""
    if records <= _RECORDS:
        yield 0, records
        return
    length = _RECORDS // _RUNS
    for start in np.linspace(0, records - length, _RUNS).astype(np.int64):
        yield int(start), int(start) + length


def _auc(scores: Floats, member: BoolArray) -> float:
    others = np.sort(scores[~member])
    below = np.searchsorted(others, scores[member], side="left")
    upto = np.searchsorted(others, scores[member], side="right")
    return float((below + upto).mean() / (2 * len(others)))
