"""Features of a record relative to what models with and without it show: how odd they are for this record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vestige.attacks.base import Attack, Evidence
from vestige.attacks.standing import blocks_of, narrowed, stand_ins, standing, without_block
from vestige.signals.base import Signals, SignalTable
from vestige.target import FloatArray

ROWS = 512


def judged(evidence: Evidence, key: str, attacks: Sequence[Attack], *, models: int) -> Evidence | None:
    """Return the evidence with more features of each record, and as references up to ``models`` that stand for targets.

    The features: as measured; less their mean over OUT references; less that over IN references; and the scores of
    ``attacks``, which calibrate record by record. A reference in the target's place is compared with those of other
    blocks only, and the target itself with one block less than there is, so that all have equally many. None when some
    record would then lack models that trained on it, or models that did not.
    """
    places = stand_ins(evidence, models)
    if not places:
        return None
    own, blocks = np.array(_matrix(evidence.target(key)[None])[0]), blocks_of(evidence)
    # One by one the models in the target's place, then the target itself.
    groups = [np.flatnonzero(blocks == blocks[place]) for place in [*places, places[-1]]]
    sides = np.stack([evidence.outside(), evidence.masks]).astype(np.float64)
    counts = [sides.sum(axis=1) - sides[:, group].sum(axis=1) for group in groups]
    if min(count.min() for count in counts) < 1:
        return None
    width = own.shape[1]
    found = np.empty((len(groups), len(evidence), 1, 3 * width + len(attacks)), np.float32)
    for start, stop in evidence.blocks(ROWS):
        values = _matrix(evidence.reference(key, start, stop)).astype(np.float64)
        part = sides[:, :, start:stop]
        total = np.einsum("smn,mnk->snk", part, values)
        for turn, (group, count) in enumerate(zip(groups, counts, strict=True)):
            others = total - np.einsum("smn,mnk->snk", part[:, group], values[group])
            usual = others / count[:, start:stop, None]
            shown = values[places[turn]] if turn < len(places) else own[start:stop]
            found[turn, start:stop, 0, : 3 * width] = np.concatenate(
                [shown, shown - usual[0], shown - usual[1]], axis=1
            )
    for turn in range(len(groups)):
        place = standing(evidence, places[turn]) if turn < len(places) else without_block(evidence, places[-1])
        for column, attack in enumerate(attacks, 3 * width):
            found[turn, :, 0, column] = attack.score(narrowed(place, attack.needs))
    return replace(
        evidence,
        own=SignalTable({key: found[-1:]}, len(evidence), 1),
        shadows=SignalTable({key: found[:-1]}, len(evidence), len(places)),
        masks=evidence.masks[places],
        block=blocks[places],
    )


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
