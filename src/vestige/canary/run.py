"""CanaryAudit: plan it, run it, or run it again; whatever was finished before is taken from the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.canary.bounds import bounds, judged, methods_of
from vestige.canary.coins import Flips, calibrated, coins_of, flip
from vestige.canary.defended import Beside, bed, behind, fewest
from vestige.canary.design import Design
from vestige.canary.forecast import CanaryPlan
from vestige.canary.power import power
from vestige.canary.results import Outcome, write_log
from vestige.canary.training import Labour, Scored, count_missing, scored
from vestige.defend.layers import Layers
from vestige.errors import DataError, UsageError
from vestige.log import AuditLog, CanaryPower
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.estimate import Array, share
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.target import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class CanaryAudit:
    """One canary audit: who is trained on what, and how the coins are guessed.

    ``defences``: under which models are trained and asked, by ``recipe`` otherwise; ``reserve``: the defender's own
    records, further ones that no model trains on. ``config``: what is written into the log, where a config said all
    this; ``source``: where the records came from.
    """

    recipe: Recipe
    records: Records
    design: Design
    labour: Labour
    defences: Layers = field(default_factory=Layers)
    reserve: Records | None = None
    name: str = "canary"
    source: str = "arrays"
    fpr: tuple[float, ...] = (0.01,)
    config: Mapping[str, Any] = field(default_factory=dict)
    power: CanaryPower = field(init=False)
    canaries: Beside | None = field(init=False)
    trained_by: Recipe = field(init=False)

    def __post_init__(self) -> None:
        for rate in self.fpr:
            share(rate, "a false-positive rate")
        claim, groups = self.design.claim, self.records.groups
        if claim is not None and claim.unit != "record" and _shared(groups):
            raise UsageError(
                f"The claim protects one {claim.unit}, and a canary is one record of a group of several: "
                "leaving it out is not leaving the group out.",
                hint="State the claim for one record, or give one record per group.",
            )
        quoted = methods_of(self.design)[0]
        if self.design.claim is not None and not judged(self.design)[0]:
            raise UsageError(
                f"Expected the first of the methods, which is quoted, to count against the claim; {quoted} is only "
                "shown with this design.",
                hint="Put one_run first, or leave methods out.",
            )
        lain = None if self.design.planted else bed(self.records, self.reserve, self.design)
        object.__setattr__(self, "canaries", lain)
        object.__setattr__(self, "trained_by", behind(self.recipe, self.defences, lain, self.design))
        if self.design.by_steps:
            from vestige.canary.watching import check_recipe

            check_recipe(self.trained_by, self.design)
        object.__setattr__(self, "power", power(self.design))
        if self.power.ceiling is None and self.design.coins > 1:
            raise UsageError(
                f"The first of the methods, {quoted}, has no answer here: {self.power.message}.",
                hint="Put one_run first, or leave methods out.",
            )
        if not self.power.ceiling:
            raise UsageError(
                f"Expected enough coin flips to show any leak, got {self.design.coins:,} "
                f"({self.design.count:,} canaries in {self.design.runs:,} run(s)).",
                hint="Ask for more canaries, or for more runs.",
            )

    def plan(self) -> CanaryPlan:
        """Say what a run would train, and what it could show; trains nothing."""
        design, flips = self.design, flip(self.design)
        models = design.runs + design.references
        return CanaryPlan(
            name=self.name,
            kind=design.kind,
            canaries=design.count,
            runs=design.runs,
            references=design.references,
            models=models,
            reused=models - self._missing(flips),
            rows=self._rows(flips),
            methods=methods_of(design),
            claim=None if design.claim is None else design.claim.epsilon,
            power=self.power,
        )

    def run(self, progress: Progress | None = None) -> AuditLog:
        """Flip, train, score, and bound; an interrupted run leaves a log that says so, and goes on when run again."""
        started, flips = time.perf_counter(), flip(self.design)
        outcome = Outcome(audit=self, flips=flips, started=started)
        try:
            outcome.found, outcome.coins = self.guessed(progress)
            outcome.bounds = bounds(outcome.coins, self.design)
        except KeyboardInterrupt:
            outcome.interrupted = True
        return write_log(outcome)

    def guessed(self, progress: Progress | None = None) -> tuple[Scored, Coins]:
        """Flip, train and score; return the scores as they came, and the coins with the scores they are guessed by."""
        flips = flip(self.design)
        found = self._scored(flips, progress or Silence())
        return found, coins_of(calibrated(self._against_stand_ins(found.scores), flips), flips)

    def _against_stand_ins(self, scores: Array) -> Array:
        if self.canaries is None or self.canaries.instead is None:
            return scores
        count = len(self.canaries)
        return scores[:, :count] - scores[:, count:]

    def _scored(self, flips: Flips, progress: Progress) -> Scored:
        if self.design.by_steps:
            from vestige.canary.watching import watched

            return watched(self.records, self.canaries, flips, self.trained_by, self.design, self.labour, progress)
        if self.canaries is None:
            raise DataError("There are no canaries to score.")
        return scored(self.canaries, flips, self.trained_by, self.design, self.labour, progress)

    def _missing(self, flips: Flips) -> int:
        if self.design.by_steps:
            from vestige.canary.watching import watched_jobs

            jobs = watched_jobs(self.records, self.canaries, flips, self.trained_by, self.design, self.labour.store)
            return sum(not self.labour.store.has("canary", job.key) for job in jobs)
        assert self.canaries is not None
        return count_missing(self.canaries, flips, self.trained_by, self.design, self.labour.store)

    @property
    def fewest(self) -> int:
        """How many records the smallest training set has."""
        return len(self.records) if self.canaries is None else fewest(self.canaries, flip(self.design))

    def _rows(self, flips: Flips) -> int:
        if self.canaries is None:
            return len(self.records)
        return int(self.canaries.mask(flips.targets[0]).sum())


def _shared(groups: NDArray[Any] | None) -> bool:
    return groups is not None and len(np.unique(groups)) < len(groups)
