"""Which records are at risk: calibrated posteriors under one attack, and each record's exposure over all models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vestige.attacks.assemble import Field
from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Moments as ReferenceMoments
from vestige.attacks.moments import collect
from vestige.auditing.protocol import Scores
from vestige.log import Figure, RecordRisk, Risk, Slice
from vestige.log_entries import figure
from vestige.metrics import (
    Calibration,
    Moments,
    RiskSlice,
    calibrate,
    exposure,
    exposure_quantiles,
    moments,
    posterior_histogram,
    reliability,
    share_at_risk,
    slices,
    tpr_at_fpr,
)
from vestige.metrics.estimate import Array
from vestige.metrics.risk import AT_RISK
from vestige.record_table import RecordRow
from vestige.target import Access, FloatArray

if TYPE_CHECKING:
    from vestige.auditing.results import Outcome

FEWEST_TO_CALIBRATE = 50
FEWEST_MODELS = 4
MOST_SLICES = 200


@dataclass(frozen=True)
class _Watching:
    """Reads the exposure signal of every reference, through the same evidence an attack gets."""

    signal: str
    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = ""

    @property
    def needs(self) -> Needs:
        return Needs(signals=(self.signal,), shadows=FEWEST_MODELS, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        return np.zeros(len(evidence))


def risk_of(outcome: Outcome) -> tuple[Risk | None, list[RecordRow]]:
    """Return the risk section, or None when nothing could be calibrated, and one row per audited record."""
    field = outcome.field
    if field is None:
        return None, []
    found = {label: scores for label, scores in outcome.scores.items() if isinstance(scores, Scores)}
    exposed = exposures(field)
    best = strongest(outcome, found)
    if best is None:
        return None, _rows(outcome, found, None, exposed)
    scores, truth = found[best], outcome.truth
    posterior = _calibration(scores)(scores.matched)
    at_risk, share = share_at_risk(posterior.value, truth, confidence=outcome.audit.config.audit.confidence)
    rows = _rows(outcome, found, (posterior.value, posterior.low, posterior.high), exposed)
    order = np.lexsort((-scores.target, -posterior.value))
    top = [int(i) for i in order if truth[i]][: outcome.audit.config.audit.records_in_log]
    risk = Risk(
        attack=best,
        threshold=AT_RISK,
        at_risk=at_risk,
        share_at_risk=figure(share),
        posterior_histogram=posterior_histogram(posterior.value, truth),
        exposure_quantiles=[] if exposed is None else exposure_quantiles(exposed),
        calibration=reliability(posterior.value, truth),
        slices=_slices(outcome, scores, posterior.value),
        records=[_record(rows[i], scores.target[i]) for i in top],
    )
    return risk, rows


def strongest(outcome: Outcome, found: dict[str, Scores]) -> str | None:
    """Return the attack that does best on the stand-ins; the target has no say, so that its scores are not chosen by
    their luck.
    """
    fpr = max(outcome.audit.config.audit.fpr)
    ranked: list[tuple[float, str]] = []
    for label, scores in found.items():
        values = [
            tpr_at_fpr(s[t], s[~t], max(fpr, 1 / max(1, int((~t).sum())))).value or 0.0
            for s, t in zip(scores.stand_ins, scores.truths, strict=True)
            if min(t.sum(), (~t).sum()) >= FEWEST_TO_CALIBRATE
        ]
        if values:
            ranked.append((float(np.mean(values)), label))
    return max(ranked, key=lambda one: one[0])[1] if ranked else None


def _calibration(scores: Scores) -> Calibration:
    """Fit the posterior at even odds, whatever the share of members here: the audit's own mix says nothing of an
    adversary's.
    """
    inside = np.concatenate([s[t] for s, t in zip(scores.stand_ins, scores.truths, strict=True)])
    outside = np.concatenate([s[~t] for s, t in zip(scores.stand_ins, scores.truths, strict=True)])
    return calibrate(inside, outside, prior=0.5)


def exposures(field: Field, model: int = 0) -> Array | None:
    """Return how exposed each audited record is, by the references of one model alone; None where they are too few.

    The membership in that model has no part in it, so records may be chosen by it and then judged on that model.
    """
    signal = "log_odds" if field.records.classes else "negative_log_loss"
    if signal not in field.table.columns:
        return None
    watcher = _Watching(signal)
    if len(field.references(model, watcher)) < FEWEST_MODELS:
        return None
    evidence = field.evidence(model, watcher)
    outside, inside = collect(evidence, signal)
    try:
        return exposure(_moments(inside), _moments(outside))
    except ValueError:
        return None


def _moments(side: ReferenceMoments) -> Moments:
    freedom = np.where(side.freedom > 0, side.freedom, np.nan)
    return moments(count=side.count, mean=side.mean[:, 0], variance=side.scatter[:, 0] / freedom)


def _slices(outcome: Outcome, scores: Scores, posterior: Array) -> list[Slice]:
    records, rows = outcome.audit.inputs.records, outcome.split.audited
    made: list[Slice] = []
    level = outcome.audit.config.audit.confidence
    if records.classes:
        found = slices(
            records.y[rows],
            scores.target,
            outcome.truth,
            names=list(records.classes),
            posterior=posterior,
            confidence=level,
        )
        made += [_slice("class", one) for one in found]
    if records.groups is not None and len(np.unique(records.groups)) <= MOST_SLICES:
        found = slices(records.groups[rows], scores.target, outcome.truth, posterior=posterior, confidence=level)
        made += [_slice("group", one) for one in found]
    return made


def _slice(kind: str, one: RiskSlice) -> Slice:
    return Slice(
        kind="class" if kind == "class" else "group",
        name=one.name,
        members=one.members,
        nonmembers=one.nonmembers,
        auc=figure(one.auc),
        mean_posterior=one.mean_posterior,
        together=Figure() if one.standing is None else figure(one.standing.together),
        p_rest=None if one.standing is None else one.standing.p_rest,
        p_chance=None if one.standing is None else one.standing.p_chance,
    )


def _rows(
    outcome: Outcome,
    found: dict[str, Scores],
    posterior: tuple[FloatArray, FloatArray, FloatArray] | None,
    exposed: FloatArray | None,
) -> list[RecordRow]:
    records, audited, truth = outcome.audit.inputs.records, outcome.split.audited, outcome.truth
    columns = {name: scores.target for name, scores in found.items()}
    columns |= {f"{name} {word}": said for name, scores in found.items() for word, said in scores.remarks.items()}
    rows = []
    for place, row in enumerate(audited):
        label = records.classes[int(records.y[row])] if records.classes else f"{float(records.y[row]):.6g}"
        value, low, high = (None, None, None) if posterior is None else (float(part[place]) for part in posterior)
        seen = None if exposed is None or not np.isfinite(exposed[place]) else float(exposed[place])
        rows.append(
            RecordRow(
                id=str(records.ids[row]),
                label=label,
                group="" if records.groups is None else str(records.groups[row]),
                member=bool(truth[place]),
                posterior=value,
                posterior_low=low,
                posterior_high=high,
                exposure=seen,
                scores={name: float(values[place]) for name, values in columns.items()},
            )
        )
    return rows


def _record(row: RecordRow, score: float) -> RecordRisk:
    return RecordRisk(
        id=row.id,
        label=row.label,
        member=row.member,
        score=float(score),
        posterior=Figure(
            value=row.posterior, low=row.posterior_low, high=row.posterior_high, method="isotonic calibration"
        ),
        exposure=row.exposure,
    )
