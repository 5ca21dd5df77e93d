"""What one training costs, timed alone."""

from __future__ import annotations

import time

from vestige.auditing.defending import under
from vestige.auditing.run import Audit
from vestige.seeds import seed_for

BRIEF, FEWEST, MOST = 5.0, 3, 20
"""Training is timed once, and where it is brief so often that it takes a second. The fastest counts: the first may load
a library, and other work on the machine only ever slows one down."""


def seconds_of(audit: Audit) -> float | None:
    """Time one training as the defender would do it: alone, on the target's records."""
    recipe = under(audit.inputs.recipe, audit.inputs.defences, audit.reserve)
    if recipe is None:
        return None
    rows, seed = audit.split().rows(0), seed_for(audit.config.seed, "timing")
    taken: list[float] = []
    while not taken or (taken[0] < BRIEF and len(taken) < MOST and (len(taken) < FEWEST or sum(taken) < 1.0)):
        start = time.perf_counter()
        recipe.fit(audit.inputs.records, rows, seed)
        taken.append(time.perf_counter() - start)
    return round(min(taken), 4)
