"""Displacement: how far training moved a model's weights towards a record, judged by models of the adversary's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from scipy import special

from vestige.errors import AuditError, UsageError
from vestige.records import Records, Task
from vestige.seeds import rng, seed_for
from vestige.signals.base import Setting
from vestige.signals.internal.heads import Head, Proxies
from vestige.signals.internal.inside import Double, opened
from vestige.target import Access, BoolArray, FloatArray, IntArray, Target, require

Data = Literal["references", "spare"]
FEWEST = 20


def displacement(own: Double, proxies: Double, outside: BoolArray) -> Double:
    """Return (R,): the target's logit of the true class less the mean over the proxies that did not see the record.

    ``own``: (R,); ``proxies``: (P, R); ``outside``: (P, R). For linear layers over the same features z this is
    (ŵ - w̃)ᵀz + b̂ - b̃: for Gaussian classes of equal variances the exact log-odds of membership at even prior odds. For
    a layer deeper down, w is how the layers above respond along a path to z and b what the path leaves over, so w·z + b
    is their logit again, whatever the path. A record that no proxy is without takes the mean over all of them.
    """
    weight = np.where(outside.any(axis=0), outside, True).astype(np.float64)
    difference: Double = own - (weight * proxies).sum(axis=0) / weight.sum(axis=0)
    return difference


def centred(logits: FloatArray, y: IntArray) -> Double:
    """Return (…, R) logits of the true classes less the mean over classes, from (…, R, C).

    Trained softmax weights are known up to a vector common to all classes, which this takes away.
    """
    values = np.asarray(logits, np.float64)
    found: Double = values[..., np.arange(len(y)), y] - values.mean(axis=-1)
    return found


def log_odds(logits: FloatArray, y: IntArray) -> Double:
    """Return (…, R) log-odds of the true classes, from (…, R, C) logits; for two classes twice the centred logit."""
    values = np.array(logits, np.float64)
    own = values[..., np.arange(len(y)), y]
    values[..., np.arange(len(y)), y] = -np.inf
    found: Double = own - special.logsumexp(values, axis=-1)
    return found


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """(R, 2 L): by layer, how far the target's centred logit and log-odds lie above those of proxies; larger = member.

    Proxies of a model's upper part are trained by the target's own recipe on what that part reads in the target, for
    records of the adversary's: the first two columns are the last layer's, then those of the last two linear layers
    and so on, up to ``layers``; then, where there are shadow models, the whole model's, of which those are the proxies.
    ``data``: what proxies learn from, the training sets of shadow models (each record is judged by those without it)
    or as many of the spare records; ``proxies``: how many. Only the last linear layer of a module that is not a
    sequence can be retrained. Leino & Fredrikson 2020, "Stolen Memories", USENIX Security, sections 4 and 5.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    layers: int = 2
    proxies: int = 10
    data: Data = "references"

    def __post_init__(self) -> None:
        if min(self.layers, self.proxies) < 1:
            raise UsageError(f"Expected layers ≥ 1 and proxies ≥ 1, got {self.layers} and {self.proxies}.")
        if self.data not in get_args(Data):
            raise UsageError(f"Expected data to be {' or '.join(get_args(Data))}, got '{self.data}'.")

    @property
    def knows(self) -> tuple[str, ...]:
        """What trains the proxies."""
        return ("the recipe",) if self.data == "references" else (f"{FEWEST} or more held-out records", "the recipe")

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Train the proxies, and compare."""
        require(target, Access.WHITE_BOX)
        owner, rows = opened(target), setting.rows
        masks = self._training_sets(setting)
        y = np.asarray(setting.records.y[rows], np.int64)
        columns = []
        for place, head in enumerate(_heads(owner, setting, self.layers)):
            seeds = [seed_for(setting.seed, "proxy", place, k) for k in range(len(masks))]
            found = head.retrained([np.flatnonzero(mask) for mask in masks], seeds)
            columns += _compared(head.logits[rows], found, rows, masks, y)
        if self.data == "references":
            columns += self._whole(target, setting, masks, y)
        if not columns:
            raise AuditError("No part of the model could be retrained, and there are no shadow models to compare with.")
        return np.column_stack(columns)

    def _training_sets(self, setting: Setting) -> BoolArray:
        """Return (P, N): what each proxy learns from."""
        if self.data == "references" and setting.references:
            return np.stack([one.mask for one in setting.references[: self.proxies]])
        spare = rng(setting.seed, "spare").permutation(np.sort(setting.spare))
        if len(spare) < FEWEST:
            raise UsageError(
                f"Proxies need shadow models or {FEWEST} records that no model trained on, and there are {len(spare)}.",
                hint="Train shadow models, or set [data] population.",
            )
        masks = np.zeros((self.proxies, len(setting.records)), np.bool_)
        # As many records as the target has, so that regularisation weighs as much; the window turns, so that each spare
        # record is left out by some proxy and can be judged too.
        left_out = -(-len(spare) // self.proxies) if self.proxies > 1 else 0
        known = [int(one.mask.sum()) for one in setting.references[:1]]
        size = min([len(spare) - left_out, *known])
        for k, mask in enumerate(masks):
            mask[np.roll(spare, -(k * len(spare) // self.proxies))[:size]] = True
        return masks

    def _whole(self, target: Target, setting: Setting, masks: BoolArray, y: IntArray) -> list[Double]:
        """The whole model's proxies are the shadow models themselves."""
        chosen = setting.references[: self.proxies]
        if not chosen:
            return []
        own = _answers(target, setting.records, setting.rows)
        found = np.stack([_answers(one.target, setting.records, setting.rows) for one in chosen])
        return _both(own, found, ~masks[:, setting.rows], y)


def _both(own: FloatArray, others: FloatArray, outside: BoolArray, y: IntArray) -> list[Double]:
    return [displacement(form(own, y), form(others, y), outside) for form in (centred, log_odds)]


def _compared(own: FloatArray, found: Proxies, rows: IntArray, masks: BoolArray, y: IntArray) -> list[Double]:
    usable = [k for k, one in enumerate(found) if one is not None]
    if not usable:
        raise AuditError(
            "No proxy saw every class, so none can be compared with the target.",
            hint="Choose data = 'references', or hold out more records.",
        )
    others = np.stack([one[rows] for one in found if one is not None])
    return _both(own, others, ~masks[usable][:, rows], y)


def _answers(target: Target, records: Records, rows: IntArray) -> Double:
    from vestige.signals.measure import measure

    found = measure(target, records, rows, ["log_probabilities"])["log_probabilities"]
    return np.asarray(found[:, 0], np.float64)


def _heads(owner: Any, setting: Setting, layers: int) -> Sequence[Head]:
    if getattr(owner, "linear", None) is not None:
        from vestige.signals.internal.heads import of_linear

        return [of_linear(owner, setting.records)]
    from vestige.signals.internal.torch_heads import heads_of

    return heads_of(owner, setting, layers)
