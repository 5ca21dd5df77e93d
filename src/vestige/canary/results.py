"""From the guessed coins to the log: bounds beside the claim, the gate's verdict on it, and reasons to doubt."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vestige.canary.bounds import Judged, methods_of
from vestige.canary.coins import Flips
from vestige.canary.doubts import checks_made
from vestige.canary.training import Scored
from vestige.log import (
    AttackResult,
    AuditLog,
    CanaryFacts,
    Claim,
    Cost,
    Epsilon,
    Figure,
    Finding,
    Population,
    Seconds,
    ShadowFacts,
    TargetFacts,
    TprPoint,
)
from vestige.log_entries import checked, curve_of, figure, histogram_of, logged, peak_rss_mb
from vestige.log_parts import CLAIM_RULE
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.intervals import auc, balanced_accuracy
from vestige.metrics.roc import roc
from vestige.metrics.tpr import tprs_at
from vestige.privacy_claim import PrivacyClaim
from vestige.provenance import provenance

if TYPE_CHECKING:
    from vestige.canary.run import CanaryAudit


@dataclass(kw_only=True, eq=False)
class Outcome:
    """What a run has found so far, so that an interrupted run can still be written down."""

    audit: CanaryAudit
    flips: Flips
    started: float
    found: Scored | None = None
    coins: Coins | None = None
    bounds: list[Judged] = field(default_factory=list)
    interrupted: bool = False


def write_log(outcome: Outcome) -> AuditLog:
    """Put the log together."""
    audit, design = outcome.audit, outcome.audit.design
    records, flips = audit.records, outcome.flips
    doubts, made = checked(checks_made(outcome))
    included = int(flips.targets.sum())
    return AuditLog(
        status="interrupted" if outcome.interrupted else "complete",
        name=audit.name,
        config=dict(audit.config),
        provenance=provenance(),
        population=Population(
            members=included,
            nonmembers=flips.targets.size - included,
            classes=len(records.classes),
            records=flips.targets.size,
            features=int(np.prod(records.x.shape[1:])),
            source=audit.source,
            fingerprint=records.fingerprint,
        ),
        target=_target(outcome),
        shadow=_models(outcome),
        attacks=_attack(outcome),
        epsilon=[_epsilon(outcome, k, one) for k, one in enumerate(outcome.bounds)],
        claim=None if design.claim is None else claim_of(design.claim),
        defences=logged(audit.defences, audit.recipe, audit.fewest) if audit.defences else [],
        canary=_facts(outcome),
        checks=doubts,
        checked=made,
        findings=findings(outcome),
        cost=_cost(outcome),
    )


def claim_of(claim: PrivacyClaim) -> Claim:
    """Return a claim as the log holds it."""
    return Claim.model_validate(claim.to_dict())


def findings(outcome: Outcome) -> list[Finding]:
    """Judge the claim by every judged bound: one that exceeds it fails the gate."""
    claim = outcome.audit.design.claim
    if claim is None:
        return []
    found = []
    for one in outcome.bounds:
        value = one.bound.value
        if value is None or not _counts(one):
            continue
        passed = not one.bound.refutes(claim.epsilon)
        relation = "does not exceed" if passed else "exceeds"
        found.append(
            Finding(
                id=CLAIM_RULE,
                attack=f"canary {outcome.audit.design.score_name}",
                metric=f"epsilon ({one.method})",
                value=value,
                limit=claim.epsilon,
                passed=passed,
                message=f"the lower bound of {one.method}, ε ≥ {value:.3g}, {relation} the claimed ε = "
                f"{claim.epsilon:g} at δ = {one.bound.delta:g}",
            )
        )
    return found


def _counts(one: Judged) -> bool:
    return one.counts and one.bound.kind == "bound"


def _epsilon(outcome: Outcome, place: int, one: Judged) -> Epsilon:
    bound = one.bound
    return Epsilon(
        method=one.method,
        kind=bound.kind,
        assumption=bound.assumption,
        delta=bound.delta,
        value=bound.value,
        confidence=bound.confidence,
        ceiling=bound.ceiling,
        design=bound.design,
        reason=bound.reason,
        attack=f"canary {outcome.audit.design.score_name}",
        primary=place == 0,
        judged=_counts(one),
    )


def _facts(outcome: Outcome) -> CanaryFacts:
    audit, design, flips = outcome.audit, outcome.audit.design, outcome.flips
    included = int(flips.targets.sum())
    copies = design.inserted
    return CanaryFacts(
        kind=design.kind,
        count=design.count,
        runs=design.runs,
        included=included,
        left_out=flips.targets.size - included,
        copies=copies,
        unit="one record" if copies == 1 else f"a group of {copies} copies of one record",
        adjacency="replace_one" if design.replaces else "add_remove",
        score=design.score_name,
        access=design.sees.label,
        references=design.references,
        always=len(audit.records) if audit.canaries is None else audit.canaries.always,
        primary=methods_of(design)[0],
        seed=design.seed,
        power=audit.power,
        notes=_notes(outcome),
    )


def _notes(outcome: Outcome) -> list[str]:
    design, notes = outcome.audit.design, []
    if design.inserted > 1:
        notes.append(
            f"A coin decides over {design.inserted} copies at once, so the scores bound the ε of a group of "
            f"{design.inserted}; the figures given are for one record: the smallest ε that group privacy does not "
            "contradict."
        )
    if design.replaces:
        notes.append(
            "Neighbouring data sets differ in one record exchanged for another: a canary that is left out has a "
            "stand-in, and is scored by its lead over it."
        )
    else:
        notes.append("Neighbouring data sets differ in one record more or less.")
    if design.claim is not None and design.claim.unit != "record":
        notes.append(f"The claim protects one {design.claim.unit}, and here one record is one {design.claim.unit}.")
    if design.claim is not None and design.bound_delta != design.claim.delta:
        notes.append(
            f"The bounds are at δ = {design.bound_delta:g}, the claim is at the smaller δ = {design.claim.delta:g}: a "
            "bound that exceeds the claim refutes it all the same, and fewer do."
        )
    return notes + (list(outcome.found.notes) if outcome.found is not None else [])


def _target(outcome: Outcome) -> TargetFacts:
    found, audit = outcome.found, outcome.audit
    accuracy = None if found is None or audit.design.kind not in ("natural", "duplicated") else found.accuracy
    return TargetFacts(
        kind=kind_of(audit.recipe),
        access=audit.design.sees.label,
        train_accuracy=None if accuracy is None else accuracy[0],
        test_accuracy=None if accuracy is None else accuracy[1],
        recipe=audit.recipe.fingerprint(),
    )


def kind_of(recipe: object) -> str:
    """Return torch, sklearn or function for what is built in, otherwise the class's name."""
    name = type(recipe).__name__.removesuffix("Recipe")
    return name.lower() if name in ("Torch", "Sklearn", "Function") else name


def _models(outcome: Outcome) -> ShadowFacts:
    found = outcome.found
    if found is None:
        return ShadowFacts()
    return ShadowFacts(
        count=outcome.audit.design.references,
        trained=found.trained,
        reused=found.reused,
        seconds=round(found.seconds, 3),
        design="opposite coins in pairs" if outcome.audit.design.references else "",
    )


def _attack(outcome: Outcome) -> list[AttackResult]:
    coins, design = outcome.coins, outcome.audit.design
    if coins is None:
        return []
    title = f"canary {design.score_name}"
    if coins.included.all() or not coins.included.any():
        reason = "all coins fell on one side"
        return [AttackResult(name="canary", label=title, access=design.sees.label, auc=Figure(reason=reason))]
    curve = roc(coins.members, coins.nonmembers)
    rates = outcome.audit.fpr
    points = tprs_at(curve, rates, confidence=design.confidence)
    return [
        AttackResult(
            name="canary",
            label=title,
            params={"score": design.score_name, "canaries": design.kind},
            access=design.sees.label,
            auc=figure(auc(curve, confidence=design.confidence)),
            balanced_accuracy=figure(balanced_accuracy(curve, confidence=design.confidence)),
            tpr=[TprPoint(fpr=rate, **figure(point).model_dump()) for rate, point in zip(rates, points, strict=True)],
            shadow_models=design.references,
            distinct_scores=len(np.unique(coins.scores)),
            roc=curve_of([curve], design.confidence),
            histogram=histogram_of(coins.members, coins.nonmembers),
            paper="Steinke, Nasr & Jagielski 2023, Privacy Auditing with One (1) Training Run",
        )
    ]


def _cost(outcome: Outcome) -> Cost:
    found = outcome.found
    return Cost(
        seconds=Seconds(
            shadow=0.0 if found is None else round(found.seconds, 3),
            total=round(time.perf_counter() - outcome.started, 3),
        ),
        peak_rss_mb=peak_rss_mb(),
        target_queries=0 if found is None or outcome.audit.design.by_steps else int(found.scores.size),
        store_mb=round(outcome.audit.labour.store.size() / 1e6, 2),
    )
