"""DP-SGD with a budget for each group of records: `idp_sgd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np
import torch

from vestige.defend.private.accounting import LARGEST
from vestige.defend.private.group_terms import GroupTerms, Method
from vestige.defend.private.ledger import BY_GROUP, entry
from vestige.defend.private.loop import PrivateLoop, excluded, number
from vestige.defend.private.record_groups import Groups, Value, check_groups, group_numbers
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError
from vestige.privacy_claim import PrivacyClaim
from vestige.target import IntArray, Recipe

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Part
    from vestige.defend.private.randomness import Randomness
    from vestige.records import Records


@dataclass(frozen=True, kw_only=True)
class IDPSGD(PrivateLoop):
    """DP-SGD in which each group of records has a privacy budget of its own, and those who allow more teach more.

    The released weights are (ε, ``delta``)-differentially private for adding or removing one record, with the ε of the
    record's group; what is claimed of all is the largest. A group must be public, fixed before the training, and no
    consequence of what is sensitive in a record: how well a record is protected tells which group it is of.

    ``epsilons``: each group's budget. ``shares``: about how many of the records each group has, which decides the
    sizes of batches and no budget. ``method``: sample takes records of larger budgets into batches more often; scale
    takes all equally often and cuts the gradients of smaller budgets shorter. ``groups``: id draws each record's group
    from its id by the shares; column:NAME takes a feature, by its name or number; or a list with a group number for
    each record of the data. ``values``: what the groups are called in that column, in the order
    of their budgets; omitted: 0, 1, …. ``max_grad_norm``: the norm, or its average where it differs. Everything else as
    for `dp_sgd`. Needs a torch recipe.

    Boenisch, Mühl, Dziedzic, Rinberg & Papernot 2023, "Have it your way: Individualized Privacy Assignment for DP-SGD",
    NeurIPS, with privacy loss distributions in the place of Rényi bounds.
    """

    paper: ClassVar[str] = "Boenisch et al. 2023"

    epsilons: tuple[float, ...] = (1.0, 2.0, 3.0)
    shares: tuple[float, ...] = (0.54, 0.37, 0.09)
    method: Method = "sample"
    groups: Groups = "id"
    values: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epsilons", "shares", "values", *(() if isinstance(self.groups, str) else ("groups",))):
            given = getattr(self, name)
            if not isinstance(given, list | tuple | np.ndarray):
                raise ConfigError(f"Expected {name} to be a list, got {given!r}.")
            object.__setattr__(self, name, tuple(np.asarray(given).tolist() if len(given) else ()))
        for name in ("epsilons", "shares"):
            if not getattr(self, name) or not all(number(one) and one > 0 for one in getattr(self, name)):
                raise ConfigError(f"Expected {name} to list numbers above 0, got {getattr(self, name)!r}.")
        if len(self.epsilons) != len(self.shares):
            raise ConfigError(
                f"Expected a share for each of {len(self.epsilons)} budgets, got {len(self.shares)} of them."
            )
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"Expected shares to add up to 1, got {sum(self.shares):g}.")
        if max(self.epsilons) > LARGEST:
            raise ConfigError(f"An epsilon of {max(self.epsilons):g} bounds no attack that matters.")
        if self.method not in get_args(Method):
            raise ConfigError(f"Expected method to be one of {', '.join(get_args(Method))}, got {self.method!r}.")
        check_groups(self.groups, self.values, self.shares)

    def terms(self, epochs: int, batch_size: int, members: int) -> GroupTerms:
        """Return each group's rate and norm, and the noise, for so many members."""
        plain = Terms.of(
            members=members, batch_size=batch_size, factors=(1.0,) * epochs, delta=self.delta, epsilon=None, noise=0.0
        )
        return GroupTerms.between(plain, self.method, self.epsilons, self.shares)

    def part(self, random: Randomness, terms: Terms, records: Records, rows: IntArray) -> Part:  # noqa: ARG002
        """Return each record's rate and norm; raises DataError for records without a group."""
        from vestige.defend.private.clipping import ByRecord, Fixed, Part

        assert isinstance(terms, GroupTerms)
        numbers = torch.from_numpy(group_numbers(records, self.groups, self.values, self.shares))
        norms = [self.max_grad_norm * length for length in terms.lengths]
        rates = torch.tensor(terms.rates, dtype=torch.float64)[numbers][torch.as_tensor(rows, dtype=torch.int64)]
        if self.method == "sample":
            return Part(rates, Fixed(self.max_grad_norm))
        return Part(terms.rate, ByRecord(max(norms), torch.tensor(norms)[numbers]))

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim:
        """Return the largest group's (ε, δ), which holds for all, with every group's own ε and event in the ledger."""
        changed = self._changed(recipe)
        terms = self.terms(changed.epochs, changed.batch_size, members)
        ledger = [
            {"epsilon": epsilon, "share": share, "spent": account.epsilon(terms.delta), "event": entry(event)}
            for epsilon, share, account, event in zip(
                self.epsilons, self.shares, terms.accounts, terms.events, strict=True
            )
        ]
        listed = ", ".join(f"{epsilon:g}" for epsilon in self.epsilons)
        return PrivacyClaim(
            epsilon=float(max(self.epsilons)),
            delta=terms.delta,
            guarantee="G1",
            unit="record",
            adjacency="add_remove",
            mechanism="subsampled_gaussian" if terms.rate < 1 else "gaussian",
            accountant=terms.accountant,
            ledger=({"kind": BY_GROUP, "groups": ledger},),
            assumptions=(
                f"a record's ε is that of its group ({listed}); the claim states the largest",
                "groups are public, were fixed before the training, and follow from nothing sensitive",
                *self._assumed(terms),
            ),
            excludes=excluded(changed),
        )
