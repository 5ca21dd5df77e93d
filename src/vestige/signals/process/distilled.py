"""Distilled: the course of a student's training on the target's answers, which stands in for that of the target."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import softmax

from vestige.backends.torch_options import MODELS
from vestige.errors import AccessError, UsageError
from vestige.seeds import seed_for
from vestige.signals.base import Setting, Signals
from vestige.signals.process.breeding import breed, joined
from vestige.signals.process.metrics import BLOCK, KEYS, ask, metrics_of, sequence
from vestige.target import Access, FloatArray, IntArray, Outputs, Target

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

FEWEST = 20
SAME = "same"


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """Five metrics of a record after every epoch of a student's training on the target's soft labels; then its own.

    Returns (R, (epochs + 1) * 5): loss, largest probability, deviation of the probabilities, entropy and modified
    entropy, epoch after epoch, the target itself last. The student sees the records held out from every model and, up
    to ``records`` in all (None: as many as the pool has), others bred from them; where fewer than 20 are held out, from
    the whole pool. It learns the target's probabilities at temperature 1, never a label, each asked for once, by the
    adversary's own recipe, or as the network named by ``student`` (mlp, logistic, cnn, …) with its usual options. All
    students of one audit start from the same weights and see the same records in the same order, so that they differ
    only in what their teachers say. Raises UsageError for a recipe whose models learn no soft labels epoch by epoch.

    Liu, Zhao, Backes & Zhang 2022, "Membership Inference Attacks by Exploiting Loss Trajectory", CCS, section 4; Li,
    Li, Wu et al. 2024, "SeqMIA: Sequential-Metric Based Membership Inference Attack", CCS, section 4.
    """

    access: ClassVar[Access] = Access.SCORE
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    epochs: int = 50
    records: int | None = None
    student: str = SAME

    def __post_init__(self) -> None:
        if self.epochs < 0 or (self.records is not None and self.records < 1):
            raise UsageError(f"Expected epochs ≥ 0 and records ≥ 1, got {self.epochs} and {self.records}.")
        if self.student not in (SAME, *MODELS):
            raise UsageError(f"Expected student to be {SAME}, {', '.join(MODELS)}, got '{self.student}'.")

    @property
    def asks(self) -> str:
        """How many answers a record takes."""
        return "1, and 1 per record of the student" if self.epochs else "1"

    @property
    def knows(self) -> tuple[str, ...]:
        """What trains the student."""
        return ("the recipe",) if self.student == SAME and self.epochs else ()

    def probe(self, target: Target, setting: Setting) -> FloatArray:
        """Ask the target about the adversary's records, train the student, and measure it after every epoch."""
        records, rows = setting.records, setting.rows
        steps: list[Signals] = []
        if self.epochs:
            from vestige.backends.following import distil

            recipe = self._recipe(setting)
            x = self.material(setting)
            distil(
                recipe,
                records,
                x,
                _soft_labels(target, x),
                seed_for(setting.seed, "student"),
                rows,
                lambda outputs: steps.append(metrics_of(outputs, records, rows)),
            )
        return sequence([*steps, ask(target, records, rows)])

    def material(self, setting: Setting) -> Any:
        """Return the records that the student sees."""
        records, spare = setting.records, setting.spare
        own = records.rows_of(spare)
        missing = (len(records) if self.records is None else self.records) - len(spare)
        if missing <= 0:
            return own
        parents = spare if len(spare) >= FEWEST else np.arange(len(records), dtype=np.int64)
        bred = breed(records.x, parents, missing, setting.rng)
        return joined(own, bred) if len(spare) else bred

    def _recipe(self, setting: Setting) -> TorchRecipe:
        from vestige.backends.torch import TorchRecipe

        if self.student != SAME:
            return TorchRecipe(model=self.student, epochs=self.epochs)
        if setting.recipe is None:
            raise UsageError(
                "A student of the target needs a recipe to be trained by.", hint="Give a [recipe], or student = 'mlp'."
            )
        if not isinstance(setting.recipe, TorchRecipe):
            raise UsageError(
                f"A student learns the target's probabilities epoch by epoch, which {type(setting.recipe).__name__} "
                "cannot do.",
                hint="Set student = 'mlp': a network learns from any target's answers.",
            )
        return dataclasses.replace(setting.recipe, epochs=self.epochs)

    def imagine(self, logits: FloatArray, y: IntArray) -> FloatArray:
        """Return what would be found on a simulated model: a student whose scores grow to the target's in few steps."""
        from vestige.signals import measure_outputs

        steps = []
        for grown in np.linspace(1.0, 0.2, 1 + min(self.epochs, 5))[::-1]:
            found = measure_outputs(Outputs("logits", logits * grown), y, KEYS)
            steps.append(np.column_stack([found[key] for key in KEYS]))
        return sequence(steps)


def _soft_labels(target: Target, x: Any) -> FloatArray:
    """Return (D, C) probabilities, asking about each record once."""
    parts = []
    for start in range(0, len(x), BLOCK):
        piece = x.iloc[start : start + BLOCK] if hasattr(x, "iloc") else x[start : start + BLOCK]
        outputs = target.query(piece, Access.SCORE)
        values = np.asarray(outputs.values, np.float64)
        if outputs.kind == "labels":
            raise AccessError("A student learns the target's probabilities, but the target answers labels only.")
        if values.shape[1] == 1:
            other = np.zeros_like(values) if outputs.kind == "logits" else 1 - values
            values = np.column_stack([other, values])
        # What is rounded or cut off when shown leaves sums that are not one.
        parts.append(
            softmax(values, axis=1) if outputs.kind == "logits" else values / values.sum(axis=1, keepdims=True)
        )
    return np.concatenate(parts)
