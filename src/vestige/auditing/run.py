"""Audit: plan it, run it, or run it again; whatever was finished before is taken from the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vestige.attacks import resolve, unfit
from vestige.attacks.base import Attack
from vestige.auditing.attempting import attack_all
from vestige.auditing.claims import chosen, declared
from vestige.auditing.defending import NOBODY, adapting, claimed, in_front, set_aside, under
from vestige.auditing.doubts import early_checks
from vestige.auditing.drawing import check_targets, draw_split, draw_target
from vestige.auditing.gathering import ask_target, gather_away, gather_pool, train_target
from vestige.auditing.inputs import Fetching, Inputs, from_config, member_column
from vestige.auditing.knowledge import guess_of, halves, other_records, relaxed, shadow_recipe
from vestige.auditing.plan import Plan
from vestige.auditing.planning import planned
from vestige.auditing.probes import wanted
from vestige.auditing.results import Outcome, write_log
from vestige.auditing.updates import check_updates, updated
from vestige.config import AuditConfig
from vestige.defend.layers import Layers
from vestige.errors import UsageError
from vestige.executors.threads import one_thread
from vestige.log import AuditLog
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.shadow import Demand
from vestige.signals.answers import resolution_of
from vestige.signals.queries import variants_of
from vestige.split import Split
from vestige.store import Store
from vestige.target import Access, CountingTarget, IntArray, Recipe

DEFAULT_SHADOWS = {"quick": 10}
USUAL_SHADOWS = 64
RESOLUTION_RECORDS = 4096


class _NoRecipe:
    """Stands in when no shadow model is wanted, so nothing is ever trained."""

    def fingerprint(self) -> str:
        return "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """One audit: its inputs, its configuration and the store that keeps what is dear.

    ``also``: sets of signals that other audits of the same models will want, measured while the models are at hand.
    """

    inputs: Inputs
    config: AuditConfig
    store: Store
    also: tuple[tuple[str, ...], ...] = ()
    attacks: tuple[tuple[str, Attack], ...] = field(init=False)
    elsewhere: Records | None = field(init=False, default=None)
    counting: CountingTarget | None = field(init=False, default=None)
    reserve: IntArray = field(init=False, default_factory=lambda: NOBODY)

    def __post_init__(self) -> None:
        shadow = self.config.shadow
        if shadow.data == "disjoint":
            home, away = halves(self.inputs, self.config.seed)
            object.__setattr__(self, "inputs", home)
            object.__setattr__(self, "elsewhere", away)
        elif shadow.data not in ("same", self.config.data.source):
            object.__setattr__(
                self,
                "elsewhere",
                other_records(shadow, self.config.data, self.config.seed, member=member_column(self.config)),
            )
        records = self.inputs.records
        if self.blind and not records.classes:
            raise UsageError(
                '[audit] labels = "predicted" needs classes: no number is off from itself.',
                hint='Leave labels at "true" for a regression.',
            )
        guess_of(shadow, self.config.seed)
        self._defend()
        object.__setattr__(
            self,
            "attacks",
            tuple(
                resolve(
                    adapting(self.config, self.faced, records.task, self.access),
                    task=records.task,
                    access=self.access,
                    budget=self.config.audit.budget,
                    updated=updated(self.inputs),
                )
            ),
        )
        if records.prior is not None and not any(attack.needs.prior for _, attack in self.attacks):
            raise UsageError(
                "A prior of membership is given, and no attack adds it to what it finds.",
                hint="Run { name = 'ensemble', params = { prior = true } }, or leave the prior out.",
            )
        check_updates(self.attacks, self.inputs, self.shadows)
        if self.shadows and self.inputs.recipe is None:
            raise UsageError(
                "Shadow models need a recipe: how models like the target are trained.",
                hint="Pass recipe=…, or choose attacks without shadow models and shadow=0.",
            )
        if self.config.audit.targets > 1 and (self.inputs.target is not None or self.mixed):
            raise UsageError(
                "[audit] targets above 1 needs a target that is trained here by the shadow models' own recipe and "
                "data: other models would take its place, and the figures would be theirs.",
                hint="Leave targets at 1.",
            )
        if self.inputs.target is None and self.inputs.recipe is None:
            raise UsageError("An audit needs a trained model, or a recipe to train one.")
        if self.config.claim is not None:
            declared(self.config.claim)
            chosen([label for label, _ in self.attacks], self.config.claim.attack)

    def _defend(self) -> None:
        """Put the defences in front of a given target, find the defender's own records, and adopt what is proven."""
        layers, given, asked = self.inputs.defences, self.inputs.target, self.config
        if layers:
            for _ in range(2):  # a claim makes the target's draw one by coins, and what is proven hangs on its size
                members = int(draw_target(self.config, self.inputs).masks[0].sum())
                config = claimed(asked, self.faced, self.inputs.recipe, members)
                object.__setattr__(self, "config", config)
            split, reserve = set_aside(draw_target(self.config, self.inputs), layers)
            object.__setattr__(self, "reserve", reserve)
            given = in_front(self.inputs, split, self.faced, reserve, self.config.seed)
        if given is not None:
            object.__setattr__(self, "counting", CountingTarget(given))

    @classmethod
    def from_config(cls, config: AuditConfig, *, fetching: Fetching | None = None) -> Audit:
        """Load the data, the model and the recipe that a config names."""
        store = Store.default(config.store)
        return cls(inputs=from_config(config, fetching=fetching), config=config, store=store)

    @property
    def access(self) -> Access:
        """What the adversary sees: as configured, and no more than the target shows."""
        asked = self.inputs.defences.shows(Access.parse(self.config.audit.access))
        return asked if self.counting is None else min(asked, self.counting.access)

    @property
    def faced(self) -> Layers:
        """The defences that the adversary faces."""
        return self.inputs.defences.facing(Access.parse(self.config.audit.access))

    @property
    def blind(self) -> bool:
        """Whether the adversary lacks the true labels."""
        return self.config.audit.labels == "predicted"

    @property
    def shadows(self) -> int:
        """How many shadow models: as asked, or what the attacks need."""
        asked = self.config.shadow.count
        if asked is not None:
            return asked
        if all(attack.needs.side == "none" for _, attack in self.attacks):
            return 0
        named = self.config.audit.attacks
        return DEFAULT_SHADOWS.get(named, USUAL_SHADOWS) if isinstance(named, str) else USUAL_SHADOWS

    def split(self) -> Split:
        """Draw who trains on what."""
        drawn = draw_split(self.config, self.inputs, 0 if self.elsewhere is not None else self.shadows)
        split, _ = set_aside(drawn, self.inputs.defences)
        needs = {label: attack.needs.shadows for label, attack in self.attacks if attack.needs.side != "none"}
        check_targets(split, self.config.audit.targets, needs)
        return split

    def demand(self, split: Split) -> Demand:
        """Say which signals are wanted on which records."""
        first = self.inputs.records.rows_of(split.audited[:1])
        # A query that the records cannot take is found here, and not after a model has been trained.
        list(variants_of(first, self.config.audit.queries, seed=0, start=0))
        return Demand(
            keys=self._keys(),
            rows=np.concatenate([split.audited, split.population]),
            queries=tuple(self.config.audit.queries),
            seed=self.config.seed,
            label_only=self.access == Access.LABEL,
            resolution=self._resolution(split),
            blind=self.blind,
            also=self.also,
        )

    def _resolution(self, split: Split) -> float | None:
        """Return what an exact zero stands for in a given target's answers, so that its shadow models are read
        alike.
        """
        target = self.counting
        if target is None or self.access == Access.LABEL:
            return None
        rows = split.audited[:RESOLUTION_RECORDS]
        return resolution_of(target.query(self.inputs.records.rows_of(rows), Access.SCORE))

    def _keys(self) -> tuple[str, ...]:
        task = self.inputs.records.task
        able = [attack for _, attack in self.attacks if not unfit(attack, task=task, access=self.access)]
        keys = dict.fromkeys(key for attack in able for key in attack.needs.signals)
        dear = set(wanted(able))
        return tuple(key for key in keys if key not in dear)

    def plan(self) -> Plan:
        """Say what a run would train, query, take and keep; trains a few models a little to find out."""
        return planned(self)

    def run(self, progress: Progress | None = None, *, meanwhile: Callable[[], None] | None = None) -> AuditLog:
        """Run every stage and return the log; a stage that is interrupted leaves a log that says so.

        ``meanwhile`` is called while models are trained, when there are any to train.
        """
        return write_log(self.outcome(progress, meanwhile=meanwhile))

    def outcome(self, progress: Progress | None = None, *, meanwhile: Callable[[], None] | None = None) -> Outcome:
        """Run every stage and return what they found, which `run` writes down."""
        progress = progress or Silence()
        started = time.perf_counter()
        split = self.split()
        demand = self.demand(split)
        outcome = Outcome(audit=self, split=split, demand=demand, started=started)

        def while_training() -> None:
            if meanwhile is not None:
                meanwhile()
            with one_thread():
                outcome.early = early_checks(outcome)

        try:
            outcome.given, outcome.target_seconds = ask_target(self, demand, progress)
            if outcome.given is None and self.mixed:
                outcome.given = train_target(self, split, demand, progress)
            recipe = self.shadow_recipe()
            outcome.pool = gather_pool(self, split, recipe, demand, outcome.given, progress, while_training)
            if self.learns_elsewhere and self.elsewhere is not None:
                outcome.elsewhere = gather_away(self, outcome, self.elsewhere, progress)
            attack_all(self, outcome, progress)
        except KeyboardInterrupt:
            outcome.interrupted = True
        return outcome

    @property
    def mixed(self) -> bool:
        """Whether shadow models follow another recipe than a target that is trained here."""
        unaware = bool(self.inputs.defences) and self.config.shadow.defences == "unknown"
        return unaware or relaxed(self.config.shadow, self.config.data)

    @property
    def learns_elsewhere(self) -> bool:
        """Whether attacks learn from shadow models of other records."""
        return self.elsewhere is not None and any(attack.needs.side != "none" for _, attack in self.attacks)

    def target_recipe(self) -> Recipe:
        """How a target is trained here: under the defences that the adversary faces."""
        found = under(self.inputs.recipe, self.faced, self.reserve)
        return found or _NoRecipe()  # type: ignore[return-value]

    def shadow_recipe(self) -> Recipe:
        """How shadow models are trained, as far as the adversary knows."""
        config = self.config
        found = shadow_recipe(config.shadow, self.inputs.recipe, config.recipe, config.seed)
        if config.shadow.defences == "known":
            found = under(found, self.faced, self.reserve)
        return found or _NoRecipe()  # type: ignore[return-value]
