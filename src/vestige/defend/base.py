"""The Defence contracts: some change how a model is trained, some what it answers; each says what it guarantees.

A training defence turns a recipe into another recipe; an answer defence is fitted to a trained model and then turns its
answers into others. Both are frozen dataclasses of public parameters: an adversary is told all of them and trains
shadow models under them, and is told none of the secrets (`Tickets` keys, the noise of a private training).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vestige.privacy_claim import Guarantee, PrivacyClaim
from vestige.records import Records
from vestige.target import Access, IntArray, Outputs, Recipe, Target

if TYPE_CHECKING:
    from vestige.defend.tickets import Tickets

Named = str | dict[str, Any]
"""An attack as a config names it: its name, or a table of name and params."""


class Trait(StrEnum):
    """What other layers have to know of a defence."""

    COUPLES_RECORDS = "couples_records"
    """In training, what one record adds depends on other records of its batch or on a second network's view of them."""
    CLIPS_RECORDS = "clips_records"
    """Training bounds each record's gradient by itself, so the loss must be a sum over records."""
    REPLACES_TRAINING = "replaces_training"
    """Trains in a way of its own and not by the recipe's loop, so that no loss or loop of another layer survives it."""
    READS_MEMBERS_AT_SERVING = "reads_members_at_serving"
    """What it answers depends on the training records other than through the model."""
    KEEPS_LABEL = "keeps_label"
    """Never changes the class with the largest score."""


class Stage(IntEnum):
    """Where a defence of the answers stands: each takes what the ones before it leave, and none undoes another."""

    TEMPERATURE = 1
    NOISE = 2
    RESHAPING = 3
    """Scores are moved, or exchanged for others."""
    TRUNCATION = 4
    ROUNDING = 5
    LABELS = 6


@runtime_checkable
class Defence(Protocol):
    """What every defence says of itself.

    ``guarantee``: G1 the released weights are differentially private, G2 the answers are, G3 a formal bound on lost
    utility only, G4 judged by attacks only. ``adaptive``: attacks that aim at this defence's own mechanism, run beside
    the usual ones when it is judged. ``reserve``: whether it needs records of the defender's own that nobody is audited
    on.
    """

    guarantee: ClassVar[Guarantee]
    traits: ClassVar[frozenset[Trait]]
    adaptive: ClassVar[tuple[Named, ...]]
    reserve: ClassVar[bool]
    paper: ClassVar[str]


@runtime_checkable
class TrainingDefence(Defence, Protocol):
    """Recipe → Recipe."""

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return how models are trained under the defence; ``reserve``: rows that are the defender's own.

        Raises ConfigError for a recipe that it cannot change.
        """
        ...

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim | None:
        """Return what is proven for a model that ``recipe``, undefended, would train on ``members`` records."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Serving:
    """What the defender has when a trained model is about to be served.

    ``rows``: the records it was trained on; ``reserve``: others of the defender's own, which it was not; ``seed``:
    decides everything that is fitted, and nothing that must be secret.
    """

    target: Target
    records: Records
    rows: IntArray
    reserve: IntArray
    seed: int


@runtime_checkable
class AnswerDefence(Defence, Protocol):
    """Outputs → Outputs."""

    def prepare(self, serving: Serving) -> Answerer:
        """Return the defence fitted to one model; most need no fitting and return themselves."""
        ...

    def shows(self, access: Access) -> Access:
        """Return what is left of label or score access: a defence that answers labels alone lowers scores to labels."""
        ...

    def restore(self, state: dict[str, NDArray[Any]]) -> Answerer:
        """Return the fitted defence whose `Answerer.state` this is."""
        ...

    def claim(self, answers: int | None) -> PrivacyClaim | None:
        """Return what is proven for so many answers (None: without limit)."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """A fitted answer defence: the object that an audit wraps around a target and a server applies."""

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:
        """Return what is answered instead, one row per record; the same for the same record and answer, every time."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what was fitted, as arrays that a safetensors file can hold; empty where nothing was."""
        ...


class Unfitted:
    """What answer defences without anything to fit have in common.

    A subclass may say where in a chain it belongs with ``stage``, a `Stage`; one that does not may stand anywhere.
    """

    def prepare(self, serving: Serving) -> Any:  # noqa: ARG002
        """Return the defence itself."""
        return self

    def restore(self, state: dict[str, NDArray[Any]]) -> Any:  # noqa: ARG002
        """Return the defence itself."""
        return self

    def state(self) -> dict[str, NDArray[Any]]:
        """Return nothing."""
        return {}

    def shows(self, access: Access) -> Access:
        """Return the access unchanged."""
        return access

    def claim(self, answers: int | None) -> PrivacyClaim | None:  # noqa: ARG002
        """Return None: nothing is proven."""
        return None


def probabilities(outputs: Outputs) -> NDArray[np.float64]:
    """Return the answers as (R, C) float64 probabilities; logits go through a softmax.

    Raises ModelError for answers that are neither.
    """
    from vestige.defend.blocks import softmax_rows
    from vestige.errors import ModelError

    if outputs.kind == "logits":
        return softmax_rows(outputs.values)
    if outputs.kind == "probabilities":
        return np.asarray(outputs.values, np.float64)
    raise ModelError(
        f"This defence changes the scores of a classifier, and the model answers {outputs.kind}.",
        hint="Remove the defence, or defend the training instead.",
    )
