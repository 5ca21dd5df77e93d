"""Canaries of a candidate: odd records that fair coins put into trainings of their own, under the same defence.

Natural records under-state what a model gives away about those that stand out, so every candidate is also asked about
records that stand out on purpose, mislabelled ones unless [canary] says otherwise. They are planted in the target's
training set, few enough to leave the model what it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vestige.auditing.run import Audit
from vestige.canary.bounds import bounds, judged
from vestige.canary.coins import Flips, calibrated, coins_of, flip
from vestige.canary.defended import bed, behind, fewest
from vestige.canary.design import Design
from vestige.canary.training import Labour, scored
from vestige.config import AuditConfig
from vestige.errors import ConfigError, VestigeError
from vestige.log import TprPoint
from vestige.log_entries import figure
from vestige.metrics import tpr_at_fpr
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.estimate import Array
from vestige.progress import Progress
from vestige.seeds import seed_for
from vestige.simultaneous import largest
from vestige.target import Access
from vestige.tradeoff.parts import Planted

SHARE, MOST = 0.05, 500
COINS, MOST_RUNS, REFERENCES = 400, 8, 4
"""Trainings until so many coins have been flipped; and models with other coins, on which scores are calibrated."""


def check(config: AuditConfig) -> None:
    """Raise ConfigError for canaries that a trade-off cannot plant."""
    if config.tradeoff.canaries and config.canary.kind == "gradient":
        raise ConfigError(
            "A trade-off plants records, and [canary] kind = 'gradient' plants directions in each step.",
            hint="Choose another kind, or leave them out with [tradeoff] canaries = false.",
        )


def design_for(config: AuditConfig, training: int, access: Access) -> Design:
    """Return which canaries, how many, and how they are scored, where [canary] leaves it open.

    ``training``: how many records the target is trained on; ``access``: what the adversary sees.
    """
    told, said = config.canary, config.canary.model_fields_set
    count = told.count if "count" in said else min(MOST, max(int(SHARE * training), 1))
    score = told.score if "score" in said and access >= Access.SCORE else "loss"
    return Design(
        kind=told.kind if "kind" in said else "mislabelled",
        count=count,
        runs=told.runs if "runs" in said else min(MOST_RUNS, math.ceil(COINS / count)),
        copies=told.copies,
        score="correct" if access == Access.LABEL else score,
        access=access,
        references=told.references if "references" in said else REFERENCES,
        delta=told.delta if config.claim is None else max(told.delta or 0.0, config.claim.delta),
        confidence=config.audit.confidence,
        seed=seed_for(config.seed, "tradeoff", "canaries"),
    )


def empty(audit: Audit) -> Planted:
    """Return what will be planted, without what is found."""
    design = design_for(audit.config, len(audit.split().rows(0)), audit.access)
    return Planted(
        kind=design.kind,
        count=design.count,
        runs=design.runs,
        references=design.references,
        copies=design.inserted,
        score=str(design.score),
    )


def planted(audit: Audit, progress: Progress) -> Planted:
    """Return what attacks find among a candidate's canaries, or the reason why that is not known."""
    config, inputs, rows = audit.config, audit.inputs, audit.split().rows(0)
    made = empty(audit)
    try:
        design = design_for(config, len(rows), audit.access)
        if inputs.recipe is None:
            raise ConfigError("Canaries need a recipe.")
        canaries = bed(inputs.records.take(rows), inputs.records.take(audit.reserve), design)
        recipe = behind(inputs.recipe, inputs.defences, canaries, design)
        shadow = config.shadow
        labour = Labour(
            store=audit.store, executor=shadow.executor, workers=shadow.workers, keep_models=shadow.keep_models
        )
        flips = flip(design)
        found = scored(canaries, flips, recipe, design, labour, progress)
        ways = _ways(found.scores, flips, design)
        bound, method = _bound(ways[0], design)
        claim = _claim(audit, fewest(canaries, flips))
    except VestigeError as error:
        return made.model_copy(update={"reason": str(error)})
    tpr = [_rate(ways, fpr, config.audit.confidence) for fpr in config.audit.fpr]
    return made.model_copy(
        update={"tpr": tpr, "epsilon": bound, "delta": design.bound_delta, "method": method, "claimed": claim}
    )


def _claim(audit: Audit, training: int) -> float | None:
    """Return the ε that a bound from canaries may be held against: of one record more or less, in the weights."""
    recipe, layers = audit.inputs.recipe, audit.inputs.defences
    claim = None if recipe is None else layers.claim(recipe, training)
    if claim is None or claim.guarantee != "G1" or claim.unit != "record" or claim.adjacency != "add_remove":
        return None
    return float(claim.epsilon)


def _ways(scores: Array, flips: Flips, design: Design) -> list[Coins]:
    """Return the coins as several attacks guess them, the one first that bounds on ε are taken from.

    Losses have no upper end, and the few largest spoil a calibration that assumes one spread for all canaries; the
    probability of the label has two ends. Where references tell nothing, the plain score is the better one.
    """
    # Scores are −loss, the logarithm of the probability.
    found: list[Array] = [np.exp(scores), scores] if design.score == "loss" else [scores]
    ways = [coins_of(calibrated(one, flips), flips) for one in found]
    return [*ways, coins_of(scores[: len(flips.targets)], flips)] if len(flips.references) else ways[-1:]


def _rate(ways: Sequence[Coins], fpr: float, confidence: float) -> TprPoint:
    each = [figure(tpr_at_fpr(one.members, one.nonmembers, fpr, confidence=confidence)) for one in ways]
    return TprPoint(fpr=fpr, **largest([(str(k), one) for k, one in enumerate(each)], confidence)[1].model_dump())


def _bound(coins: Coins, design: Design) -> tuple[float | None, str]:
    """Return the largest lower bound on ε that may be held against a claim, all holding together, and its method."""
    able = [
        one for one, counts in zip(bounds(coins, design), judged(design), strict=True) if counts and one.bound.value
    ]
    best = max(able, key=lambda one: one.bound.value or 0.0, default=None)
    return (None, "") if best is None else (best.bound.value, best.method)
