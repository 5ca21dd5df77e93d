"""Shadow models in the target's place, inside one attack's evidence: what they would show of members that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.errors import AccessError
from vestige.target import IntArray

SIDES = ("none", "out", "both")


def narrowed(evidence: Evidence, needs: Needs) -> Evidence:
    """Return what an attack with these needs sees of the evidence; raises AccessError where that would be more."""
    undeclared = [key for key in needs.signals if key not in evidence.needs.signals]
    if undeclared:
        raise AccessError(f"The attack reads the signal '{undeclared[0]}', which it did not declare in its needs.")
    if SIDES.index(needs.side) > SIDES.index(evidence.needs.side):
        raise AccessError("The attack reads reference models, which it did not declare in its needs.")
    chosen = np.arange(0 if needs.side == "none" else len(evidence.masks))
    for key in needs.signals:
        if len(chosen):
            chosen = chosen[np.isin(chosen, evidence.shadows.measured(key))]
    outside = evidence.population if needs.population else None
    return replace(
        _with_references(evidence, chosen[: needs.wants]),
        needs=needs,
        features=evidence.features if needs.features else None,
        population=None if outside is None else narrowed(outside, needs),
        prior=evidence.prior if needs.prior else None,
    )


def stand_ins(evidence: Evidence, count: int) -> list[int]:
    """Return up to ``count`` references that everything was measured on, of blocks of their own that are whole."""
    blocks = blocks_of(evidence)
    if not len(blocks):
        return []
    _, first, place, sizes = np.unique(blocks, return_index=True, return_inverse=True, return_counts=True)
    shown = set(range(len(blocks)))
    for key in evidence.needs.signals:
        shown &= set(evidence.shadows.measured(key).tolist())
    able: dict[int, int] = {}
    for model in sorted(shown):
        if sizes[place[model]] == sizes.max():
            able.setdefault(int(first[place[model]]), model)
    models = sorted(able.values())
    if len(models) <= count:
        return models
    return [models[int(i)] for i in np.linspace(0, len(models) - 1, count).round()]


def standing(evidence: Evidence, model: int) -> Evidence:
    """Return the evidence with reference ``model`` as its target and no other of its block among the references."""
    outside = evidence.population
    return replace(
        without_block(evidence, model),
        own=evidence.shadows.select(np.array([model])),
        population=None if outside is None else standing(replace(outside, block=blocks_of(evidence)), model),
        prior=None,
    )


def without_block(evidence: Evidence, model: int) -> Evidence:
    """Return the evidence without reference ``model`` and the others of its block."""
    blocks = blocks_of(evidence)
    outside = evidence.population
    return replace(
        _with_references(evidence, np.flatnonzero(blocks != blocks[model])),
        population=None if outside is None else without_block(replace(outside, block=blocks), model),
    )


def blocks_of(evidence: Evidence) -> IntArray:
    """Return (M,) numbers, equal for references that were drawn together.

    Where the evidence does not say, two that trained on complementary halves are taken to have been: with one of them
    left in, its records would be known by their number of references.
    """
    if evidence.block is not None:
        return evidence.block
    masks = np.asarray(evidence.masks)
    blocks = np.arange(len(masks), dtype=np.int64)
    for model in blocks:
        other = np.flatnonzero((masks == ~masks[model]).all(axis=1))
        blocks[model] = min([int(model), *other[:1].tolist()])
    return blocks


def _with_references(evidence: Evidence, chosen: IntArray) -> Evidence:
    return replace(
        evidence,
        shadows=evidence.shadows.select(chosen),
        masks=evidence.masks[chosen],
        block=blocks_of(evidence)[chosen],
    )
