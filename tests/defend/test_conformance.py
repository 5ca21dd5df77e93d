"""Every registered defence passes the conformance kit, and the kit sees what is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from vestige.defend import DEFENCES
from vestige.defend.answers.softening import Temperature
from vestige.defend.answers.truncation import TopK
from vestige.defend.base import Trait
from vestige.errors import ConfigError, MissingDependency
from vestige.privacy_claim import PrivacyClaim
from vestige.target import Outputs
from vestige.testing import ConformanceError, check_defence

SMALL: dict[str, dict[str, Any]] = {
    "rank_release": {"samples": 20},
    "memguard": {"epochs": 5, "hidden": (16, 8)},
    "pate": {"teachers": 5, "queries": 60},
}


@pytest.mark.parametrize("name", sorted(DEFENCES.names()))
def test_every_defence_does_what_defences_must(name: str) -> None:
    try:
        check_defence(DEFENCES.create(name, SMALL.get(name, {})))
    except MissingDependency as error:
        pytest.skip(str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turning(Temperature):
    """Shifts the classes and says it does not."""

    def apply(self, outputs: Outputs, tickets: Any) -> Outputs:
        return Outputs("logits", np.roll(outputs.values, 1, axis=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forgetful(Temperature):
    """Draws anew every time."""

    seen: ClassVar[list[int]] = []

    def apply(self, outputs: Outputs, tickets: Any) -> Outputs:
        self.seen.append(1)
        return Outputs("logits", outputs.values * (1 + 0.01 * len(self.seen)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfTheBatch(Temperature):
    """Answers by who else asks."""

    def apply(self, outputs: Outputs, tickets: Any) -> Outputs:
        return Outputs("logits", outputs.values - outputs.values.mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boasting(Temperature):
    """Claims what its kind of guarantee does not hold."""

    def claim(self, answers: int | None) -> PrivacyClaim | None:
        return PrivacyClaim(epsilon=1.0, guarantee="G2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Telling(TopK):
    """Marks the members it was fitted to."""

    def prepare(self, serving: Any) -> Any:
        known = {row.tobytes() for row in serving.records.x[serving.rows]}
        return Marking(self, known)


class Marking:
    def __init__(self, inner: TopK, known: set[bytes]) -> None:
        self.inner, self.known = inner, known

    def state(self) -> dict[str, Any]:
        return {}

    def apply(self, outputs: Outputs, tickets: Any) -> Outputs:
        mine = np.array([row.tobytes() in self.known for row in tickets._x])
        return Outputs("logits", outputs.values * np.where(mine, 3.0, 1.0)[:, None])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Turning(), "keeps the class"),
        (Forgetful(), "asking again"),
        (OfTheBatch(), "asked"),
        (Boasting(), "makes no claim"),
        (Telling(), "restored|remembers nothing"),
        (object(), "has|docstring|paper"),
    ],
)
def test_the_kit_sees_what_is_wrong(wrong: Any, sentence: str) -> None:
    with pytest.raises((ConformanceError, AttributeError), match=sentence):
        check_defence(wrong)


def test_only_those_that_say_so_keep_the_class() -> None:
    keeping = {name for name in DEFENCES.names() if Trait.KEEPS_LABEL in DEFENCES.get(name).traits}
    assert {"top_k", "round", "label_only", "temperature", "memguard", "rank_release"} <= keeping
    assert not {"noise", "private_prediction"} & keeping


def test_refusals_are_config_errors() -> None:
    with pytest.raises(ConfigError):
        DEFENCES.create("private_prediction", {"epsilon": 0.0})
