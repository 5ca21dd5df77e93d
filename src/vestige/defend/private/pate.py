"""PATE: a model taught, on records that are nobody's secret, by the noisy vote of many that share no member."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from numpy.typing import NDArray

from vestige.backends.function import FunctionRecipe
from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchRecipe
from vestige.defend.base import Named, Trait
from vestige.defend.private.accounting import LARGEST, Account
from vestige.defend.private.dp_sgd import USUAL_EPSILON
from vestige.defend.private.ledger import entries
from vestige.defend.private.mechanisms import Kind
from vestige.defend.private.votes_cost import AnyVotes
from vestige.defend.private.voting import Count, Method
from vestige.defend.training.common import number
from vestige.defend.training.rival import needed, whole
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee, PrivacyClaim
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.votes_seen import SeenCost


@dataclass(frozen=True, kw_only=True)
class PATE:
    """Trains ``teachers`` models on disjoint parts of the members, and serves a student taught on the defender's own
    records, which the teachers label by a noisy vote.

    The student is (``epsilon``, ``delta``)-differentially private for adding or removing a member (and all of a group,
    where records have groups), whatever is seen of it: it reads no member, a member moves one teacher's votes, and the
    noise hides one vote. The defender's records themselves are not protected, and neither votes nor teachers may be
    given away. The ε claimed holds for any votes. It grows with the queries and not with teachers, epochs or members.

    ``method``: gnmax adds Gaussian noise to each class's count and answers the largest, confident answers only where
    the largest count, with noise, reaches ``threshold`` (a share of the teachers), lnmax adds Laplace noise.
    ``epsilon``: the budget, from which the noise follows (4 when neither is given), or ``noise``: in votes, a deviation
    or a Laplace scale, from which ε follows. ``queries``: how many of the defender's records are asked at most;
    ``answers``: with confident, how many are answered at most (None: all). ``screening``: the deviation of the
    threshold's noise as a multiple of the counts'. ``epochs`` of the student (None: the recipe's). ``release``: draw
    the noise from the operating system, for a model that is given away; audits need one that they can repeat.

    Take as many teachers as leaves each some use: a vote stands out once the noise is small beside their number. The
    student follows the recipe, but for early stopping; the authors' takes unlabelled records too, this one does not.
    Works for torch networks, scikit-learn estimators and training functions. Papernot, Song, Mironov, Raghunathan,
    Talwar & Erlingsson 2018, "Scalable Private Learning with PATE", ICLR; lnmax: Papernot et al. 2017, ICLR.
    """

    name: ClassVar[str] = "pate"
    guarantee: ClassVar[Guarantee] = "G1"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ("lira", "rmia", "gap")
    reserve: ClassVar[bool] = True
    paper: ClassVar[str] = "Papernot et al. 2018"

    teachers: int = 100
    method: Method = "gnmax"
    epsilon: float | None = None
    noise: float | None = None
    delta: float = 1e-5
    queries: int = 200
    answers: int | None = None
    threshold: float = 0.6
    screening: float = 3.75
    epochs: int | None = None
    release: bool = False

    def __post_init__(self) -> None:
        whole("teachers", self.teachers, 2)
        whole("queries", self.queries, 2)
        if self.method not in get_args(Method):
            raise ConfigError(f"Expected method to be one of {', '.join(get_args(Method))}, got {self.method!r}.")
        if self.epsilon is not None and self.noise is not None:
            raise ConfigError("Expected epsilon or noise, got both.", hint="One follows from the other.")
        if self.epsilon is None and self.noise is None:
            object.__setattr__(self, "epsilon", USUAL_EPSILON)
        for name in ("epsilon", "noise"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, math.inf, open_ends=True)
        if self.epsilon is not None and self.epsilon > LARGEST:
            raise ConfigError(f"An epsilon of {self.epsilon:g} bounds no attack that matters.", hint="Ask fewer.")
        number("delta", self.delta, 0, 1, open_ends=True)
        number("threshold", self.threshold, 0, 1)
        number("screening", self.screening, 0, math.inf, open_ends=True)
        if self.epochs is not None:
            whole("epochs", self.epochs, 1)
        if self.answers is not None:
            whole("answers", self.answers, 2)
            if self.method != "confident":
                raise ConfigError(f"With method = '{self.method}' every query is answered.", hint="Set queries alone.")
            if self.answers > self.queries:
                raise ConfigError(f"Expected answers to be at most the {self.queries} queries, got {self.answers}.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:
        """Return the recipe of teachers and student; raises ConfigError for one it cannot retrain on other labels."""
        from vestige.defend.private.pate_recipe import NetworkPATE, PlainPATE

        if isinstance(recipe, TorchRecipe):
            own = needed(reserve, self.name)
            return NetworkPATE(inner=recipe, network=recipe, defence=self, reserve=own)
        if isinstance(recipe, SklearnRecipe | FunctionRecipe):
            if self.epochs is not None:
                raise ConfigError("The epochs of 'pate' are a torch student's, and this recipe has none.")
            return PlainPATE(inner=recipe, defence=self, reserve=needed(reserve, self.name))
        raise ConfigError(
            f"The defence 'pate' trains torch networks, scikit-learn estimators and functions, and this recipe is a "
            f"{type(recipe).__name__}.",
            hint="Defences that train by a loop of their own cannot stand before it.",
        )

    @property
    def most(self) -> int:
        """How many queries are answered at most."""
        return self.answers or self.queries

    @property
    def votes(self) -> AnyVotes:
        """What is asked of the teachers, and so is accounted for."""
        return AnyVotes(
            method=self.method, queries=self.queries, answers=self.most, screening=self.screening, delta=self.delta
        )

    @property
    def count(self) -> Count:
        """How votes are counted, with the noise given or with what ``epsilon`` takes."""
        noise = self.noise or self.votes.noise(float(self.epsilon or 0))
        return Count(
            method=self.method,
            noise=noise,
            most=self.most,
            screen=self.screening * noise,
            threshold=self.threshold * self.teachers,
        )

    @property
    def account(self) -> Account:
        """What all answers together cost, for any votes."""
        return Account(self.votes.event(self.count.noise))

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim:  # noqa: ARG002
        """Return the (ε, δ) of the student; it hangs neither on the recipe nor on how many members there are.

        Raises ConfigError where ε is too large to mean anything.
        """
        votes, noise = self.votes, self.count.noise
        epsilon = votes.epsilon(noise)
        if epsilon > LARGEST:
            raise ConfigError(
                f"A noise of {noise:g} votes proves ε = {epsilon:.3g} for {self.most} answers, which bounds "
                "no attack that matters.",
                hint="Raise noise, ask fewer queries, or give epsilon instead.",
            )
        asked = f"at most {self.queries} records are asked and {self.most} answered"
        return PrivacyClaim(
            epsilon=epsilon if self.epsilon is None else float(self.epsilon),
            delta=self.delta,
            guarantee="G1",
            unit="record",
            adjacency="add_remove",
            mechanism="gaussian" if votes.gaussian else "laplace",
            mu=votes.strength(noise) if votes.gaussian else None,
            accountant=votes.seconded(noise),
            ledger=entries(votes.event(noise)),
            assumptions=(
                f"{asked}, whatever the votes",
                "a record has one teacher, chosen by its id, which owes nothing to who else is a member",
                "records of one group share their teacher",
                "the defender's own records, which the student learns from, are public and owe nothing to the members",
                "noise comes from the operating system, and teachers and votes are thrown away"
                if self.release
                else "noise is reproducible from the seed: not a release",
            ),
            excludes=_excluded(recipe),
        )

    def seen_cost(self, votes: NDArray[Any], answered: IntArray | None = None) -> SeenCost:
        """Return the ε that these (Q, classes) votes cost, which is less than the claim's where teachers agree.

        ``answered``: which of them were answered, by default all. The figure depends on the members: it is for their
        owner alone and must not be published, as no claim may be made of it.
        """
        from vestige.defend.private.votes_seen import seen_cost

        own = votes if answered is None else votes[answered]
        screened = len(votes) if self.method == "confident" else 0
        count = self.count
        kind: Kind = "gaussian" if self.votes.gaussian else "laplace"
        return seen_cost(own, count.noise, self.delta, kind=kind, screened=screened, screen=count.screen)


def _excluded(recipe: Recipe) -> tuple[str, ...]:
    found = ["hyper-parameter selection", "the defender's own records"]
    if isinstance(recipe, TorchRecipe) and recipe.normalize != "none":
        found.append("the scales of the features, where they were fitted to all records (normalize)")
    return tuple(found)
