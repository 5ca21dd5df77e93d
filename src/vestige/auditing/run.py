"""Audit: plan it, run it, or run it again; whatever was finished before is taken from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vestige.attacks import resolve, unfit
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.claims import chosen, declared
from vestige.auditing.defending import NOBODY, claimed, facing, in_front, set_aside, under
from vestige.auditing.drawing import check_targets, draw_split, draw_target
from vestige.auditing.inputs import Fetching, Inputs, from_config, member_column
from vestige.auditing.knowledge import (
    Elsewhere,
    compares,
    elsewhere_count,
    gather_elsewhere,
    guess_of,
    halves,
    other_records,
    relaxed,
    shadow_recipe,
    unlabelled,
    unlike,
)
from vestige.auditing.latency import times, unheard
from vestige.auditing.plan import Plan, attack_seconds, make_plan, probe
from vestige.auditing.probes import places, wanted, with_probes
from vestige.auditing.protocol import Scores, carry_over, compare, lacking, run, stand_ins
from vestige.auditing.results import Outcome, unrun, write_log
from vestige.auditing.updates import check_updates, updated
from vestige.config import AuditConfig
from vestige.defend.layers import Layers
from vestige.errors import UsageError, VestigeError
from vestige.log import AttackResult, AuditLog
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.shadow import Demand, ShadowPool, Work, gather, look, threads_of
from vestige.signals.answers import resolution_of
from vestige.signals.base import Signals
from vestige.signals.measure import measure
from vestige.signals.predicted import CLASS, as_seen, bare, is_marked
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
                    self.config.audit.attacks,
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
        if self.config.audit.targets > 1 and (self.inputs.target is not None or self._mixed):
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
                config = claimed(asked, layers, self.inputs.recipe, draw_target(self.config, self.inputs))
                object.__setattr__(self, "config", config)
            split, reserve = set_aside(draw_target(self.config, self.inputs), layers)
            object.__setattr__(self, "reserve", reserve)
            given = in_front(self.inputs, split, self._layers, reserve, self.config.seed)
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
    def _layers(self) -> Layers:
        """The defences that the adversary faces."""
        return facing(self.inputs.defences, Access.parse(self.config.audit.access))

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
        split = self.split()
        demand = self.demand(split)
        recipe = self._recipe()
        given = self.inputs.target is not None
        work = self._work(split, demand)
        inline, workers = self.config.shadow.executor == "inline", self.config.shadow.workers
        workers = threads_of(recipe, workers) if inline else workers
        cost = probe(recipe, self.inputs.records, split, demand, workers=workers)
        targets = self.config.audit.targets
        passes = 2 + max(self.config.audit.calibration_targets, targets - 1)
        tools = [attack for _, attack in self.attacks if not unlabelled(attack, blind=self.blind)]
        seen = {bare(k): v for k, v in cost.signals.items() if not self.blind or is_marked(k) or k == CLASS}
        return make_plan(
            name=self.config.name,
            attacks=[label for label, _ in self.attacks],
            split=split,
            demand=demand,
            work=work,
            cost=cost,
            given=given,
            targets=targets,
            elsewhere=elsewhere_count(self.shadows) + 1 if self._learns_elsewhere else 0,
            scoring=attack_seconds(tools, self.inputs.records, split, demand, seen, passes=passes),
            processes=not inline and workers > 1,
            light=bool(getattr(recipe, "threaded", False)),
        )

    def _work(self, split: Split, demand: Demand) -> Work:
        """Return what the store lacks of the target and of the shadow models, each by its own recipe."""
        records, given = self.inputs.records, int(self.inputs.target is not None)
        if not self._mixed:
            return look(split, self._recipe(), records, demand, self.store, first=given)
        alone = Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)
        target = look(alone, self._recipe(), records, demand, self.store, first=given)
        others = look(split, self._shadow_recipe(), records, demand, self.store, first=1)
        return Work(
            models=target.models + others.models,
            artefacts=target.artefacts + others.artefacts,
            missing={**target.missing, **others.missing},
        )

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
        try:
            outcome.given, outcome.target_seconds = self._ask_target(demand, progress)
            if outcome.given is None and self._mixed:
                outcome.given = self._train_target(split, demand, progress)
            outcome.pool = self._gather(split, self._shadow_recipe(), demand, outcome.given, progress, meanwhile)
            if self._learns_elsewhere and self.elsewhere is not None:
                outcome.elsewhere = self._gather_elsewhere(outcome, self.elsewhere, progress)
            self._attack(outcome, progress)
        except KeyboardInterrupt:
            outcome.interrupted = True
        return outcome

    @property
    def _mixed(self) -> bool:
        """Whether shadow models follow another recipe than a target that is trained here."""
        unaware = bool(self.inputs.defences) and self.config.shadow.defences == "unknown"
        return unaware or relaxed(self.config.shadow, self.config.data)

    @property
    def _learns_elsewhere(self) -> bool:
        return self.elsewhere is not None and any(attack.needs.side != "none" for _, attack in self.attacks)

    def _recipe(self) -> Recipe:
        found = under(self.inputs.recipe, self._layers, self.reserve)
        return found or _NoRecipe()  # type: ignore[return-value]

    def _shadow_recipe(self) -> Recipe:
        config = self.config
        found = shadow_recipe(config.shadow, self.inputs.recipe, config.recipe, config.seed)
        if config.shadow.defences == "known":
            found = under(found, self._layers, self.reserve)
        return found or _NoRecipe()  # type: ignore[return-value]

    def _train_target(self, split: Split, demand: Demand, progress: Progress) -> dict[str, Signals]:
        alone = Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)
        table = self._gather(alone, self._recipe(), demand, None, progress).signals
        return {key: table.model(key, 0) for key in table.columns}

    def _gather_elsewhere(self, outcome: Outcome, records: Records, progress: Progress) -> Elsewhere:
        return gather_elsewhere(
            self._field(outcome),
            records,
            self._shadow_recipe(),
            self.config.shadow,
            count=self.shadows,
            demand=outcome.demand,
            store=self.store,
            progress=progress,
        )

    def _ask_target(self, demand: Demand, progress: Progress) -> tuple[dict[str, Signals] | None, float]:
        target = self.counting
        if target is None:
            return None, 0.0
        start = time.perf_counter()
        progress.begin("target", len(demand.rows))
        keys = [key for names in demand.sets(self.inputs.records.task) for key in names]
        values = measure(
            target,
            self.inputs.records,
            demand.rows,
            keys,
            queries=demand.queries,
            seed=demand.seed,
            resolution=demand.resolution,
        )
        progress.advance("target", len(demand.rows))
        progress.end("target")
        return values, time.perf_counter() - start

    def _gather(
        self,
        split: Split,
        recipe: Recipe,
        demand: Demand,
        given: dict[str, Signals] | None,
        progress: Progress,
        meanwhile: Callable[[], None] | None = None,
    ) -> ShadowPool:
        shadow = self.config.shadow
        return gather(
            split,
            recipe,
            self.inputs.records,
            demand,
            self.store,
            given=given,
            executor=shadow.executor,
            workers=shadow.workers,
            keep_models=shadow.keep_models,
            progress=progress,
            meanwhile=meanwhile,
        )

    def _field(self, outcome: Outcome) -> Field:
        assert outcome.pool is not None
        return Field(
            records=self.inputs.records,
            split=outcome.split,
            table=as_seen(outcome.pool.signals) if self.blind else outcome.pool.signals,
            access=self.access,
            seed=self.config.seed,
            blind=self.blind,
        )

    def _attack(self, outcome: Outcome, progress: Progress) -> None:
        field_ = self._field(outcome)
        reported = self.config.audit.targets - 1
        models = stand_ins(field_, max(reported, self.config.audit.calibration_targets))
        deaf = unheard(self, field_, models, target=self._recipe(), shadow=self._shadow_recipe())
        outcome.field = field_ = self._probed(field_, models, reported, deaf, progress)
        progress.begin("attacks", len(self.attacks))
        for label, attack in self.attacks:
            outcome.scores[label] = self._attempt(label, outcome, attack, models, reported, deaf)
            progress.advance("attacks", note=label)
        progress.end("attacks", note=f"{len(self.attacks)} attacks")

    def _probed(self, field_: Field, models: Sequence[int], reported: int, deaf: str, progress: Progress) -> Field:
        """Ask what is too dear to ask of every model."""
        able = [a for _, a in self.attacks if not unfit(a, task=field_.records.task, access=self.access)]
        able = [attack for attack in able if not (deaf and times(attack))]
        asked = [0] if self.elsewhere is not None else places(models, reported)
        return with_probes(self, field_, able, asked, (self._recipe(), self._shadow_recipe()), progress)

    def _attempt(
        self, label: str, outcome: Outcome, attack: Attack, models: Sequence[int], reported: int, deaf: str
    ) -> Scores | AttackResult:
        field_, away = outcome.field, outcome.elsewhere
        assert field_ is not None
        reason = deaf if deaf and times(attack) else unlabelled(attack, blind=self.blind)
        if away is None or attack.needs.side == "none":
            reason = reason or lacking(field_, attack)
        else:
            near = away.beside if compares(attack, away) and away.beside is not None else away.field
            reason = reason or unfit(attack, task=field_.records.task, access=self.access)
            reason = reason or unlike(attack, self.inputs.records, away) or lacking(near, attack)
        if reason:
            return unrun(label, attack, "skipped", reason)
        try:
            if away is not None and away.beside is not None and compares(attack, away):
                return compare(away.beside, away.field, attack)
            if away is not None and attack.needs.side != "none":
                return carry_over(field_, away.field, attack)
            return run(field_, attack, list(models), reported=reported)
        except KeyboardInterrupt:
            raise
        except VestigeError as error:
            return unrun(label, attack, "failed", str(error))
        except Exception as error:  # whatever an attack raises is its result, and the others go on
            reason = f"{type(error).__name__}: {error}"
            return unrun(label, attack, "failed", reason)
