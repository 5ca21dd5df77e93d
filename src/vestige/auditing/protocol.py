"""The one protocol every attack goes through: score the target, and score shadow models in the target's place.

Shadow models in the target's place are models whose membership the adversary knows. From them come the thresholds that are
applied to the target (the operational point), the calibrated posteriors, and, when several targets are asked for, the spread
between targets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

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
    """

    attack: Attack
    target: FloatArray
    models: tuple[int, ...]
    stand_ins: tuple[FloatArray, ...]
    truths: tuple[BoolArray, ...]
    references: int
    seconds: float


def stand_ins(field: Field, count: int) -> list[int]:
    """Return up to ``count`` shadow models to stand in for the target, one per block, spread over the blocks."""
    blocks = field.split.blocks[1:]
    firsts = {int(block): place + 1 for place, block in reversed(list(enumerate(blocks)))}
    models = sorted(firsts.values())
    if len(models) <= count:
        return models
    return [models[int(i)] for i in np.linspace(0, len(models) - 1, count).round()] if count else []


def lacking(field: Field, attack: Attack) -> str:
    """Return why the attack cannot run on this field, or an empty string."""
    needs = attack.needs
    reason = unfit(attack, task=field.records.task, access=field.access)
    if reason:
        return reason
    if needs.population and not len(field.split.population):
        return "it needs records held out from every model; set [data] population above 0"
    have = len(field.references(0, attack))
    if have < needs.shadows:
        return f"it needs at least {needs.shadows} shadow models, and there are {have}"
    return ""


def run(field: Field, attack: Attack, models: list[int], *, reported: int = 0) -> Scores:
    """Score the target and the stand-ins, the first ``reported`` of which are targets in their own right.

    Raises AuditError when the scores are not one finite number per record.
    """
    start = time.perf_counter()
    own = _score(field, attack, 0)
    usable = [m for m in models if len(field.references(m, attack)) >= attack.needs.shadows]
    if getattr(attack, "trains", False):
        usable = usable[: max(1, reported)]
    others = [_score(field, attack, model) for model in usable]
    return Scores(
        attack=attack,
        target=own,
        models=tuple(usable),
        stand_ins=tuple(others),
        truths=tuple(field.membership(m) for m in usable),
        references=len(field.references(0, attack)),
        seconds=time.perf_counter() - start,
    )


def carry_over(home: Field, away: Field, attack: Attack) -> Scores:
    """Learn on shadow models of other records, then score the target; one of those models is the stand-in."""
    start = time.perf_counter()
    known = away.evidence(0, attack)
    transfer: Callable[[Evidence, Evidence], FloatArray] = attack.transfer  # type: ignore[attr-defined]
    target = _checked(transfer(known, home.evidence(0, attack)), home.audited)
    return Scores(
        attack=attack,
        target=target,
        models=(),
        stand_ins=(_score(away, attack, 0),),
        truths=(away.membership(0),),
        references=len(away.references(0, attack)),
        seconds=time.perf_counter() - start,
    )


def _score(field: Field, attack: Attack, model: int) -> FloatArray:
    return _checked(attack.score(field.evidence(model, attack)), field.audited)


def _checked(found: FloatArray, count: int) -> FloatArray:
    scores = np.asarray(found, np.float64)
    if scores.shape != (count,):
        raise AuditError(f"The attack returned scores of shape {scores.shape}, expected ({count},).")
    if not np.isfinite(scores).all():
        raise AuditError(f"The attack returned {int((~np.isfinite(scores)).sum())} scores that are not finite.")
    return scores
