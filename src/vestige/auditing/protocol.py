"""The one protocol every attack goes through: score the target, and score shadow models in the target's place.

Shadow models in the target's place are models whose membership the adversary knows. From them come the thresholds that
are applied to the target (the operational point), the calibrated posteriors, and, when several targets are asked for,
the spread between targets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import numpy as np

from vestige.attacks import unfit
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack, Evidence
from vestige.errors import AuditError
from vestige.target import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """One attack's scores: (N,) for the target, and for each stand-in (a shadow model in its place) with the truth.

    ``models`` are the stand-ins' rows in the split; ``stand_ins``: their scores; ``truths``: who was a member of each.
    ``queries``: how many a record the attack took, where it counts them itself. ``remarks``: what else it says of each
    record, (N,) numbers by name.
    ``matched``: the target's scores once more, with as many references as the stand-ins have, because the scale of a
    score depends on their number: thresholds and posteriors learnt on stand-ins apply to these.
    """

    attack: Attack
    target: FloatArray
    matched: FloatArray
    models: tuple[int, ...]
    stand_ins: tuple[FloatArray, ...]
    truths: tuple[BoolArray, ...]
    references: int
    seconds: float
    queries: int | None = None
    remarks: dict[str, FloatArray] = dataclass_field(default_factory=dict)


def stand_ins(field: Field, count: int) -> list[int]:
    """Return up to ``count`` shadow models to stand in for the target, one per whole block, spread over the blocks."""
    models = _firsts(field)
    if len(models) <= count:
        return models
    return [models[int(i)] for i in np.linspace(0, len(models) - 1, count).round()] if count else []


def _firsts(field: Field) -> list[int]:
    """Return the first model of each block that is whole, so that all stand-ins have equally many references."""
    blocks, first, sizes = np.unique(field.split.blocks[1:], return_index=True, return_counts=True)
    return sorted(int(place) + 1 for place in first[sizes == sizes.max()]) if len(blocks) else []


def lacking(field: Field, attack: Attack) -> str:
    """Return why the attack cannot run on this field, or an empty string."""
    needs = attack.needs
    reason = unfit(attack, task=field.records.task, access=field.access)
    if reason:
        return reason
    have = len(field.references(0, attack))
    instead = getattr(attack, "population_or_references", False) and have > 0
    if needs.population and not len(field.split.population) and not instead:
        return (
            "it needs records held out from every model, and there are none: [data] population, or too few non-members"
        )
    if needs.prior and field.records.prior is None:
        return "it adds what the adversary knows from elsewhere, and nothing says what that is: [data] prior"
    if have < needs.shadows:
        return f"it needs at least {needs.shadows} shadow models, and there are {have}"
    return ""


def run(field: Field, attack: Attack, models: list[int], *, reported: int = 0) -> Scores:
    """Score the target and the stand-ins, the first ``reported`` of which are targets in their own right.

    An attack that trains a model of its own each time gets as few stand-ins as that allows. Raises AuditError when the
    scores are not one finite number per record.
    """
    start = time.perf_counter()
    own = _score(field, attack, 0)
    usable = [m for m in models if field.shows(m, attack) and len(field.references(m, attack)) >= attack.needs.shadows]
    if getattr(attack, "trains", False):
        usable = usable[: max(1, reported)]
    others = [_score(field, attack, model) for model in usable]
    alike = not usable or len(field.references(usable[0], attack)) == len(field.references(0, attack))
    return Scores(
        attack=attack,
        target=own,
        matched=own if alike else _score(field, attack, 0, exclude=usable[-1]),
        models=tuple(usable),
        stand_ins=tuple(others),
        truths=tuple(field.membership(m) for m in usable),
        references=len(field.references(0, attack)),
        seconds=time.perf_counter() - start,
        queries=_counted(attack, field.evidence(0, attack)),
        remarks=_remarked(attack, field.evidence(0, attack)),
    )


def _counted(attack: Attack, evidence: Evidence) -> int | None:
    count: Callable[[Evidence], float] | None = getattr(attack, "queries_taken", None)
    return None if count is None else int(np.ceil(count(evidence)))


def _remarked(attack: Attack, evidence: Evidence) -> dict[str, FloatArray]:
    remark: Callable[[Evidence], dict[str, FloatArray]] | None = getattr(attack, "remarks", None)
    return {} if remark is None else remark(evidence)


def carry_over(home: Field, away: Field, attack: Attack) -> Scores:
    """Learn on shadow models of other records, then score the target; one of those models is the stand-in."""
    start = time.perf_counter()
    known = away.evidence(0, attack)
    transfer: Callable[[Evidence, Evidence], FloatArray] = attack.transfer  # type: ignore[attr-defined]
    target = _checked(transfer(known, home.evidence(0, attack)), home.audited)
    return Scores(
        attack=attack,
        target=target,
        matched=target,
        models=(),
        stand_ins=(_score(away, attack, 0),),
        truths=(away.membership(0),),
        references=len(away.references(0, attack)),
        seconds=time.perf_counter() - start,
    )


def compare(beside: Field, away: Field, attack: Attack) -> Scores:
    """Score the target against models of other records; one of those models is the stand-in, on its own records."""
    start = time.perf_counter()
    target = _score(beside, attack, 0)
    stood = [] if lacking(away, attack) else [_score(away, attack, 0)]
    return Scores(
        attack=attack,
        target=target,
        matched=target,
        models=(),
        stand_ins=tuple(stood),
        truths=(away.membership(0),) if stood else (),
        references=len(beside.references(0, attack)),
        seconds=time.perf_counter() - start,
    )


def _score(field: Field, attack: Attack, model: int, exclude: int | None = None) -> FloatArray:
    return _checked(attack.score(field.evidence(model, attack, exclude)), field.audited)


def _checked(found: FloatArray, count: int) -> FloatArray:
    scores = np.asarray(found, np.float64)
    if scores.shape != (count,):
        raise AuditError(f"The attack returned scores of shape {scores.shape}, expected ({count},).")
    if not np.isfinite(scores).all():
        raise AuditError(f"The attack returned {int((~np.isfinite(scores)).sum())} scores that are not finite.")
    return scores
