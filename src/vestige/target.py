"""What a model under audit is: Access, Outputs, the Target and Recipe protocols, query counting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vestige.errors import AccessError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vestige.records import Records

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]


class Access(IntEnum):
    """What the adversary may see of the target; each level includes the ones before it."""

    LABEL = 1
    SCORE = 2
    WHITE_BOX = 3

    @classmethod
    def parse(cls, text: str | Access) -> Access:
        """Return the level named ``label``, ``score`` or ``white_box``."""
        if isinstance(text, Access):
            return text
        try:
            return cls[text.upper()]
        except KeyError:
            raise AccessError(f"Expected access to be label, score or white_box, got '{text}'.") from None

    @property
    def label(self) -> str:
        """The name used in configs and logs."""
        return self.name.lower()


OutputKind = Literal["logits", "probabilities", "labels", "values"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a target answered for R records.

    ``logits``: (R, C) unnormalised; ``probabilities``: (R, C) rows that sum to one; ``labels``: (R,) class indices;
    ``values``: (R,) regression predictions.
    """

    kind: OutputKind
    values: FloatArray | IntArray

    def __post_init__(self) -> None:
        expected = 1 if self.kind in ("labels", "values") else 2
        if self.values.ndim != expected:
            raise ModelError(
                f"Expected {self.kind} with {expected} dimension(s), got an array of shape {self.values.shape}.",
                hint="A model must answer one row per record and one column per class.",
            )

    def __len__(self) -> int:
        return len(self.values)


@runtime_checkable
class Target(Protocol):
    """A model under audit."""

    @property
    def access(self) -> Access:
        """The most it can show."""
        ...

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch of records; raises AccessError when ``want`` exceeds ``access``."""
        ...


@runtime_checkable
class Recipe(Protocol):
    """How such a model is trained; training-time defences wrap it."""

    def fit(self, records: Records, rows: IntArray, seed: int) -> Target:
        """Train one model on ``rows`` of ``records``."""
        ...

    def fingerprint(self) -> str:
        """Return a stable text that changes whenever the trained model could."""
        ...


@runtime_checkable
class BatchRecipe(Recipe, Protocol):
    """A recipe with a vectorised path that trains many models at once."""

    def fit_many(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> list[Target]:
        """Train one model per entry of ``rows``; the same models, to the byte, as ``fit`` one by one."""
        ...


class CountingTarget:
    """A target that counts the records it has answered."""

    def __init__(self, inner: Target) -> None:
        self.inner = inner
        self.access = inner.access
        self.queries = 0

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch of records and count them."""
        require(self, want)
        outputs = self.inner.query(x, want)
        if len(outputs) != len(x):
            raise ModelError(f"Expected {len(x)} answers for {len(x)} records, got {len(outputs)}.")
        self.queries += len(x)
        return outputs


def require(target: Target, want: Access) -> None:
    """Raise AccessError when ``target`` does not show as much as ``want``."""
    if want > target.access:
        raise AccessError(
            f"This needs {want.label} access, but the target shows only {target.access.label}.",
            hint="Choose attacks for that access, or raise [audit] access if the adversary really has it.",
        )
