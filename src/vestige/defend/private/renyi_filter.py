"""DP-SGD in which each record pays for the gradients that it really has: `renyi_filter`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.defend.private.accounting import LARGEST
from vestige.defend.private.dp_sgd import USUAL_EPSILON
from vestige.defend.private.filter_terms import LEAST, FilterTerms, Prices, allowed_steps, filter_noise
from vestige.defend.private.ledger import entries
from vestige.defend.private.loop import PrivateLoop, excluded, number
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError
from vestige.privacy_claim import PrivacyClaim
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Part
    from vestige.defend.private.randomness import Randomness
    from vestige.records import Records

ONLY_RENYI = (
    "Rényi bounds alone are known to add up where sampled steps were chosen on the way, so neither privacy loss "
    "distributions nor a PRV accountant second the claim: two computations of those bounds do"
)
ROUNDING = 1e-5
"""By which share a norm may have come out too short."""
Sampling = Literal["none", "poisson"]


@dataclass(eq=False)
class Spending:
    """One model's clip that keeps each record's account: whoever would overdraw it is left out from then on.

    It must see the norms of all records, in the same order, before every step. ``coins(n)`` says which of n records are
    in the batch: what a step costs does not depend on it, since whoever counts on chance must not know how it fell.
    """

    norm: float
    prices: Prices
    budget: NDArray[np.float64]
    coins: Callable[[int], torch.Tensor] | None = None
    spent: NDArray[np.float64] = field(init=False)
    active: NDArray[np.bool_] = field(init=False)
    begun: bool = field(default=False, init=False)

    def spread(self, noise: float) -> float:
        """Return the multiplier times the norm."""
        return noise * self.norm

    def limits(self, rows: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        """Charge each record for this step, and return the norm for those that can pay and are in the batch."""
        if not self.begun:
            self.spent, self.active = np.zeros((len(rows), len(self.budget))), np.ones(len(rows), bool)
            self.begun = True
        lengths = np.clip(norms.double().cpu().numpy() * (1 + ROUNDING) / self.norm, LEAST, 1.0)
        after = self.spent + self.prices.of(np.square(lengths))
        self.active &= (after <= self.budget).all(1)
        self.spent = np.where(self.active[:, None], after, self.spent)
        used = torch.from_numpy(self.active)
        if self.coins is not None:
            used = used & self.coins(len(rows))
        return used.to(norms) * self.norm

    def observe(self, norms: torch.Tensor, divisor: float) -> None:
        """Learn nothing more."""


@dataclass(frozen=True, kw_only=True)
class RenyiFilter(PrivateLoop):
    """DP-SGD that charges each record for the gradients it really has, and leaves it out once its budget is spent.

    The released weights are (``epsilon``, ``delta``)-differentially private for adding or removing one record. A
    record whose gradients are short pays little and is used for more steps than plain accounting allows; what each
    record spent is private itself, and is neither kept nor released. Every step is taken, also when nobody is left.

    ``epsilon``: every record's budget. ``stretch``: how many times more steps are taken than a record can pay for whose
    gradients are always as long as the norm; the noise is what the fewer steps need, and 1 is plain DP-SGD.
    Once most records have left, steps are noise alone: stretch little, with a norm that most gradients do not reach.
    ``sampling``: none takes all records in every step, one step per epoch; poisson takes batches of ``batch_size``, and
    still computes every record's gradient in every step, since a record pays whether or not it was drawn. Everything
    else as for `dp_sgd`. Needs a torch recipe.

    Feldman & Zrnic 2021, "Individual Privacy Accounting via a Rényi Filter", NeurIPS; without sampling the
    budget is a Gaussian's, as in Koskela, Tobaben & Honkela 2023, "Individual Privacy Accounting with Gaussian
    Differential Privacy", ICLR.
    """

    paper: ClassVar[str] = "Feldman & Zrnic 2021"

    epsilon: float = USUAL_EPSILON
    stretch: float = 1.25
    sampling: Sampling = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (number(self.epsilon) and 0 < self.epsilon <= LARGEST):
            raise ConfigError(f"Expected epsilon to be a number above 0 and at most {LARGEST:g}, got {self.epsilon!r}.")
        if not (number(self.stretch) and self.stretch >= 1):
            raise ConfigError(f"Expected stretch to be a number of at least 1, got {self.stretch!r}.")
        if self.sampling not in get_args(Sampling):
            raise ConfigError(f"Expected sampling to be one of {', '.join(get_args(Sampling))}, got {self.sampling!r}.")
        if self.sampling == "none" and self.batch_size is not None:
            raise ConfigError(
                "Without sampling every step takes all records, and batch_size is given.",
                hint="Set sampling = 'poisson', or remove batch_size.",
            )

    def terms(self, epochs: int, batch_size: int, members: int) -> FilterTerms:
        """Return rate, steps, noise and what a record may spend, for so many members."""
        plain = Terms.of(
            members=members,
            batch_size=batch_size if self.sampling == "poisson" else members + 10 ** len(str(members)),
            factors=(1.0,) * epochs,
            delta=self.delta,
            epsilon=None,
            noise=0.0,
        )
        allowed = allowed_steps(plain.steps * epochs, self.stretch)
        return FilterTerms(
            count=plain.count,
            rate=plain.rate,
            divisor=plain.divisor,
            steps=plain.steps,
            noise=filter_noise(self.epsilon, plain.delta, plain.rate, allowed),
            delta=plain.delta,
            factors=plain.factors,
            allowed=allowed,
        )

    def part(self, random: Randomness, terms: Terms, records: Records, rows: IntArray) -> Part:  # noqa: ARG002
        """Return that every record is looked at in every step, and the accounts that decide who moves the model."""
        from vestige.defend.private.clipping import Part

        assert isinstance(terms, FilterTerms)
        rate, generator = terms.rate, random.generator("filter")

        def coins(count: int) -> torch.Tensor:
            return torch.rand(count, generator=generator, dtype=torch.float64) < rate

        prices = terms.prices
        budget = prices.budget(terms.allowed)
        return Part(1.0, Spending(self.max_grad_norm, prices, budget, coins if rate < 1 else None))

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim:
        """Return the (ε, δ) that no record goes beyond, with the budget that it follows from as the ledger."""
        changed = self._changed(recipe)
        terms = self.terms(changed.epochs, changed.batch_size, members)
        full = terms.rate >= 1
        return PrivacyClaim(
            epsilon=float(self.epsilon),
            delta=terms.delta,
            guarantee="G1",
            unit="record",
            adjacency="add_remove",
            # Of steps that were chosen on the way and sampled, Rényi bounds are known and no Gaussian's curve.
            mechanism="gaussian" if full else "other",
            accountant=f"{terms.accountant}, filtered record by record",
            ledger=entries(terms.event),
            assumptions=(
                f"the ledger is a record's budget: {terms.allowed} steps with the longest gradients",
                f"{terms.steps * changed.epochs} steps are taken, and a record is left out once it could not pay",
                "what each record spent, and who was left out, is private and is not released",
                *(() if full else (ONLY_RENYI,)),
                *self._assumed(terms),
            ),
            excludes=excluded(changed),
        )
