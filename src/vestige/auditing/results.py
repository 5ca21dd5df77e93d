"""From scores to the log: the one place where scores meet the truth."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vestige.attacks import params_of
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.agreeing import agreed
from vestige.auditing.claims import claim_of, epsilons
from vestige.auditing.doubts import checks_made
from vestige.auditing.exposure import risk_of
from vestige.auditing.knowledge import Elsewhere, guess_of
from vestige.auditing.protocol import Scores
from vestige.auditing.unlikeness import divergences
from vestige.log import (
    AttackResult,
    AuditLog,
    Cost,
    Operational,
    PerTarget,
    Population,
    Seconds,
    ShadowFacts,
    TargetFacts,
    TprPoint,
)
from vestige.log_entries import checked, curve_of, figure, histogram_of, logged, peak_rss_mb
from vestige.metrics.intervals import auc, balanced_accuracy, operating_point
from vestige.metrics.roc import Roc, area, roc, threshold_at_fpr
from vestige.metrics.targets import mean_over_targets, record_variances
from vestige.metrics.tpr import tprs_at
from vestige.provenance import provenance
from vestige.shadow import Demand, ShadowPool, accuracies
from vestige.signals.base import Signals
from vestige.signals.queries import expand
from vestige.split import Split
from vestige.target import BoolArray, FloatArray

if TYPE_CHECKING:
    from vestige.auditing.run import Audit
    from vestige.checks import Made

UPDATED = {"Update": "updated", "Updated": "updated"}


@dataclass(kw_only=True, eq=False)
class Outcome:
    """What a run has found so far; filled stage by stage, so that an interrupted run can still be written down."""

    audit: Audit
    split: Split
    demand: Demand
    started: float
    given: dict[str, Signals] | None = None
    target_seconds: float = 0.0
    pool: ShadowPool | None = None
    field: Field | None = None
    elsewhere: Elsewhere | None = None
    scores: dict[str, Scores | AttackResult] = dataclasses.field(default_factory=dict)
    early: list[Made] | None = None
    interrupted: bool = False

    @property
    def truth(self) -> BoolArray:
        """The target's membership of the audited records."""
        truth: BoolArray = self.split.masks[0, self.split.audited]
        return truth


def write_log(outcome: Outcome) -> AuditLog:
    """Judge every attack and put the log together."""
    audit, truth = outcome.audit, outcome.truth
    began = time.perf_counter()
    attacks = [_result(outcome, label, found) for label, found in outcome.scores.items()]
    attacks += [
        unrun(label, attack, "skipped", "the run was interrupted before it")
        for label, attack in audit.attacks
        if label not in outcome.scores
    ]
    risk, rows = risk_of(outcome)
    bounds = epsilons(outcome)
    doubts, made = checked(checks_made(outcome, attacks, bounds))
    log = AuditLog(
        status=_status(outcome, attacks),
        name=audit.config.name,
        config=audit.config.model_dump(mode="json"),
        provenance=provenance(),
        population=Population(
            members=int(truth.sum()),
            nonmembers=int((~truth).sum()),
            classes=len(audit.inputs.records.classes),
            records=len(outcome.split.audited),
            held_out=len(outcome.split.population),
            features=_features(audit.inputs.records.x),
            source=audit.inputs.source,
            fingerprint=audit.inputs.records.fingerprint,
        ),
        target=_target(outcome),
        shadow=_shadow(outcome),
        attacks=attacks,
        risk=risk,
        divergence=divergences(outcome),
        agreement=agreed(outcome),
        epsilon=bounds,
        claim=claim_of(audit.config.claim),
        defences=logged(audit.inputs.defences, audit.inputs.recipe, int(outcome.split.masks[0].sum())),
        checks=doubts,
        checked=made,
        cost=_cost(outcome, time.perf_counter() - began),
    )
    return log.with_records(rows)


def _status(outcome: Outcome, attacks: list[AttackResult]) -> Any:
    if outcome.interrupted:
        return "interrupted"
    if not any(attack.status == "ok" for attack in attacks):
        return "failed"
    return "complete" if all(attack.status == "ok" for attack in attacks) else "partial"


def name_of(label: str) -> str:
    """Return the registered name in a label such as ``lira[pooled]``."""
    return label.partition("[")[0]


def unrun(label: str, attack: Attack, status: Literal["failed", "skipped"], reason: str) -> AttackResult:
    """Return the entry of an attack that gave no scores, with the reason."""
    return AttackResult(
        name=name_of(label),
        label=label,
        params=params_of(attack),
        access=attack.access.label,
        status=status,
        reason=reason,
        paper=attack.paper,
    )


def _result(outcome: Outcome, label: str, found: Scores | AttackResult) -> AttackResult:
    if isinstance(found, AttackResult):
        return found.model_copy(update={"label": label})
    config = outcome.audit.config.audit
    reported = min(config.targets - 1, len(found.models))
    pairs = [(found.target, outcome.truth), *zip(found.stand_ins[:reported], found.truths[:reported], strict=True)]
    curves = [roc(scores[truth], scores[~truth]) for scores, truth in pairs]
    noise = _record_noise(pairs, config.fpr)
    areas = [auc(curve, confidence=config.confidence) for curve in curves]
    rates = [tprs_at(curve, config.fpr, confidence=config.confidence) for curve in curves]
    balanced = [balanced_accuracy(curve, confidence=config.confidence) for curve in curves]
    points = [_operational(outcome, found, fpr) for fpr in config.fpr]
    whole = mean_over_targets(areas, confidence=config.confidence, record_variance=noise[0])
    return AttackResult(
        name=name_of(label),
        label=label,
        params=params_of(found.attack),
        access=found.attack.access.label,
        auc=figure(whole.mean),
        balanced_accuracy=figure(
            mean_over_targets(balanced, confidence=config.confidence, record_variance=noise[1]).mean
        ),
        tpr=[
            TprPoint(
                fpr=fpr,
                **figure(
                    mean_over_targets(
                        [one[i] for one in rates], confidence=config.confidence, record_variance=noise[2 + i]
                    ).mean
                ).model_dump(),
            )
            for i, fpr in enumerate(config.fpr)
        ],
        operational=next((point for point in points if point.tpr.value is not None), points[-1]),
        operating_points=points,
        queries_per_record=found.queries or 1 + len(expand(outcome.demand.queries)),
        shadow_models=found.references,
        seconds=round(found.seconds, 4),
        targets=[
            PerTarget(target=model, auc=area.value or 0.0, tpr=[one.value for one in row])
            for model, area, row in zip((0, *found.models), areas, rates, strict=False)
        ],
        between_target_sd=whole.sd,
        distinct_scores=len(np.unique(found.target)),
        roc=curve_of(curves, config.confidence),
        histogram=histogram_of(found.target[outcome.truth], found.target[~outcome.truth]),
        paper=found.attack.paper,
    )


def _record_noise(pairs: list[tuple[FloatArray, BoolArray]], fprs: list[float]) -> list[float]:
    """Return the variances that the records give the means over targets: of AUC, balanced accuracy and each TPR."""
    if len(pairs) < 2:
        return [0.0] * (2 + len(fprs))

    def statistics(curve: Roc) -> list[float]:
        best = float(np.max(curve.tpr - curve.fpr) / 2 + 0.5)
        return [area(curve), best, *(float(curve.tpr[curve.vertex_at(fpr)]) for fpr in fprs)]

    scores, truths = [np.asarray(s, np.float64) for s, _ in pairs], [t for _, t in pairs]
    return [float(v) for v in record_variances(scores, truths, statistics)]


def _operational(outcome: Outcome, found: Scores, fpr: float) -> Operational:
    if not len(found.stand_ins):
        reason = "no shadow model could stand in for the target, so an adversary has nothing to set a threshold on"
        return Operational(fpr_asked=fpr, reason=reason)
    known = [scores[~truth] for scores, truth in zip(found.stand_ins, found.truths, strict=True)]
    if sum(map(len, known)) < 1 / fpr:
        return Operational(fpr_asked=fpr, reason=f"too few shadow non-members to set a threshold for a rate of {fpr:g}")
    threshold = threshold_at_fpr(np.concatenate(known), fpr)
    point = operating_point(
        found.matched[outcome.truth],
        found.matched[~outcome.truth],
        threshold,
        confidence=outcome.audit.config.audit.confidence,
    )
    return Operational(fpr_asked=fpr, fpr=figure(point.fpr), tpr=figure(point.tpr))


def _target(outcome: Outcome) -> TargetFacts:
    audit, inside, outside = outcome.audit, None, None
    losses: tuple[float | None, float | None] = (None, None)
    if outcome.pool is not None:
        table, truth = outcome.pool.signals.slice(0, len(outcome.split.audited)), outcome.truth
        if "correct" in table.columns:
            trained, held = accuracies(table.select(np.array([0])), _only(outcome.split), outcome.split.audited)
            inside, outside = float(trained[0]), float(held[0])
        if "loss" in table.columns:
            loss = np.asarray(table.model("loss", 0))[:, 0].astype(np.float64)
            losses = float(loss[truth].mean()), float(loss[~truth].mean())
    target = audit.inputs.target
    return TargetFacts(
        kind=_kind(target if target is not None else audit.inputs.recipe),
        access=audit.access.label,
        train_accuracy=inside,
        test_accuracy=outside,
        train_loss=losses[0],
        test_loss=losses[1],
        given=target is not None,
        recipe=audit.inputs.recipe.fingerprint() if audit.inputs.recipe is not None else "",
    )


def _kind(model: object) -> str:
    """Return torch, sklearn or function for what is built in, otherwise the class's name."""
    name = type(model).__name__
    return {"Torch": "torch", "Sklearn": "sklearn", "Function": "function", "Callable": "function", **UPDATED}.get(
        name.removesuffix("Target").removesuffix("Recipe"), name
    )


def _only(split: Split) -> Split:
    return Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)


def _shadow(outcome: Outcome) -> ShadowFacts:
    pool = outcome.pool if outcome.elsewhere is None else outcome.elsewhere.pool
    if pool is None or not pool.split.shadows:
        return ShadowFacts()
    inside, outside = None, None
    table = pool.signals.slice(0, len(pool.split.audited))
    if "correct" in table.columns:
        trained, held = accuracies(table, pool.split, pool.split.audited)
        inside, outside = float(np.nanmean(trained[1:])), float(np.nanmean(held[1:]))
    return ShadowFacts(
        count=pool.split.shadows,
        trained=pool.trained,
        reused=pool.reused,
        train_accuracy=inside,
        test_accuracy=outside,
        seconds=round(pool.seconds, 3),
        design=pool.split.design,
        guessed=guess_of(outcome.audit.config.shadow, outcome.audit.config.seed),
    )


def _queries(outcome: Outcome, found: list[Scores]) -> int:
    """Return how many records the target was asked about: counted where it was given, else what was asked of it."""
    if outcome.audit.counting is not None:
        return outcome.audit.counting.queries
    plain = len(outcome.demand.rows) * (1 + len(expand(outcome.demand.queries)))
    return plain + len(outcome.split.audited) * sum(scores.queries or 0 for scores in found)


def _cost(outcome: Outcome, judging: float) -> Cost:
    away = None if outcome.elsewhere is None else outcome.elsewhere.pool
    pool, found = outcome.pool, [s for s in outcome.scores.values() if isinstance(s, Scores)]
    return Cost(
        seconds=Seconds(
            shadow=round(sum(one.seconds for one in (pool, away) if one is not None), 3),
            signals=round(outcome.target_seconds, 3),
            attacks=round(sum(s.seconds for s in found) + judging, 3),
            total=round(time.perf_counter() - outcome.started, 3),
        ),
        peak_rss_mb=peak_rss_mb(),
        target_queries=_queries(outcome, found),
        store_mb=round(outcome.audit.store.size() / 1e6, 2),
    )


def _features(x: Any) -> int:
    return int(np.prod(x.shape[1:]))
