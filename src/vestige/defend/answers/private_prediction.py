"""Randomised response: labels that are differentially private answer by answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.defend.base import Named, Serving, Stage, Trait, Unfitted
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, MissingDependency, ModelError
from vestige.privacy_claim import Guarantee, PrivacyClaim
from vestige.target import Access, Outputs

FEWEST_CLASSES = 2


@dataclass(frozen=True, kw_only=True)
class PrivatePrediction(Unfitted):
    """Answers the model's class with probability e^ε / (e^ε + K − 1), and otherwise one of the K − 1 others at random.

    ``epsilon``: of every distinct query. ``answers``: how many distinct queries are answered at most in all that a
    claim is made for; None: without limit, and then nothing is claimed. ``delta``: of that claim. A query that was
    answered before is answered the same again, whatever the model says by then, and costs nothing. The answers are
    (ε, δ)-differentially private under replacement of one training record, whatever the training; the weights are not,
    nor is a second way of asking. ε adds up fast: 100 answers at ε = 1 are worth ε ≈ 40. What was answered is
    remembered as long as the served model lives: one that is started anew counts from nothing, and spends as much
    again, which a `vestige.defend.PrivacyBudget` for replace_one can keep count of. Warner 1965, "Randomized Response",
    JASA, for k classes as in Kairouz, Bonawitz & Ramage 2016, "Discrete Distribution Estimation under Local Privacy",
    ICML.
    """

    guarantee: ClassVar[Guarantee] = "G2"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ("gap", "noise")
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.LABELS
    paper: ClassVar[str] = "Kairouz et al. 2016"

    epsilon: float = 1.0
    answers: int | None = None
    delta: float = 1e-6

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"Expected epsilon to be a number above 0, got {self.epsilon!r}.")
        if not 0 <= self.delta < 1:
            raise ConfigError(f"Expected delta to be at least 0 and below 1, got {self.delta!r}.")
        if self.answers is not None and (
            isinstance(self.answers, bool) or self.answers != int(self.answers) or self.answers < 1
        ):
            raise ConfigError(f"Expected answers to be a whole number of at least 1, got {self.answers!r}.")

    def shows(self, access: Access) -> Access:
        """Lower scores to labels."""
        return min(access, Access.LABEL)

    def keeps(self, classes: int) -> float:
        """Return the probability that the model's class is answered."""
        return 1 / (1 + (classes - 1) * math.exp(-self.epsilon))

    def prepare(self, serving: Serving) -> PrivateAnswers:  # noqa: ARG002
        """Return the defence with a ledger of its own."""
        return PrivateAnswers(self, AnswerLedger(self.answers))

    def restore(self, state: dict[str, NDArray[Any]]) -> PrivateAnswers:  # noqa: ARG002
        """Return the defence with a ledger of its own."""
        return PrivateAnswers(self, AnswerLedger(self.answers))

    def claim(self, answers: int | None, classes: int | None = None) -> PrivacyClaim | None:
        """Return the (ε, δ) of so many distinct answers; None without a limit.

        ``classes``: where it is not known, the bound that holds for any number.
        """
        count = self.answers if answers is None else answers
        if count is None:
            return None
        kinds = classes or FEWEST_CLASSES
        return PrivacyClaim(
            epsilon=min(composed(self.epsilon, count, self.delta, kinds), count * self.epsilon),
            delta=self.delta,
            guarantee="G2",
            adjacency="replace_one",
            mechanism="randomized_response",
            accountant=f"{count} answers, privacy loss distributions composed by dp-accounting",
            ledger=({"kind": "SelfComposed", "event": self._event(kinds), "count": count},),
            assumptions=(
                f"at most {count} distinct queries are ever answered, about all records together",
                "the tickets' key is secret, owes nothing to the records, and its draws are as good as random",
                "not those of an audit, which derives the key from the model so that it can be repeated",
            ),
            excludes=("hyper-parameter selection", "the weights", "answers given in any other way"),
        )

    def _event(self, classes: int) -> dict[str, Any]:
        """Return one answer as dp-accounting's event, whose parameter is how often any of the classes is drawn."""
        share = classes / (math.exp(self.epsilon) + classes - 1)
        return {"kind": "RandomizedResponse", "noise_parameter": share, "num_buckets": classes}


class AnswerLedger:
    """Remembers every query's first answer and gives no other, so that a claim can be made for what was answered.

    ``limit``: the most distinct queries; None: any number. Queries that differ by less than tickets can tell are one:
    would each get an answer of its own by the same draws, two classes of the model could be told apart by them.
    Keeps one 64-bit keyed hash and the answer of each query.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._given: dict[int, int] = {}

    @property
    def count(self) -> int:
        """How many distinct queries were answered."""
        return len(self._given)

    def settle(self, tickets: Tickets, answers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the answer that each query of a batch gets: its first, which for a new query is that of ``answers``.

        Raises ModelError, and remembers nothing, where there would be too many.
        """
        asked = tickets.digests.tolist()
        new = len(set(asked).difference(self._given))
        if self.limit is not None and self.count + new > self.limit:
            raise ModelError(
                f"The privacy budget allows {self.limit} distinct queries; {self.count} were answered, and this batch "
                f"brings {new} more.",
                hint="Ask again only what was asked before, or raise 'answers' and accept a larger ε.",
            )
        first = self._given.setdefault
        return np.array([first(query, answer) for query, answer in zip(asked, answers.tolist(), strict=True)], np.int64)


class PrivateAnswers:
    """The defence in front of one model, and the ledger of what it answered."""

    def __init__(self, defence: PrivatePrediction, ledger: AnswerLedger) -> None:
        self.defence, self.ledger = defence, ledger

    def state(self) -> dict[str, NDArray[Any]]:
        """Return nothing: nothing was fitted."""
        return {}

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:
        """Answer each query's randomised class."""
        if outputs.kind not in ("logits", "probabilities"):
            raise ModelError(
                f"private_prediction must know how many classes there are, and the model answers {outputs.kind}.",
                hint="Put it before label_only, and in front of a classifier with scores.",
            )
        classes = outputs.values.shape[1]
        draws = tickets.uniform(2, "private_prediction")
        other = (draws[:, 1] * (classes - 1)).astype(np.int64)
        label = outputs.values.argmax(1).astype(np.int64)
        # The others are the classes after the label, round and round, each as likely.
        drawn = np.where(draws[:, 0] < self.defence.keeps(classes), label, (label + 1 + other) % classes)
        return Outputs("labels", self.ledger.settle(tickets, drawn))


@lru_cache(maxsize=64)
def composed(epsilon: float, count: int, delta: float, classes: int = FEWEST_CLASSES) -> float:
    """Return ε at ``delta`` of ``count`` randomised responses, under replacement of one record."""
    if count == 0:
        return 0.0
    try:
        from dp_accounting.pld import privacy_loss_distribution as pld
    except ImportError as error:
        raise MissingDependency("dp-accounting", extra="dp", purpose="Adding up private answers") from error
    noise = classes / (math.exp(epsilon) + classes - 1)
    # Composed here and not by an accountant's event with a count, which dp-accounting 0.6.0 takes for one answer.
    one = pld.from_randomized_response(noise, classes, value_discretization_interval=1e-4)
    return float(one.self_compose(count).get_epsilon_for_delta(delta))
