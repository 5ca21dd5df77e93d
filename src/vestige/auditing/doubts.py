"""Run every check on a finished audit: the audit audits itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige import checks
from vestige.attacks.base import Attack
from vestige.auditing.claims import claim_checks
from vestige.auditing.protocol import Scores
from vestige.duplicates import exact_duplicates
from vestige.errors import VestigeError
from vestige.log import AttackResult, Epsilon
from vestige.shadow import accuracies
from vestige.target import Access, FloatArray, IntArray, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vestige.auditing.results import Outcome

Answers = NDArray[Any]
Accuracies = tuple[FloatArray, FloatArray]
ASKED_TWICE = 64
SMALL_BATCH = 7


def checks_made(outcome: Outcome, attacks: list[AttackResult], bounds: list[Epsilon]) -> Iterator[checks.Made]:
    """Yield every check that there is something to make it on, and the doubt that it raised, if it did."""
    yield from _data(outcome)
    yield from _target(outcome)
    yield from _shadows(outcome)
    yield from _figures(outcome, attacks)
    yield from claim_checks(outcome, bounds)


def early_checks(outcome: Outcome) -> list[checks.Made]:
    """Return what there is to doubt about the records alone, which needs no model."""
    truth, seed = outcome.truth, outcome.audit.config.seed
    part = outcome.audit.inputs.records.take(outcome.split.audited)
    features = part.matrix()
    near = checks.near_duplicates(features, truth, seed=seed)
    labels = part.y if part.classes else None
    twins = checks.duplicates(exact_duplicates(part), truth, near=near)
    if labels is None:
        features = np.column_stack([features, part.y.astype(np.float32)])
    blind = checks.blind_auc(features, truth, labels=labels, groups=part.groups, seed=seed)
    known = [("blind-baseline", checks.blind_baseline(blind))] if blind.value is not None else []
    return [("duplicates", twins), *known]


def _data(outcome: Outcome) -> Iterator[checks.Made]:
    part, truth = outcome.audit.inputs.records.take(outcome.split.audited), outcome.truth
    yield "few-nonmembers", checks.few_nonmembers(int((~truth).sum()), outcome.audit.config.audit.fpr)
    yield "member-imbalance", checks.member_imbalance(int(truth.sum()), int((~truth).sum()))
    if part.prior is not None and any(s.attack.needs.prior for s in outcome.scores.values() if isinstance(s, Scores)):
        yield "prior-used", checks.prior_used(part.prior, truth)
    yield from outcome.early if outcome.early is not None else early_checks(outcome)


def _target(outcome: Outcome) -> Iterator[checks.Made]:
    target = outcome.audit.counting
    if target is None:
        return
    yield "target-train-mode", checks.target_train_mode(bool(getattr(target.inner, "was_training", False)))
    try:
        together, again, alone = _asked(outcome, target)
    except VestigeError:
        return
    yield "target-not-deterministic", checks.target_not_deterministic(together, again)
    yield "target-batch-dependent", checks.target_batch_dependent(together, alone)
    kind = target.query(outcome.audit.inputs.records.rows_of(outcome.split.audited[:1]), _most(outcome, target)).kind
    if kind == "probabilities":
        yield "outputs-rounded", checks.outputs_rounded(together)
        yield "outputs-clipped", checks.outputs_clipped(together)
    elif kind == "logits":
        yield "outputs-softmaxed", checks.outputs_softmaxed(together)


def _asked(outcome: Outcome, target: Target) -> tuple[Answers, Answers, Answers]:
    rows = outcome.split.audited[:: max(1, len(outcome.split.audited) // ASKED_TWICE)][:ASKED_TWICE]
    records, want = outcome.audit.inputs.records, _most(outcome, target)

    def ask(part: IntArray) -> Answers:
        return np.asarray(target.query(records.rows_of(part), want).values)

    alone = np.concatenate([ask(rows[start : start + SMALL_BATCH]) for start in range(0, len(rows), SMALL_BATCH)])
    return ask(rows), ask(rows), alone


def _most(outcome: Outcome, target: Target) -> Access:
    return min(target.access, outcome.audit.access, Access.SCORE)


def _shadows(outcome: Outcome) -> Iterator[checks.Made]:
    away = outcome.elsewhere
    if away is not None and outcome.pool is not None:
        if "correct" not in outcome.pool.signals.columns or "correct" not in away.pool.signals.columns:
            return
        own = accuracies(
            outcome.pool.signals.slice(0, len(outcome.split.audited)), outcome.split, outcome.split.audited
        )
        others = accuracies(away.pool.signals, away.pool.split, away.pool.split.audited)
        yield "shadow-accuracy-gap", _gap(outcome, own, others)
        return
    pool = outcome.pool
    if pool is None or not outcome.split.shadows:
        return
    sides = [s.attack.needs.side for s in outcome.scores.values() if isinstance(s, Scores)]
    masks = outcome.split.masks[np.ix_(outcome.split.references(0), outcome.split.audited)]
    if "both" in sides:
        yield "missing-in-or-out", checks.missing_in_or_out(masks)
    elif "out" in sides:
        yield "missing-in-or-out", checks.missing_in_or_out(masks, side="out")
    table = pool.signals.slice(0, len(outcome.split.audited))
    if "correct" in table.columns:
        found = accuracies(table, outcome.split, outcome.split.audited)
        yield "shadow-accuracy-gap", _gap(outcome, found, found)


def _gap(outcome: Outcome, own: Accuracies, others: Accuracies) -> checks.Check | None:
    return checks.shadow_accuracy_gap(
        target_train=float(own[0][0]),
        target_test=float(own[1][0]),
        shadow_train=others[0][1:],
        shadow_test=others[1][1:],
        records=(int(outcome.truth.sum()), int((~outcome.truth).sum())),
    )


def _figures(outcome: Outcome, attacks: list[AttackResult]) -> Iterator[checks.Made]:
    ran = {result.title: result for result in attacks if result.status == "ok"}
    scores = {label: found for label, found in outcome.scores.items() if isinstance(found, Scores)}
    if scores:
        yield "all-scores-equal", checks.all_scores_equal({label: found.target for label, found in scores.items()})
    last = {title: result.operating_points[-1] for title, result in ran.items() if result.operating_points}
    points = {title: (one.fpr_asked, one.fpr) for title, one in last.items() if one.fpr.value is not None}
    if points:
        yield "operating-point-off", checks.operating_point_off(points)
    layers = outcome.audit.inputs.defences
    misleading = [name for name, defence in layers.named if defence in layers.answers]
    aucs = {title: result.auc for title, result in ran.items() if result.auc.value is not None}
    if aucs:
        yield "auc-below-half", checks.auc_below_half(aucs, misled_by=misleading)
    if "loss" in ran:
        compared = {label: ran[label].auc for label, found in scores.items() if _claims_more(found.attack, label)}
        if compared:
            yield "weaker-than-loss", checks.weaker_than_loss(ran["loss"].auc, compared)
        yield "outputs-tied", checks.outputs_tied(scores["loss"].target, name="loss")


def _claims_more(attack: Attack, label: str) -> bool:
    """An attack that compares a record's IN and OUT references with the true label contains the loss; others may
    lose to it.
    """
    return attack.needs.side == "both" and label.startswith(("lira", "rmia", "sablayrolles"))
