"""Features of a record relative to what models that did not train on it show: how odd they are for this record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vestige.attacks.base import Evidence
from vestige.signals.base import Signals, SignalTable
from vestige.target import FloatArray

ROWS = 512


def relative(evidence: Evidence, key: str, *, models: int) -> Evidence | None:
    """Return the evidence with twice the features: as measured, and less their mean over OUT references.

    A reference that stands for a target later on is compared with the others only, and with equally many of them
    whether it trained on the record or not; as many as ``models`` references are kept. None when some record would have
    nothing to be compared with.
    """
    if len(evidence.masks) < 2:
        return None
    outside = evidence.outside()
    if outside.sum(axis=0).min(initial=len(outside)) < 2:
        return None
    own = np.array(_matrix(evidence.target(key)[None])[0])
    kept = min(models, len(evidence.masks))
    target = np.empty((1, len(evidence), 1, 2 * own.shape[1]), np.float32)
    shadows = np.empty((kept, *target.shape[1:]), np.float32)
    for start, stop in evidence.blocks(ROWS):
        values = _matrix(evidence.reference(key, start, stop))
        away = outside[:, start:stop]
        total = np.einsum("mn,mnk->nk", away.astype(np.float64), values.astype(np.float64))
        count = away.sum(axis=0)[:, None]
        target[0, start:stop, 0] = _joined(own[start:stop], total / count)
        spare = away & (np.cumsum(away, axis=0) == 1)
        first = np.einsum("mn,mnk->nk", spare.astype(np.float64), values.astype(np.float64))
        for model in range(kept):
            # One reference less for everyone: itself where it is OUT, else the first that is.
            less = np.where(away[model][:, None], values[model], first)
            shadows[model, start:stop, 0] = _joined(values[model], (total - less) / (count - 1))
    return replace(
        evidence,
        own=SignalTable({key: target}, len(evidence), 1),
        shadows=SignalTable({key: shadows}, len(evidence), kept),
        masks=evidence.masks[:kept],
    )


def _matrix(values: Signals) -> Signals:
    """Return (M, N, K) features of the plain query."""
    plain: Signals = values[:, :, 0].reshape(*values.shape[:2], -1)
    return plain


def _joined(values: FloatArray, usual: FloatArray) -> FloatArray:
    return np.concatenate([values, values - usual], axis=1)
