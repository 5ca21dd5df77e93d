"""One privacy budget for all uses of a data set: a file that remembers what was spent, whoever spent it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from vestige.defend.private import budget_file
from vestige.defend.private.budget_file import Line
from vestige.defend.private.budget_rules import Accounting, Rule, rule_of
from vestige.defend.private.ledger import Entry, composed, entries
from vestige.errors import ConfigError, DataError, StoreError, UsageError
from vestige.privacy_claim import FORMAL, Adjacency, PrivacyClaim

VERSION = 1
TOLERANCE = 1e-9
State = Literal["reserved", "committed", "released"]


class BudgetSpent(UsageError):
    """A use would take more than is left, and was refused."""


@dataclass(frozen=True)
class Use:
    """One use of the data: what it is for, of which tier and for whom, and the ledger of what it releases."""

    id: str
    state: State
    purpose: str
    tier: str
    requester: str
    ledger: tuple[Entry, ...]


@dataclass(frozen=True)
class Reservation:
    """A part of a budget that is set aside for one use, and spent unless it is released."""

    budget: PrivacyBudget
    id: str

    def commit(self) -> None:
        """Say that the use took place."""
        self.budget._end(self.id, "committed")

    def release(self, *, nothing_seen: bool) -> None:
        """Give the part back; raises UsageError unless nobody saw anything of what the use computed."""
        if not nothing_seen:
            raise UsageError(
                "A use of which something was seen is spent.", hint="Commit it; only what nobody saw can be given back."
            )
        self.budget._end(self.id, "released")


@dataclass(frozen=True, kw_only=True)
class PrivacyBudget:
    """An (ε, δ) for everything that is ever released about one data set, kept in a file that only grows.

    A use first reserves what it costs, then takes place, then commits. What is reserved counts as spent, so that a
    process that dies in between costs its part and no more. Several processes may share the file.

    ``path``: the file, made when there is none; one that has other terms is refused. ``dataset``: its name or
    fingerprint; ``unit``: whom the budget protects; ``adjacency``: what neighbouring data sets are. ``shares``: the
    largest share of the budget for each tier of uses, such as {"training": 0.7, "monitoring": 0.3}. ``accounting``:
    filter lets uses be chosen by what earlier ones showed, and counts at one Rényi order, chosen from ε and δ; planned
    counts closer, by privacy loss distributions, for uses that no earlier answer decided. What is asked of the data to
    decide on a use must be in the budget too. Whoever can write to the file can change it.

    Feldman & Zrnic 2021, "Individual Privacy Accounting via a Rényi Filter", NeurIPS.
    """

    path: Path
    epsilon: float
    delta: float
    dataset: str
    unit: str = "record"
    adjacency: Adjacency = "add_remove"
    shares: Mapping[str, float] = field(default_factory=dict)
    accounting: Accounting = "filter"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if not 0 < self.epsilon < float("inf"):
            raise ConfigError(f"Expected epsilon to be a number above 0, got {self.epsilon!r}.")
        if not 0 < self.delta < 1:
            raise ConfigError(f"Expected delta to be above 0 and below 1, got {self.delta!r}.")
        for name, known in (("adjacency", get_args(Adjacency)), ("accounting", get_args(Accounting))):
            if getattr(self, name) not in known:
                raise ConfigError(f"Expected {name} to be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        if not self.dataset or not self.unit:
            raise ConfigError("Expected a budget to say which data set and which unit it protects.")
        if self.shares and self.accounting == "planned":
            raise ConfigError("Shares add up at a Rényi order, which planned accounting has not.", hint="Remove one.")
        if not all(0 < share <= 1 for share in self.shares.values()) or sum(self.shares.values()) > 1 + TOLERANCE:
            raise ConfigError("Expected shares to be above 0, and 1 at most together.")
        self._rule  # noqa: B018  it raises where nothing can be spent
        budget_file.create(self.path, self._terms())
        found = budget_file.read(self.path)[0]
        if found != {**self._terms(), budget_file.SEAL: found[budget_file.SEAL]}:
            raise ConfigError(
                f"'{self.path}' is a budget with other terms.",
                hint="A budget cannot be changed; open it with the terms it was made with, or name another file.",
            )

    @classmethod
    def open(cls, path: str | Path) -> PrivacyBudget:
        """Return the budget that a file holds; raises StoreError where there is none."""
        lines = budget_file.read(Path(path))
        first = lines[0] if lines else {}
        if first.get("format") != "vestige.budget" or first.get("version") != VERSION:
            raise StoreError(f"'{path}' is not a privacy budget of this version.")
        skipped = ("format", "version", "op", budget_file.SEAL)
        return cls(path=Path(path), **{key: value for key, value in first.items() if key not in skipped})

    def reserve(self, use: PrivacyClaim | Any, *, purpose: str, tier: str = "", requester: str = "") -> Reservation:
        """Set aside what a use costs: a `PrivacyClaim`, or an event of dp_accounting.

        ``purpose``, ``tier``, ``requester``: public facts that are kept with it. Raises BudgetSpent where too little is
        left, of the whole or of the tier, and DataError for a claim about something else.
        """
        ledger = self._ledger(use)
        if (tier not in self.shares) if self.shares else bool(tier):
            known = ", ".join(self.shares) or "none"
            raise UsageError(f"Expected tier to be one of the budget's ({known}), got {tier!r}.")
        line: Line = {
            "op": "reserve",
            "id": secrets.token_hex(8),
            "purpose": purpose,
            "tier": tier,
            "requester": requester,
            "ledger": list(ledger),
        }

        def decide(lines: list[Line]) -> Line:
            before = [one for one in _uses(lines) if one.state != "released"]
            self._admit(before, ledger, "")
            if tier:
                self._admit([one for one in before if one.tier == tier], ledger, tier)
            return line

        budget_file.append(self.path, decide)
        return Reservation(self, line["id"])

    @contextmanager
    def using(self, use: PrivacyClaim | Any, *, purpose: str, tier: str = "", requester: str = "") -> Iterator[None]:
        """Reserve before the block and commit after it; where it fails the part stays spent, since it may have run."""
        held = self.reserve(use, purpose=purpose, tier=tier, requester=requester)
        yield
        held.commit()

    def uses(self) -> tuple[Use, ...]:
        """Return every use so far, in the order they were reserved."""
        return tuple(_uses(budget_file.read(self.path)))

    def spent(self, tier: str = "") -> float:
        """Return which share of the budget is spent or reserved, by all or by one tier; 1 is all of it."""
        held = [one.ledger for one in self.uses() if one.state != "released" and tier in ("", one.tier)]
        return self._rule.share(held)

    def claim(self) -> PrivacyClaim:
        """Return what holds for all uses together, those to come included, with the ledger of those so far."""
        held = [one for one in self.uses() if one.state != "released"]
        chosen = {"filter": "uses may be chosen by what earlier ones showed", "planned": "all uses were planned"}
        return PrivacyClaim(
            epsilon=self.epsilon,
            delta=self.delta,
            guarantee="G1",
            unit=self.unit,
            adjacency=self.adjacency,
            accountant=self._rule.method,
            ledger=tuple(one for use in held for one in use.ledger),
            assumptions=(chosen[self.accounting], f"everything released about {self.dataset} is in the budget"),
            excludes=(),
        )

    @property
    def _rule(self) -> Rule:
        return rule_of(self.accounting, self.epsilon, self.delta, self.adjacency)

    def _terms(self) -> Line:
        return {
            "format": "vestige.budget",
            "version": VERSION,
            "op": "open",
            "epsilon": float(self.epsilon),
            "delta": float(self.delta),
            "dataset": self.dataset,
            "unit": self.unit,
            "adjacency": self.adjacency,
            "shares": {tier: float(share) for tier, share in self.shares.items()},
            "accounting": self.accounting,
        }

    def _admit(self, before: list[Use], ledger: tuple[Entry, ...], tier: str) -> None:
        most = self.shares[tier] if tier else 1.0
        spent, after = (self._rule.share(held) for held in _grown(before, ledger))
        if not after <= most * (1 + TOLERANCE):
            whose = f" for the tier '{tier}'" if tier else ""
            raise BudgetSpent(
                f"This use takes {after - spent:.1%} of the budget for {self.dataset}, and "
                f"{max(0.0, most - spent):.1%} is left{whose}.",
                hint="Ask for less: more noise, fewer steps, fewer answers.",
            )

    def _ledger(self, use: PrivacyClaim | Any) -> tuple[Entry, ...]:
        if not isinstance(use, PrivacyClaim):
            return entries(use)
        if use.guarantee not in FORMAL or not use.ledger:
            raise DataError("Only a formal claim with a ledger can be paid from a budget.", hint="Give its event.")
        for name in ("adjacency", "unit"):
            own, given = getattr(self, name), getattr(use, name)
            if own != given:
                raise DataError(f"This budget's {name} is '{own}', and the claim's is '{given}'.")
        composed(use.ledger)
        return use.ledger

    def _end(self, use: str, state: State) -> None:
        def decide(lines: list[Line]) -> Line:
            found = {one.id: one.state for one in _uses(lines)}
            if found.get(use) != "reserved":
                raise UsageError(f"This use is {found.get(use, 'not in the budget')} already, and cannot be {state}.")
            return {"op": state, "id": use}

        budget_file.append(self.path, decide)


def _grown(before: list[Use], ledger: tuple[Entry, ...]) -> list[list[tuple[Entry, ...]]]:
    held = [one.ledger for one in before]
    return [held, [*held, ledger]]


def _uses(lines: list[Line]) -> list[Use]:
    ends = {line["id"]: line["op"] for line in lines if line["op"] in ("committed", "released")}
    return [
        Use(
            id=line["id"],
            state=ends.get(line["id"], "reserved"),
            purpose=line["purpose"],
            tier=line["tier"],
            requester=line["requester"],
            ledger=tuple(line["ledger"]),
        )
        for line in lines
        if line["op"] == "reserve"
    ]
