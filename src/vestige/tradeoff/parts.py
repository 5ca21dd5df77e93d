"""What a candidate of a trade-off is made of: its utility, claim, trials, exposed records and canaries."""

from __future__ import annotations

import math
from typing import Any

from vestige.log import TprPoint
from vestige.log_parts import Figure, Part


def rate_at(points: list[TprPoint], fpr: float) -> Figure:
    """Return the true-positive rate at a false-positive rate, an empty figure where there is none."""
    found = next((point for point in points if math.isclose(point.fpr, fpr)), None)
    return Figure() if found is None else Figure(**found.model_dump(include=set(Figure.model_fields)))


class Trial(Part):
    """One setting that was tried while tuning: its accuracy on validation records that nobody is audited on."""

    settings: dict[str, Any] = {}
    accuracy: float | None = None
    reason: str = ""


class Claimed(Part):
    """What a candidate's defences prove; ``tuned``: ε with the choice of its settings, or ``why`` that is left out."""

    epsilon: float
    delta: float
    guarantee: str
    accountant: str = ""
    assumptions: list[str] = []
    excludes: list[str] = []
    tuned: float | None = None
    why: str = ""


class Utility(Part):
    """How good the models of a candidate are on records they were not trained on: means over all of them.

    ``parts``: the accuracy without each of 40 groups of records, from which differences between candidates get their
    intervals; ``between``: the variance that the models give the mean.
    """

    accuracy: Figure = Figure()
    balanced: Figure = Figure()
    worst_class: float | None = None
    log_loss: float | None = None
    models: int = 0
    parts: list[float] = []
    between: float = 0.0


class Exposed(Part):
    """The most exposed records: how many, of how many; ``reason``: why they are not known.

    ``undefended``: whether they are those of no defence, since the candidate's own answers do not tell.
    """

    share: float = 0.05
    records: int = 0
    undefended: bool = False
    reason: str = ""


class Planted(Part):
    """What was found among canaries: ``count`` of a ``kind`` in each of ``runs`` trainings, by fair coins.

    ``tpr``: by their ``score``, calibrated on ``references``; ``epsilon``: a lower bound at ``delta`` by ``method``,
    and what is ``claimed`` where it may be held against that; ``reason``: why there are no figures.
    """

    kind: str = ""
    count: int = 0
    runs: int = 0
    references: int = 0
    copies: int = 1
    score: str = ""
    tpr: list[TprPoint] = []
    epsilon: float | None = None
    delta: float = 0.0
    method: str = ""
    claimed: float | None = None
    reason: str = ""

    def at(self, fpr: float | None) -> Figure:
        """Return the share of canaries that are recognised at a false-positive rate."""
        return Figure(reason=self.reason) if self.reason or fpr is None else rate_at(self.tpr, fpr)
