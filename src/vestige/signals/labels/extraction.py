"""Extraction: what a copy of the model, trained on its own labels for other records, says of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vestige.errors import UsageError
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.signals.base import Setting
from vestige.target import Access, FloatArray, Target

FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """Train a copy on the target's labels of held-out records; measure the copy's answers to the audited ones.

    Returns (R, 2): the copy's log-probability of the true label, and whether the target itself gives that label. The
    held-out records are asked about once for all audited ones.
    """

    access: ClassVar[Access] = Access.LABEL
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    asks: ClassVar[str] = "1, and 1 per held-out record"
    knows: ClassVar[tuple[str, ...]] = (f"{FEWEST} or more held-out records", "the recipe")

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Label, train, ask the copy."""
        from vestige.signals import measure_outputs

        records, rows = setting.records, setting.rows
        spare = setting.spare
        if setting.recipe is None:
            raise UsageError("A copy of the target needs a recipe to train it by.", hint="Give a [recipe].")
        if len(spare) < FEWEST:
            raise UsageError(
                f"A copy of the target needs records that no model trained on, and there are {len(spare)}.",
                hint="Set [data] population.",
            )
        labels = np.asarray(target.query(records.rows_of(spare), Access.LABEL).values, np.int64)
        if len(np.unique(labels)) < 2:
            raise UsageError("The target gives one label to every held-out record, so there is nothing to copy.")
        y = np.array(records.y)
        y[spare] = labels
        relabelled = Records(records.x, y, records.ids, records.groups, records.classes)
        copy = setting.recipe.fit(relabelled, spare, seed_for(setting.seed, "extraction"))
        own = np.asarray(target.query(records.rows_of(rows), Access.LABEL).values)
        truth = np.asarray(records.y[rows])
        answers = copy.query(records.rows_of(rows), Access.SCORE)
        said = measure_outputs(answers, truth, ["log_probability"], classes=len(records.classes))["log_probability"]
        return np.column_stack([said.reshape(len(rows)), own == truth])
