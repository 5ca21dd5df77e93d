"""Ensembles: several attacks' scores as one, joined by a rule that is learnt on shadow models alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from vestige.attacks import ATTACKS, params_of
from vestige.attacks.base import Attack, Evidence, Needs
from vestige.attacks.combining import (
    Floats,
    intersection,
    log_odds,
    mean_rank,
    probit_weights,
    scale_of,
    union,
)
from vestige.attacks.learned import Rows, Rule, calibrated, fit
from vestige.attacks.standing import narrowed, stand_ins, standing, without_block
from vestige.errors import AccessError, AuditError, UsageError
from vestige.records import Task
from vestige.registry import call_of
from vestige.signals.base import key_of
from vestige.target import Access, BoolArray

Joined = Literal["mean_rank", "probit", "stacking", "union", "intersection"]
Stacker = Literal["logistic", "boosting"]
FEWEST = 24
MOST_ROWS = 100_000
HELD_OUT = 4
LEARNT = ("probit", "stacking")


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Several attacks as one: their scores on a common scale, joined by a rule that is learnt on shadow models.

    Score (N,) float64, larger = more likely a member. The adversary needs what the attacks need, and shadow models to
    learn from. ``of``: the attacks, by name, as ``"rmia(temperature=2.0)"`` or as {name, params}. Each one's scores
    become normal scores among the non-members of a few shadow models, which every attack is run on in the target's
    place; then ``rule`` joins them. ``mean_rank``: the log-odds of the mean rank. ``probit``: their sum weighted by
    Σ⁻¹δ, so that attacks that say the same do not count twice. ``stacking``: an attack model on all of them
    (``family``: boosting, or logistic, which is another weighted sum). Both give log-odds of membership at even odds.
    ``union``: some attack exceeds its threshold at α/J; ``intersection``: all J exceed theirs at α. For these two a
    score ≥ 0 is the verdict "member" at a false-positive rate of at most ``alpha``, as long as the shadow non-members
    are J/``alpha`` or more. ``stand_ins``: at most so many shadow models take the target's place; every attack runs
    once more on each, so they are what an ensemble costs. ``prior``: add the log-odds of what the adversary knows from
    elsewhere, ``[data] prior`` (rules probit and stacking). Raises UsageError for unknown attacks, parameters and
    rules, AuditError without shadow models to learn from.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = (
        "Wang et al., Membership inference attacks as privacy tools: reliability, disparity and ensemble, CCS 2025; "
        "Wolpert, Stacked generalization, Neural Networks 1992"
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})
    pools_records: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    of: tuple[str | Mapping[str, Any], ...] = ("loss", "lira", "rmia", "attack_r")
    rule: Joined = "stacking"
    alpha: float = 0.01
    family: Stacker = "boosting"
    stand_ins: int = 4
    prior: bool = False

    def __post_init__(self) -> None:
        given: Any = self.of
        if not isinstance(given, list | tuple) or not given:
            raise UsageError(f"Expected 'of' to be a list of attacks, got {given!r}.")
        object.__setattr__(self, "of", tuple(_named(entry) for entry in self.of))
        if self.rule not in get_args(Joined):
            raise UsageError(f"Expected the rule to be {', '.join(get_args(Joined))}, got '{self.rule}'.")
        if self.family not in get_args(Stacker):
            raise UsageError(f"Expected the family to be {' or '.join(get_args(Stacker))}, got '{self.family}'.")
        if not 0 < self.alpha < 1:
            raise UsageError(f"Expected alpha to lie strictly between 0 and 1, got {self.alpha}.")
        if self.stand_ins < 1:
            raise UsageError(f"Expected at least one stand-in, got {self.stand_ins}.")
        if self.prior and self.rule not in LEARNT:
            raise UsageError(
                f"A prior is added to log-odds of membership, which the rule '{self.rule}' does not give.",
                hint="Choose rule = 'probit' or 'stacking'.",
            )
        # What it may be run on is what all of its attacks may be run on.
        object.__setattr__(self, "access", max(part.access for part in self.parts))
        shared = [getattr(part, "tasks", frozenset({"classification"})) for part in self.parts]
        object.__setattr__(self, "tasks", frozenset.intersection(*shared))

    @cached_property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks, in the order of ``of``."""
        return tuple(ATTACKS.create(*call_of(str(entry))) for entry in self.of)

    def each(self, change: Callable[[str, Attack], Attack]) -> Ensemble:
        """Return this ensemble with every attack changed, given its name; unchanged ones keep how they were written."""
        changed = []
        for entry, part in zip(self.of, self.parts, strict=True):
            name, params = call_of(str(entry))
            now, before = params_of(change(name, part)), params_of(part)
            odd = {key: value for key, value in now.items() if value != before[key]}
            changed.append(key_of(name, params | odd) if odd else entry)
        return self if tuple(changed) == self.of else dataclasses.replace(self, of=tuple(changed))

    @property
    def needs(self) -> Needs:
        """What any of its attacks needs, and shadow models of two blocks more than that, to learn from."""
        needs = [part.needs for part in self.parts]
        return Needs(
            signals=tuple(dict.fromkeys(key for one in needs for key in one.signals)),
            shadows=max(0 if one.side == "none" else one.shadows for one in needs) + 2,
            side="both",
            population=any(one.population for one in needs),
            features=any(one.features for one in needs),
            prior=self.prior,
        )

    @property
    def population_or_references(self) -> bool:
        """Whether every attack that wants held-out records can do with shadow models instead."""
        wanting = [part for part in self.parts if part.needs.population]
        return bool(wanting) and all(getattr(part, "population_or_references", False) for part in wanting)

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        scores, members, own = self._scores(evidence)
        scales = [scale_of(column[~members]) for column in scores.T]
        z, shown = (np.column_stack([f(c) for f, c in zip(scales, s.T, strict=True)]) for s in (own, scores))
        if self.rule == "mean_rank":
            return mean_rank(z)
        if self.rule == "union":
            return union(z, self.alpha)
        if self.rule == "intersection":
            return intersection(z, self.alpha)
        rule = self._probit(shown, members) if self.rule == "probit" else self._stacked(shown, members, evidence.seed)
        odds = np.asarray(rule(z), np.float64)
        if not self.prior:
            return odds
        if evidence.prior is None:
            raise AuditError("The ensemble adds what is known from elsewhere, and the evidence has no prior.")
        return np.asarray(odds + log_odds(np.asarray(evidence.prior, np.float64)), np.float64)

    def queries_taken(self, evidence: Evidence) -> float:
        """Return how many answers a record took where attacks count their own; 0 where none does."""
        counts = [(part, getattr(part, "queries_taken", None)) for part in dict.fromkeys(self.parts)]
        counted = [float(count(narrowed(evidence, part.needs))) for part, count in counts if count is not None]
        return sum(counted) + float(0 < len(counted) < len(counts))

    def _scores(self, evidence: Evidence) -> tuple[Floats, BoolArray, Floats]:
        """Return the stand-ins' scores (S·N, J) with the truth (S·N,), and the target's (N, J).

        The target too is scored without one block of shadow models, because the scale of a score depends on their
        number.
        """
        if evidence.needs.side != "both":
            raise AccessError("An ensemble learns from shadow models, which it did not declare in its needs.")
        for part in self.parts:
            narrowed(evidence, part.needs)  # what it may not read is refused whatever there is to learn from
        models = stand_ins(evidence, self.stand_ins)
        if not models:
            raise AuditError("An ensemble learns from shadow models in the target's place, and there are none.")
        places = [standing(evidence, model) for model in models]
        fewest = min(len(place.masks) for place in places)
        if fewest < self.needs.shadows - 2:
            raise AuditError(
                f"An ensemble of these attacks needs {self.needs.shadows - 2} shadow models beside the one in the "
                f"target's place and the others of its block, and there are {fewest}: train more shadow models."
            )
        scores = np.concatenate([self._each_score(place) for place in places])
        members = np.concatenate([np.asarray(evidence.masks[model], np.bool_) for model in models])
        return scores, members, self._each_score(without_block(evidence, models[-1]))

    def _each_score(self, evidence: Evidence) -> Floats:
        found = {part: part.score(narrowed(evidence, part.needs)) for part in dict.fromkeys(self.parts)}
        return np.column_stack([np.asarray(found[part], np.float64) for part in self.parts])

    def _probit(self, z: Floats, members: BoolArray) -> Rule:
        weights = probit_weights(z[members], z[~members])
        middle = z.mean(axis=0)
        return _at_even_odds(lambda values: (values - middle) @ weights, z, members)

    def _stacked(self, z: Floats, members: BoolArray, seed: int) -> Rule:
        # By value, not by place, so that shuffling the records teaches the same.
        order = np.lexsort((*z.T, members))
        order = order[:: -(-len(order) // MOST_ROWS)]
        z, members = z[order], members[order]
        if min(int(members.sum()), int((~members).sum())) < FEWEST:
            return lambda values: np.asarray(values.mean(axis=1), np.float64)
        rows = Rows(np.asarray(z, np.float64), members, np.zeros(len(members), np.int64))
        held = np.arange(len(rows)) % HELD_OUT == HELD_OUT - 1
        return _at_even_odds(fit(self.family, rows.pick(~held), seed), z[held], members[held])


def _at_even_odds(rule: Rule, z: Floats, members: BoolArray) -> Rule:
    """Return the rule scaled to log-odds of membership, less those that the shares of members alone would give."""
    inside, outside = int(members.sum()), int((~members).sum())
    if min(inside, outside) < FEWEST:
        return rule
    scaled = calibrated(rule, Rows(z, members, np.zeros(len(members), np.int64)))
    base = float(np.log(inside / outside))
    return lambda values: scaled(values) - base


def _named(entry: str | Mapping[str, Any]) -> str:
    """Return an attack as one text, such as ``rmia(temperature=2.0)``; raises UsageError when it names none."""
    if isinstance(entry, Mapping):
        unknown = [key for key in entry if key not in ("name", "params")]
        if "name" not in entry or unknown:
            raise UsageError(f"Expected an attack as a name or as {{name, params}}, got {dict(entry)!r}.")
        entry = key_of(str(entry["name"]), entry.get("params"))
    try:
        name, params = call_of(entry)
    except (ValueError, AttributeError) as error:
        raise UsageError(f"Expected an attack such as lira or rmia(temperature=2.0), got {entry!r}.") from error
    if ATTACKS.get(name) is Ensemble:
        raise UsageError("An ensemble of ensembles says no more than an ensemble of all their attacks.")
    ATTACKS.create(name, params)
    return key_of(name, params)
