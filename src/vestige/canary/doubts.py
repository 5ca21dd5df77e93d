"""Reasons not to believe a canary audit, or not to take its silence for safety."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from vestige.checks import Made, canaries_alike, canaries_could_not_fail

if TYPE_CHECKING:
    from vestige.canary.results import Outcome


def checks_made(outcome: Outcome) -> Iterator[Made]:
    """Yield every check that there is something to make it on, and the doubt that it raised, if it did."""
    audit = outcome.audit
    power, claim = audit.power, audit.design.claim
    if claim is not None:
        found = canaries_could_not_fail(claim.epsilon, power.ceiling, audit.design.coins)
        yield "canaries-could-not-fail", found
    if outcome.coins is not None:
        yield "canaries-alike", canaries_alike(len(np.unique(outcome.coins.scores)), len(outcome.coins))
