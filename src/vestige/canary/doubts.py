"""Reasons not to believe a canary audit, or not to take its silence for safety."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vestige.checks import canaries_alike, canaries_could_not_fail
from vestige.log import Check

if TYPE_CHECKING:
    from vestige.canary.results import Outcome


def checks_of(outcome: Outcome) -> list[Check]:
    """Return the checks that apply."""
    audit = outcome.audit
    power, claim = audit.power, audit.design.claim
    found = [
        None if claim is None else canaries_could_not_fail(claim.epsilon, power.ceiling, audit.design.coins),
        None if outcome.coins is None else canaries_alike(len(np.unique(outcome.coins.scores)), len(outcome.coins)),
    ]
    return [
        Check(id=one.id, level=one.level, message=one.message, cure=one.cure, cause=one.cause)
        for one in found
        if one is not None
    ]
