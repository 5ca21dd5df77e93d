"""White box: one attack model on everything the weights show of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vestige.attacks.base import Attack, Evidence, Needs
from vestige.attacks.labelled import taught_scores
from vestige.attacks.learned import Family, check_family
from vestige.attacks.lira import LiRA
from vestige.attacks.relative import judged, relative
from vestige.attacks.rmia import RMIA
from vestige.errors import UsageError
from vestige.records import Task
from vestige.target import Access, FloatArray

KEY = "white_box_vector"
MODELS = 10
JUDGES: tuple[Attack, ...] = (RMIA(), LiRA(), LiRA(signal="gradient_norm"))
"""Attacks whose scores are features too: who has the weights has the answers and can calibrate them as well."""


@dataclass(frozen=True, kw_only=True)
class WhiteBox:
    """An attack model taught by shadow models on answer, loss, gradients, hidden values and label.

    Score (N,): the log-odds of membership, larger = more likely a member. The adversary needs the weights, and shadow
    models to learn from and to calibrate with. Models number their hidden units as training happened to, so gradients
    and hidden values enter as lengths and sorted values, which mean the same in every model. ``calibrated``: it also
    sees by how much each differs from what models without the record show, and models with it, and what RMIA and LiRA
    make of the answer and LiRA of the gradient's length: who has the weights can run those too. Where some record has
    too few models of either kind it makes do with those without the record, or with features alone. ``family``: the
    kind of attack model; ``rows``: how many shadow rows of members, and of non-members, it learns from at most. Raises
    MissingDependency without scikit-learn.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    paper: ClassVar[str] = (
        "Li & Zhang, Advancing membership inference attacks: the present and the future, "
        "Security and Safety 2025, section 2.3; Liu et al., ML-Doctor, USENIX Security 2022, section 3"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})
    pools_records: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    calibrated: bool = True
    family: Family = "boosting"
    rows: int = 10_000

    def __post_init__(self) -> None:
        check_family(self.family)
        if self.rows < 1:
            raise UsageError(f"Expected at least one row, got {self.rows}.")

    @property
    def needs(self) -> Needs:
        """The vector, of the target and of shadow models: all to calibrate with, ten of them to learn from."""
        if not self.calibrated:
            return Needs(signals=(KEY,), shadows=1, wants=MODELS, side="both")
        keys = [key for judge in JUDGES for key in judge.needs.signals]
        return Needs(signals=(KEY, *dict.fromkeys(keys)), shadows=1, side="both")

    def score(self, evidence: Evidence) -> FloatArray:
        """Return (N,) log-odds, larger = more likely a member."""
        found = judged(evidence, KEY, JUDGES, models=MODELS) if self.calibrated else None
        if found is not None:
            return taught_scores(self.family, found, found, KEY, rows=self.rows)
        return self.transfer(evidence, evidence)

    def transfer(self, known: Evidence, evidence: Evidence) -> FloatArray:
        """Return (N,) scores of ``evidence``, learning from the shadow models of ``known``."""
        if self.calibrated:
            taught, asked = relative(known, KEY, models=MODELS), relative(evidence, KEY, models=MODELS)
            if taught is not None and asked is not None:
                known, evidence = taught, asked
        return taught_scores(self.family, known, evidence, KEY, rows=self.rows)
