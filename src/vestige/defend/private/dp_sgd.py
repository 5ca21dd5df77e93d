"""DP-SGD as a defence: `dp_sgd` with a fixed clipping norm, `adaptive_clipping` with one that follows the gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vestige.defend.private.accounting import LARGEST
from vestige.defend.private.ledger import entries
from vestige.defend.private.loop import PrivateLoop, excluded, number
from vestige.defend.private.schedules import Schedule, check_schedule, factors
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError
from vestige.privacy_claim import PrivacyClaim
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Clip, Part
    from vestige.defend.private.randomness import Randomness
    from vestige.records import Records

USUAL_EPSILON = 4.0


@dataclass(frozen=True, kw_only=True)
class PrivateTraining(PrivateLoop):
    """What private trainings have in common that treat all records alike: a budget or a noise, and a schedule."""

    epsilon: float | None = None
    noise_multiplier: float | None = None
    schedule: Schedule = "constant"
    decay: float = 0.5
    heuristic: bool = False

    def __post_init__(self) -> None:
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise ConfigError("Expected epsilon or noise_multiplier, got both.", hint="One follows from the other.")
        if self.epsilon is None and self.noise_multiplier is None:
            object.__setattr__(self, "epsilon", USUAL_EPSILON)
        super().__post_init__()
        for name in ("epsilon", "noise_multiplier"):
            value = getattr(self, name)
            if value is not None and not (number(value) and value > 0):
                raise ConfigError(f"Expected {name} to be a number above 0, got {value!r}.")
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
            accountant=terms.accountant,
            ledger=entries(terms.event),
            assumptions=self._assumed(terms),
            excludes=excluded(changed),
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

    def part(self, random: Randomness, terms: Terms, records: Records, rows: IntArray) -> Part:  # noqa: ARG002
        """Return the same rate and clipping norm for all records."""
        from vestige.defend.private.clipping import Part

        return Part(terms.rate, self.clip(random, terms))

    def clip(self, random: Randomness, terms: Terms) -> Clip:
        """Return one model's clipping norm."""
        raise NotImplementedError


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

    Ghost clipping never holds a record's gradient and takes its norm from sums of products in single precision. Where
    the parts of a gradient cancel (positions of a sequence, patches of an image) the norm's square can come out too
    small by about 1e-7 of the square of the parts' sizes: a tenth too short a norm where four thousand parts leave one.
    Such a record is cut too little and moves the sum by more than ``max_grad_norm``, which is what the claim counts on;
    it says so among its assumptions. The batched engine takes such norms in double precision and adds what rounding may
    hide; hooks and functorch add up the gradient itself.

    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar & Zhang 2016, "Deep Learning with Differential Privacy", CCS,
    algorithm 1.
    """

    paper: ClassVar[str] = "Abadi et al. 2016"

    def clip(self, random: Randomness, terms: Terms) -> Clip:  # noqa: ARG002
        """Return the fixed norm."""
        from vestige.defend.private.clipping import Fixed

        return Fixed(self.max_grad_norm)
