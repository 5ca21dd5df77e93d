"""What attacks find among the records that give most away: the average of all of them says little about those."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vestige.auditing.exposure import exposures
from vestige.auditing.protocol import Scores
from vestige.auditing.results import Outcome
from vestige.log import TprPoint
from vestige.log_entries import figure
from vestige.metrics import mean_over_targets, proportion, threshold_at_fpr, withheld
from vestige.metrics.estimate import Array
from vestige.metrics.targets import PARTS
from vestige.seeds import rng
from vestige.target import BoolArray, FloatArray
from vestige.tradeoff.parts import Exposed

SHARE = 0.05
FEWEST_MEMBERS = 5


Chosen = dict[int, BoolArray]
"""For each model in the target's place, which of the audited records are the most exposed ones."""


def most_exposed(outcome: Outcome, usual: Chosen | None = None) -> tuple[Exposed, dict[str, list[TprPoint]], Chosen]:
    """Return how many records those are, each attack's true-positive rates among them, and which they are.

    For each model in the target's place they are chosen by what its references say, and so without its own membership.
    The threshold is that of all its records: an adversary does not know which are exposed. ``usual``: which they are
    with no defence, for references whose answers do not tell.
    """
    field, config = outcome.field, outcome.audit.config.audit
    if field is None:
        return Exposed(share=SHARE, reason="the audit was interrupted"), {}, {}
    count = max(1, math.ceil(SHARE * field.audited))
    chosen: Chosen = {}
    borrowed = False
    points: dict[str, list[TprPoint]] = {}
    for label, found in outcome.scores.items():
        if not isinstance(found, Scores):
            continue
        reported = min(config.targets - 1, len(found.models))
        models = (0, *found.models[:reported])
        for model in models:
            if model not in chosen:
                own, others = _top(exposures(field, model), count), (usual or {}).get(model)
                borrowed = borrowed or own is None
                own = others if own is None else own
                if own is None or len(own) != field.audited:
                    reason = "too few shadow models with scores to say which records are most exposed"
                    return Exposed(share=SHARE, reason=reason), {}, {}
                chosen[model] = own
        scores = [found.target, *found.stand_ins[:reported]]
        truths = [outcome.truth, *found.truths[:reported]]
        tops = [chosen[model] for model in models]
        points[label] = [caught(scores, truths, tops, fpr, confidence=config.confidence) for fpr in config.fpr]
    return Exposed(share=SHARE, records=count, undefended=borrowed), points, chosen


def _top(seen: FloatArray | None, count: int) -> BoolArray | None:
    if seen is None or int(np.isfinite(seen).sum()) < count:
        return None
    top = np.argsort(-np.where(np.isfinite(seen), seen, -np.inf), kind="stable")[:count]
    found: BoolArray = np.isin(np.arange(len(seen)), top)
    return found


def caught(
    scores: Sequence[FloatArray],
    truths: Sequence[BoolArray],
    tops: Sequence[BoolArray],
    fpr: float,
    *,
    confidence: float = 0.95,
) -> TprPoint:
    """Return the share of members among the ``tops`` that lie above the threshold of all non-members, over targets."""
    if min(int((~truth).sum()) for truth in truths) * fpr < 1:
        return TprPoint(fpr=fpr, **figure(withheld("too few non-members for this false-positive rate")).model_dump())
    inside = [truth & top for truth, top in zip(truths, tops, strict=True)]
    if min(int(one.sum()) for one in inside) < FEWEST_MEMBERS:
        return TprPoint(fpr=fpr, **figure(withheld("too few members among the most exposed records")).model_dump())
    hits = [one & (s > threshold_at_fpr(s[~t], fpr)) for one, s, t in zip(inside, scores, truths, strict=True)]
    each = [proportion(int(h.sum()), int(n.sum()), confidence=confidence) for h, n in zip(hits, inside, strict=True)]
    noise = _record_variance(np.array(hits), np.array(inside)) if len(hits) > 1 else 0.0
    mean = mean_over_targets(each, confidence=confidence, record_variance=noise).mean
    return TprPoint(fpr=fpr, **figure(mean).model_dump())


def _record_variance(hits: Array, inside: Array) -> float:
    """Return the variance that the few records give the mean over targets, which all judge much the same ones."""
    some = np.flatnonzero(inside.any(axis=0))
    groups = min(PARTS, len(some))
    part = rng(0, "exposed-parts").permutation(len(some)) % groups
    found = []
    for left in range(groups):
        kept = some[part != left]
        found.append(float(np.mean(hits[:, kept].sum(axis=1) / np.maximum(inside[:, kept].sum(axis=1), 1))))
    return float((groups - 1) / groups * np.sum((np.array(found) - np.mean(found)) ** 2))
