"""Every attack is run on what was gathered; what one of them raises is its own result, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vestige.attacks import unfit
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.gathering import field_of
from vestige.auditing.knowledge import compares, unlabelled, unlike
from vestige.auditing.latency import times, unheard
from vestige.auditing.probes import places, with_probes
from vestige.auditing.protocol import Scores, carry_over, compare, lacking, run, stand_ins
from vestige.auditing.results import Outcome, unrun
from vestige.errors import VestigeError
from vestige.log import AttackResult
from vestige.progress import Progress

if TYPE_CHECKING:
    from vestige.auditing.run import Audit


def attack_all(audit: Audit, outcome: Outcome, progress: Progress) -> None:
    """Run the audit's attacks and keep in the outcome what each found, or why it did not run."""
    field = field_of(audit, outcome)
    reported = audit.config.audit.targets - 1
    models = stand_ins(field, max(reported, audit.config.audit.calibration_targets))
    deaf = unheard(audit, field, models, target=audit.target_recipe(), shadow=audit.shadow_recipe())
    outcome.field = field = _probed(audit, field, models, reported, deaf, progress)
    progress.begin("attacks", len(audit.attacks))
    for label, attack in audit.attacks:
        outcome.scores[label] = _attempt(audit, label, outcome, attack, models, reported, deaf)
        progress.advance("attacks", note=label)
    progress.end("attacks", note=f"{len(audit.attacks)} attacks")


def _probed(audit: Audit, field: Field, models: Sequence[int], reported: int, deaf: str, progress: Progress) -> Field:
    """Ask what is too dear to ask of every model."""
    able = [a for _, a in audit.attacks if not unfit(a, task=field.records.task, access=audit.access)]
    able = [attack for attack in able if not (deaf and times(attack))]
    asked = [0] if audit.elsewhere is not None else places(models, reported)
    return with_probes(audit, field, able, asked, (audit.target_recipe(), audit.shadow_recipe()), progress)


def _attempt(
    audit: Audit, label: str, outcome: Outcome, attack: Attack, models: Sequence[int], reported: int, deaf: str
) -> Scores | AttackResult:
    field, away = outcome.field, outcome.elsewhere
    assert field is not None
    reason = deaf if deaf and times(attack) else unlabelled(attack, blind=audit.blind)
    if away is None or attack.needs.side == "none":
        reason = reason or lacking(field, attack)
    else:
        near = away.beside if compares(attack, away) and away.beside is not None else away.field
        reason = reason or unfit(attack, task=field.records.task, access=audit.access)
        reason = reason or unlike(attack, audit.inputs.records, away) or lacking(near, attack)
    if reason:
        return unrun(label, attack, "skipped", reason)
    try:
        if away is not None and away.beside is not None and compares(attack, away):
            return compare(away.beside, away.field, attack)
        if away is not None and attack.needs.side != "none":
            return carry_over(field, away.field, attack)
        return run(field, attack, list(models), reported=reported)
    except KeyboardInterrupt:
        raise
    except VestigeError as error:
        return unrun(label, attack, "failed", str(error))
    except Exception as error:  # whatever an attack raises is its result, and the others go on
        reason = f"{type(error).__name__}: {error}"
        return unrun(label, attack, "failed", reason)
