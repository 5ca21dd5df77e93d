"""The kit finds what is wrong: one broken plug-in per property."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from vestige.attacks.base import Needs
from vestige.errors import AccessError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Outputs
from vestige.testing import ConformanceError, check_attack, check_target
from vestige.testing.simulation import _half


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Minus the loss."""

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = "nobody, never"
    side: ClassVar[str] = "none"

    power: float = 1.0

    @property
    def needs(self):
        return Needs(signals=("loss",), side=self.side)

    def score(self, evidence):
        return -(evidence.target("loss")[:, 0].astype(np.float64) ** self.power)


class Undocumented(Sound):
    __doc__ = None


class Anonymous(Sound):
    """No paper."""

    paper: ClassVar[str] = ""


class Overreaching(Sound):
    """Declares less access than its signal has."""

    access: ClassVar[Access] = Access.LABEL


@dataclass(frozen=True, kw_only=True)
class Unserialisable(Sound):
    """A parameter that JSON turns into another."""

    powers: tuple[float, ...] = (1.0,)


class Float32(Sound):
    """Single precision."""

    def score(self, evidence):
        return super().score(evidence).astype(np.float32)


class Column(Sound):
    """One column too many."""

    def score(self, evidence):
        return super().score(evidence)[:, None]


class Unbounded(Sound):
    """Infinite for a loss of nothing."""

    def score(self, evidence):
        with np.errstate(divide="ignore"):
            return -np.log(np.where(super().score(evidence) > -1e-3, 0.0, -super().score(evidence)))


MEMORY = np.random.default_rng(0)


class Random(Sound):
    """Draws from a generator that remembers."""

    def score(self, evidence):
        return super().score(evidence) + 1e-3 * MEMORY.standard_normal(len(evidence))


class Positional(Sound):
    """Knows where a record stands."""

    def score(self, evidence):
        return super().score(evidence) + 0.1 * np.arange(len(evidence))


class Ranked(Sound):
    """Ranks the target's answers among themselves."""

    def score(self, evidence):
        return np.argsort(np.argsort(super().score(evidence))).astype(np.float64)


class Pooling(Sound):
    """Centres by shadow models' mean over all records, and does not say so."""

    side: ClassVar[str] = "both"

    def score(self, evidence):
        return super().score(evidence) + evidence.reference("loss").mean()


class Peeping(Sound):
    """Goes around the evidence's doors."""

    def score(self, evidence):
        return -evidence.own.columns["loss"][0][:, 0].astype(np.float64)


class Trespassing(Sound):
    """Says it reads models that did not train on the record, and reads all."""

    side: ClassVar[str] = "out"

    def score(self, evidence):
        evidence.reference("loss")
        return super().score(evidence) + evidence.shadows.block("loss", 0, len(evidence)).mean(axis=0)[:, 0]


class Reversed(Sound):
    """Loss, the wrong way round."""

    def score(self, evidence):
        return -super().score(evidence)


class Impatient(Sound):
    """Writes into what it was given."""

    def score(self, evidence):
        own = evidence.target("loss")
        own *= 1
        return super().score(evidence)


class Fragile(Sound):
    """Divides by a deviation that may be nothing."""

    pools_records: ClassVar[bool] = True
    side: ClassVar[str] = "both"

    def score(self, evidence):
        with np.errstate(all="ignore"):
            return super().score(evidence) / evidence.reference("loss").std()


def test_a_sound_attack_passes():
    check_attack(Sound())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Undocumented, "declared: it has a docstring"),
        (Anonymous, "declared: it names its paper"),
        (Overreaching, "declared: the signal loss is within"),
        (Unserialisable, "rebuilds"),
        (Float32, "repeats: scores are float64"),
        (Column, "one score per record"),
        (Unbounded, "scores are finite"),
        (Random, "repeats: asked twice"),
        (Positional, "permutes"),
        (Ranked, "scores_records_alone: the target's answers"),
        (Pooling, "pools_records"),
        (Peeping, "reads_what_it_declares: it reads"),
        (Trespassing, "models that trained on the record"),
        (Reversed, "finds_memorised_records"),
        (Impatient, "reads_mapped_files"),
        (Fragile, "bears_little_and_much"),
    ],
)
def test_a_broken_attack_is_found(broken, says):
    with pytest.raises(ConformanceError, match=says):
        check_attack(broken())


def test_a_mutable_attack_is_found():
    @dataclass
    class Mutable:
        """Not frozen."""

        access: ClassVar[Access] = Access.SCORE
        paper: ClassVar[str] = "nobody, never"
        needs: ClassVar[Needs] = Needs(signals=("loss",))

        def score(self, evidence):
            return -evidence.target("loss")[:, 0].astype(np.float64)

    with pytest.raises(ConformanceError, match="frozen"):
        check_attack(Mutable())


def test_an_attack_that_knew_the_targets_members_would_be_found():
    """Evidence holds no membership of the target, so draw it as the simulation does."""

    class Knowing(Sound):
        """Guesses how the target's half was drawn."""

        def score(self, evidence):
            members = _half(rng(evidence.seed, "simulation", "target"), len(evidence))
            return super().score(evidence) + 0.5 * members

    with pytest.raises(ConformanceError, match="mean AUC without memory"):
        check_attack(Knowing(), only=["knows_nothing_of_nothing"])


def test_unknown_checks_are_refused():
    with pytest.raises(UsageError, match="no check called 'speed'"):
        check_attack(Sound(), only=["speed"])


class Linear:
    """A target with three classes."""

    access = Access.SCORE

    def logits(self, x):
        return np.stack([x.sum(axis=1), x[:, 0], -x[:, 1]], axis=1)

    def query(self, x, want):
        if want > self.access:
            raise AccessError("no")
        scores = self.logits(np.asarray(x, np.float64))
        return Outputs("labels", scores.argmax(axis=1)) if want is Access.LABEL else Outputs("logits", scores)


class BatchNorm(Linear):
    """Left in train mode."""

    def logits(self, x):
        return super().logits(x - x.mean(axis=0))


class Dropout(Linear):
    """Random answers."""

    def __init__(self):
        self.draw = np.random.Generator(np.random.PCG64(0))

    def logits(self, x):
        return super().logits(x) + 0.1 * self.draw.standard_normal((len(x), 3))


class Open(Linear):
    """Shows what it says it does not."""

    def query(self, x, want):
        return super().query(x, min(want, Access.SCORE))


class Chatty(Linear):
    """Shows scores when asked for a label."""

    def query(self, x, want):
        return super().query(x, max(want, Access.SCORE))


class Lossy(Linear):
    """Loses the last record."""

    def query(self, x, want):
        answer = super().query(x, want)
        return Outputs(answer.kind, answer.values[:-1])


class Greedy(Linear):
    """Centres the records it is given, in place."""

    def query(self, x, want):
        answer = super().query(x, want)
        x -= 1.0
        return answer


def some_records():
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((20, 4))
    return Records(x, np.arange(20) % 3, np.arange(20), None, ("a", "b", "c"))


def test_a_sound_target_passes():
    check_target(Linear(), some_records())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (BatchNorm, "train mode|alone"),
        (Dropout, "asked twice"),
        (Open, "refuses white_box"),
        (Chatty, "answers logits"),
        (Lossy, "20 answers, not 19"),
        (Greedy, "leaves the records"),
    ],
)
def test_a_broken_target_is_found(broken, says):
    with pytest.raises(ConformanceError, match=says):
        check_target(broken(), some_records())
