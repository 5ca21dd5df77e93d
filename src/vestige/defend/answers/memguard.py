"""MemGuard: noise on the scores, aimed at the defender's own membership classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from vestige.defend.answers.membership_net import MembershipNet
from vestige.defend.answers.noise_search import search
from vestige.defend.answers.softening import logits_of
from vestige.defend.base import Named, Serving, Stage, Trait, Unfitted, probabilities
from vestige.defend.tickets import Tickets, spread
from vestige.errors import ConfigError, DataError
from vestige.privacy_claim import Guarantee
from vestige.seeds import rng
from vestige.target import Access, IntArray, Outputs

FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class NoiseAtClassifier(Unfitted):
    """MemGuard: changes the scores so that a classifier of the defender's own no longer tells members by them, never
    the class, and by at most ``budget`` in expectation (the L1 distance of the scores, between 0 and 2).

    ``hidden``, ``epochs``, ``lr``, ``batch_size``: the classifier and its training by plain SGD, on at most ``most``
    members and as many records of the reserve. ``grain``: how coarse the secret grid is within whose cells all queries
    share the coin that decides whether they get the noise, as a share of the distance between two records of the
    reserve; a query moved by a hundredth of that distance gets a second throw about one time in eight at 0.5, and at 0
    always. Guaranteed are the class and, over the secret key, the expected distortion of every query; of privacy
    nothing is: attacks that are fitted to defended answers, and attacks that see labels alone, find about as much as
    before. Jia, Salem, Backes, Zhang & Gong 2019, "MemGuard: Defending against Black-Box Membership Inference Attacks
    via Adversarial Examples", CCS, section 4.
    """

    guarantee: ClassVar[Guarantee] = "G3"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL, Trait.READS_MEMBERS_AT_SERVING})
    adaptive: ClassVar[tuple[Named, ...]] = (
        "gap",
        {"name": "confidence", "params": {"thresholds": "class"}},
        {"name": "modified_entropy", "params": {"thresholds": "class"}},
    )
    reserve: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.RESHAPING
    paper: ClassVar[str] = "Jia et al. 2019"

    budget: float = 0.5
    hidden: tuple[int, ...] = (256, 128, 64)
    epochs: int = 40
    lr: float = 0.01
    batch_size: int = 64
    most: int = 2_000
    grain: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name, least, strict in (("budget", 0, False), ("lr", 0, True), ("grain", 0, False)):
            value = getattr(self, name)
            if not (math.isfinite(value) and (value > least if strict else value >= least)):
                raise ConfigError(
                    f"Expected {name} to be a number {'above' if strict else 'of at least'} 0, got {value!r}."
                )
        for name, least in (("epochs", 1), ("batch_size", 1), ("most", FEWEST)):
            value = getattr(self, name)
            if isinstance(value, bool) or value != int(value) or value < least:
                raise ConfigError(f"Expected {name} to be a whole number of at least {least}, got {value!r}.")
        if not self.hidden or any(isinstance(w, bool) or w != int(w) or w < 1 for w in self.hidden):
            raise ConfigError(f"Expected hidden to be a list of layer widths, got {self.hidden!r}.")

    def prepare(self, serving: Serving) -> NoisedAnswers:
        """Train the classifier on the model's answers to its members and to the reserve."""
        kinds = [self._sorted_scores(serving, rows) for rows in (serving.rows, serving.reserve)]
        net = MembershipNet.trained(
            *kinds, hidden=self.hidden, epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, seed=serving.seed
        )
        grain = self.grain * spread(serving.records.rows_of(serving.reserve))
        return NoisedAnswers(net, self.budget, grain)

    def restore(self, state: dict[str, NDArray[Any]]) -> NoisedAnswers:
        """Return the fitted defence whose state this is."""
        return NoisedAnswers(MembershipNet.of(state), self.budget, float(state["grain"]))

    def _sorted_scores(self, serving: Serving, rows: IntArray) -> NDArray[np.float64]:
        if len(rows) < FEWEST:
            raise DataError(
                f"memguard learns from at least {FEWEST} members and as many others, and there are {len(rows)}.",
                hint="Give it more records of the defender's own.",
            )
        draw = rng(serving.seed, "memguard", int(rows[0]))
        own = rows if len(rows) <= self.most else np.sort(draw.choice(rows, self.most, replace=False))
        scores = probabilities(serving.target.query(serving.records.rows_of(own), Access.SCORE))
        return -np.sort(-scores, axis=1)


class NoisedAnswers:
    """The defence fitted to one model; ``grain``: the cells of queries that share a coin, in the features' own unit."""

    def __init__(self, net: MembershipNet, budget: float, grain: float) -> None:
        self.net, self.budget, self.grain = net, budget, grain

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the classifier and the grid."""
        return self.net.state() | {"grain": np.array(self.grain)}

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:
        """Answer the noised scores where they hide more and the query's coin allows it."""
        scores = probabilities(outputs)
        if not len(scores) or not self.budget or scores.shape[1] < 2:
            return Outputs("probabilities", scores)
        noised = self.noised(outputs, scores)
        distance = np.abs(noised - scores).sum(1)
        hides = self._surety(noised) < self._surety(scores)
        chance = np.minimum(1, self.budget / np.maximum(distance, 1e-300))
        coin = tickets.near(self.grain).uniform(1, "memguard")[:, 0]
        return Outputs("probabilities", np.where((hides & (coin < chance))[:, None], noised, scores))

    def noised(self, outputs: Outputs, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what phase I finds for each row: scores with the same class, or the row itself."""
        before = logits_of(outputs)
        before = before - before.max(1, keepdims=True)
        after = search(before, self.net)
        moved = (after != before.astype(np.float32)).any(1)
        found = scores.copy()
        found[moved] = probabilities(Outputs("logits", after[moved]))
        # Whoever stores the answers in single precision sees the same class, too.
        narrow = found.astype(np.float32).argmax(1)
        first = scores.argmax(1)
        lost = (narrow != first) | (found.argmax(1) != first)
        found[lost] = scores[lost]
        return found

    def _surety(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = -np.sort(-scores, axis=1)
        return np.asarray(np.abs(expit(self.net.logit(ordered).astype(np.float64)) - 0.5))
