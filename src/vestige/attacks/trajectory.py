"""Loss trajectories: members' losses take another course while a student of the target is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.learned import Rows, draw_rows, fit, same_classes
from vestige.attacks.sequences import LARGEST, Network, Rule, teach
from vestige.attacks.summaries import summarise
from vestige.errors import UsageError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.signals.process.distilled import SAME, Distilled
from vestige.signals.process.metrics import METRICS
from vestige.signals.process.snapshots import Snapshots
from vestige.target import Access, FloatArray

Process = Literal["distilled", "snapshots"]
Model = Literal["network", "boosting", "logistic"]
FEWEST = 24
USUAL = Distilled()


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Member if its losses, from the first epoch of a student of the target to the target, run as members' do.

    Score (N,): the difference of the logits of an attack model that shadow models taught what the losses of members and
    of others look like, the shadow models having students of their own; larger = more likely a member. Without any
    epoch it is minus the loss. The adversary needs the recipe, to train students by, and the target's answers to
    records enough to teach one. ``process``: ``distilled``, or ``snapshots`` of the target's own training, for an
    adversary who has them (white-box access); ``epochs``: of the student, or of the training at most; ``records`` and
    ``student``: see the ``distilled`` signal. ``model``: the paper's network, or ``boosting`` or ``logistic`` on a
    summary of the sequence; ``models``: how many shadow models teach it, and ``rows``: from how many members and as
    many others of theirs.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Liu, Zhao, Backes & Zhang, Membership inference attacks by exploiting loss trajectory, CCS 2022, section 4"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    network: ClassVar[Network] = "mlp"
    metrics: ClassVar[tuple[str, ...]] = ("loss",)

    process: Process = "distilled"
    epochs: int = USUAL.epochs
    records: int | None = None
    student: str = SAME
    model: Model = "network"
    models: int = 2
    rows: int = 5000

    def __post_init__(self) -> None:
        if self.process not in get_args(Process):
            raise UsageError(f"Expected process to be distilled or snapshots, got '{self.process}'.")
        if self.model not in get_args(Model):
            raise UsageError(f"Expected the attack model to be network, boosting or logistic, got '{self.model}'.")
        if min(self.models, self.rows) < 1:
            raise UsageError(f"Expected models ≥ 1 and rows ≥ 1, got {self.models} and {self.rows}.")
        if self.process == "snapshots":
            Snapshots(count=self.epochs)
            # What it may be given follows from what it reads, and the class can name only one of both.
            object.__setattr__(self, "access", Snapshots.access)
        else:
            Distilled(epochs=self.epochs, records=self.records, student=self.student)

    @property
    def key(self) -> str:
        """The signal it reads."""
        if self.process == "snapshots":
            return key_of("snapshots", {} if self.epochs == Snapshots.count else {"count": self.epochs})
        given: dict[str, Any] = {"epochs": self.epochs, "records": self.records, "student": self.student}
        return key_of("distilled", {name: value for name, value in given.items() if value != getattr(USUAL, name)})

    @property
    def needs(self) -> Needs:
        """The sequences of the target and of shadow models in its place."""
        return Needs(signals=(self.key,), shadows=1, wants=self.models, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) scores, larger = more likely a member."""
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``, maybe of other records."""
        same_classes(known, evidence)
        own = self._series(evidence.target(self.key)[:, 0])
        rows = draw_rows(known, self.key, per_side=self.rows, by_class=False)
        if own.shape[1] * own.shape[2] == 1 or len(rows) < 2 * FEWEST:
            # One number a record, or too few rows to learn what more of them mean: the target's loss is what is left.
            return -own[:, -1, 0].astype(np.float64)
        return self._taught(rows, known.seed)(own)

    def queries_taken(self, evidence: Evidence) -> float:
        """Return how many answers of the target a record took, those that taught the student among them."""
        if self.process == "snapshots" or not self.epochs:
            return 1.0
        spare = 0 if evidence.population is None else len(evidence.population)
        taught = max(spare, len(evidence) + spare if self.records is None else self.records)
        return 1.0 + taught / max(1, len(evidence))

    def _series(self, values: FloatArray) -> FloatArray:
        """Return (R, T + 1, F): the metrics it reads, step after step."""
        chosen = [METRICS.index(name) for name in self.metrics]
        return values.reshape(len(values), -1, len(METRICS))[:, :, chosen]

    def _taught(self, rows: Rows, seed: int) -> Rule:
        series = self._series(rows.features)
        if self.model == "network":
            return teach(self.network, series, rows.members, seed)

        def read(found: FloatArray) -> FloatArray:
            return summarise(np.clip(found, None, LARGEST)).astype(np.float32)

        rule = fit(self.model, Rows(read(series), rows.members, rows.labels), seed)
        return lambda found: rule(read(found))
