"""DP-SGD as a defence: `dp_sgd` with a fixed clipping norm, `adaptive_clipping` with one that follows the gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from vestige.backends.torch import TorchRecipe
from vestige.defend.base import Named, Trait
from vestige.defend.private.accounting import LARGEST
from vestige.defend.private.ledger import entries
from vestige.defend.private.schedules import Schedule, check_schedule, factors
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee, PrivacyClaim
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Clip
    from vestige.defend.private.dp_recipe import PrivateRecipe
    from vestige.defend.private.randomness import Randomness

USUAL_EPSILON = 4.0
Engine = Literal["auto", "batched", "opacus"]
Mode = Literal["hooks", "functorch", "ghost"]


@dataclass(frozen=True, kw_only=True)
class PrivateTraining:
    """What private trainings have in common: a budget or a noise, a schedule, and the engine."""

    guarantee: ClassVar[Guarantee] = "G1"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.CLIPS_RECORDS})
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float | None = None
    max_grad_norm: float = 1.0
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    schedule: Schedule = "constant"
    decay: float = 0.5
    batch_norm: Literal["replace", "refuse"] = "replace"
    engine: Engine = "auto"
    mode: Mode = "hooks"
    heuristic: bool = False
    release: bool = False

    def __post_init__(self) -> None:
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise ConfigError("Expected epsilon or noise_multiplier, got both.", hint="One follows from the other.")
        if self.epsilon is None and self.noise_multiplier is None:
            object.__setattr__(self, "epsilon", USUAL_EPSILON)
        for name in ("epsilon", "noise_multiplier", "max_grad_norm", "lr"):
            value = getattr(self, name)
            if value is not None and not (_number(value) and value > 0):
                raise ConfigError(f"Expected {name} to be a number above 0, got {value!r}.")
        if self.delta is not None and not (_number(self.delta) and 0 < self.delta < 1):
            raise ConfigError(f"Expected delta to be above 0 and below 1, got {self.delta!r}.")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"Expected {name} to be a whole number of at least 1, got {value!r}.")
        for name, known in (
            ("engine", get_args(Engine)),
            ("mode", get_args(Mode)),
            ("batch_norm", ("replace", "refuse")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"Expected {name} to be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        check_schedule(self.schedule, self.decay)
        if self.epsilon is not None and self.epsilon > LARGEST:
            raise ConfigError(
                f"An epsilon of {self.epsilon:g} bounds no attack that matters.",
                hint="Give noise_multiplier and heuristic = true: the epsilon is then reported, and not promised.",
            )
        if self.heuristic:
            # What is said of this one object: its ε is true and protects from nothing, so it stands by attacks alone.
            object.__setattr__(self, "guarantee", "G4")
            if self.noise_multiplier is None:
                raise ConfigError("A heuristic training needs a noise_multiplier.", hint="Its epsilon is reported.")

    def wrap(self, recipe: Recipe, reserve: IntArray) -> PrivateRecipe:  # noqa: ARG002
        """Return the recipe trained privately; raises ConfigError for one that is not a `TorchRecipe`."""
        from vestige.defend.private.dp_recipe import PrivateRecipe

        return PrivateRecipe(inner=self._changed(recipe), defence=self)

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim | None:
        """Return the (ε, δ) of the weights for so many members, with the ledger that it follows from.

        Raises ConfigError where ε is too large to mean anything, unless ``heuristic`` says that this is known.
        """
        changed = self._changed(recipe)
        terms = self.terms(changed.epochs, changed.batch_size, members)
        account = terms.account
        epsilon = self.epsilon if self.epsilon is not None else account.epsilon(terms.delta)
        if epsilon > LARGEST and not self.heuristic:
            raise ConfigError(
                f"A noise_multiplier of {terms.noise:g} proves ε = {epsilon:.3g} at δ = {terms.delta:g}, which bounds "
                "no attack that matters.",
                hint="Raise it, give epsilon instead, or set heuristic = true.",
            )
        return PrivacyClaim(
            epsilon=float(epsilon),
            delta=terms.delta,
            guarantee="G4" if self.heuristic else "G1",
            unit="record",
            adjacency="add_remove",
            mechanism="subsampled_gaussian" if terms.rate < 1 else "gaussian",
            accountant=account.method,
            ledger=entries(terms.event),
            assumptions=self._assumed(terms),
            excludes=_excluded(changed),
        )

    def terms(self, epochs: int, batch_size: int, members: int) -> Terms:
        """Return rate, steps and noise for so many members."""
        return Terms.of(
            members=members,
            batch_size=batch_size,
            factors=factors(self.schedule, self.decay, epochs),
            delta=self.delta,
            epsilon=self.epsilon,
            noise=self.noise_multiplier,
        )

    def clip(self, random: Randomness, terms: Terms) -> Clip:
        """Return one model's clipping norm."""
        raise NotImplementedError

    def _changed(self, recipe: Recipe) -> TorchRecipe:
        if not isinstance(recipe, TorchRecipe):
            raise ConfigError(
                f"Private training works for torch recipes, and this one is a {type(recipe).__name__}.",
                hint="Set [recipe] kind = 'torch'; defences that train by a loop of their own cannot stand before it.",
            )
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(recipe, **changed) if changed else recipe

    def _assumed(self, terms: Terms) -> tuple[str, ...]:
        noise = (
            "noise and samples come from a pseudo-random generator that the operating system seeded"
            if self.release
            else "noise is reproducible from the seed: not a release"
        )
        replaced = ("batch normalisation, where the module has it, is replaced by group normalisation",)
        return (
            f"the number of records, to two digits ({terms.count}), is public",
            "every batch is a Poisson sample, and every step is taken, also with an empty one",
            noise,
            "normal numbers are floats of single precision",
            *(replaced if self.batch_norm == "replace" else ()),
        )


@dataclass(frozen=True, kw_only=True)
class DPSGD(PrivateTraining):
    """Trains with Poisson-sampled batches, every record's gradient cut to a norm, and Gaussian noise on their sum.

    The released weights are (``epsilon``, ``delta``)-differentially private for adding or removing one record, whatever
    an attacker sees of them; what is chosen by looking at the records, as learning rates are by tuning, is not covered.

    ``epsilon``: the budget, from which the noise follows (4 when neither is given), or ``noise_multiplier``: the noise
    as a multiple of the norm, from which ε follows. ``delta``: by default a tenth of one over the number of records, at
    most 1e-5. ``max_grad_norm``: the longest gradient of a record, over all parameters together. ``epochs``,
    ``batch_size`` (the expected one, and the divisor) and ``lr``: in place of the recipe's; its optimiser stays.
    ``schedule`` of the noise: constant, linear, exponential or step, from the multiplier to ``decay`` times it.
    ``batch_norm``: replace it by group normalisation, or refuse. ``engine``: batched trains many models at once, opacus
    one by one with its ``mode`` (hooks, functorch, ghost), auto the first that can. ``heuristic``: little noise, whose
    ε means nothing and is reported without being promised. ``release``: draw noise and samples from the operating
    system, for a model that is given away; audits need ones that they can repeat. Needs a torch recipe.

    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar & Zhang 2016, "Deep Learning with Differential Privacy", CCS,
    algorithm 1.
    """

    paper: ClassVar[str] = "Abadi et al. 2016"

    def clip(self, random: Randomness, terms: Terms) -> Clip:  # noqa: ARG002
        """Return the fixed norm."""
        from vestige.defend.private.clipping import Fixed

        return Fixed(self.max_grad_norm)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _excluded(recipe: TorchRecipe) -> tuple[str, ...]:
    found = ["hyper-parameter selection"]
    if recipe.normalize != "none":
        found.append("the scales of the features, where they were fitted to all records (normalize)")
    return tuple(found)
