"""Audit: plan it, run it, or run it again; whatever was finished before is taken from the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vestige.attacks import resolve, unfit
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.claims import chosen, declared
from vestige.auditing.drawing import check_targets, draw_split
from vestige.auditing.inputs import Fetching, Inputs, from_config, member_column
from vestige.auditing.knowledge import (
    Elsewhere,
    elsewhere_count,
    gather_elsewhere,
    halves,
    other_records,
    shadow_recipe,
    unlike,
)
from vestige.auditing.plan import Plan, attack_seconds, make_plan, probe
from vestige.auditing.probes import places, wanted, with_probes
from vestige.auditing.protocol import Scores, carry_over, lacking, run, stand_ins
from vestige.auditing.results import Outcome, unrun, write_log
from vestige.config import AuditConfig
from vestige.errors import UsageError, VestigeError
from vestige.log import AttackResult, AuditLog
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.shadow import Demand, ShadowPool, Work, gather, look
from vestige.signals.answers import resolution_of
from vestige.signals.base import Signals
from vestige.signals.measure import measure
from vestige.signals.queries import variants_of
from vestige.split import Split
from vestige.store import Store
from vestige.target import Access, CountingTarget, Recipe

DEFAULT_SHADOWS = {"quick": 10}
USUAL_SHADOWS = 64
RESOLUTION_RECORDS = 4096


class _NoRecipe:
    """Stands in when no shadow model is wanted, so nothing is ever trained."""

    def fingerprint(self) -> str:
        return "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """One audit: its inputs, its configuration and the store that keeps what is dear."""

    inputs: Inputs
    config: AuditConfig
    store: Store
    attacks: tuple[tuple[str, Attack], ...] = field(init=False)
    elsewhere: Records | None = field(init=False, default=None)
    counting: CountingTarget | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        shadow = self.config.shadow
        if self.inputs.target is not None:
            object.__setattr__(self, "counting", CountingTarget(self.inputs.target))
        if shadow.data == "disjoint":
            home, away = halves(self.inputs, self.config.seed)
            object.__setattr__(self, "inputs", home)
            object.__setattr__(self, "elsewhere", away)
        elif shadow.data != "same":
            object.__setattr__(
                self,
                "elsewhere",
                other_records(shadow, self.config.data, self.config.seed, member=member_column(self.config)),
            )
        records = self.inputs.records
        object.__setattr__(
            self,
            "attacks",
            tuple(
                resolve(
                    self.config.audit.attacks, task=records.task, access=self.access, budget=self.config.audit.budget
                )
            ),
        )
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

    @classmethod
    def from_config(cls, config: AuditConfig, *, fetching: Fetching | None = None) -> Audit:
        """Load the data, the model and the recipe that a config names."""
        store = Store.default(config.store)
        return cls(inputs=from_config(config, fetching=fetching), config=config, store=store)

    @property
    def access(self) -> Access:
        """What the adversary sees: as configured, and no more than the target shows."""
        asked = Access.parse(self.config.audit.access)
        return asked if self.inputs.target is None else min(asked, self.inputs.target.access)

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
        split = draw_split(self.config, self.inputs, 0 if self.elsewhere is not None else self.shadows)
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
        workers = 1 if self.config.shadow.executor == "inline" else self.config.shadow.workers
        cost = probe(recipe, self.inputs.records, split, demand, workers=workers)
        targets = self.config.audit.targets
        passes = 2 + max(self.config.audit.calibration_targets, targets - 1)
        tools = [attack for _, attack in self.attacks]
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
            scoring=attack_seconds(tools, self.inputs.records, split, demand, cost.signals, passes=passes),
            workers=workers,
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

    def run(self, progress: Progress | None = None) -> AuditLog:
        """Run every stage and return the log; a stage that is interrupted leaves a log that says so."""
        progress = progress or Silence()
        started = time.perf_counter()
        split = self.split()
        demand = self.demand(split)
        outcome = Outcome(audit=self, split=split, demand=demand, started=started)
        try:
            outcome.given, outcome.target_seconds = self._ask_target(demand, progress)
            if outcome.given is None and self._mixed:
                outcome.given = self._train_target(split, demand, progress)
            outcome.pool = self._gather(split, self._shadow_recipe(), demand, outcome.given, progress)
            if self._learns_elsewhere and self.elsewhere is not None:
                outcome.elsewhere = self._gather_elsewhere(self.elsewhere, progress)
            self._attack(outcome, progress)
        except KeyboardInterrupt:
            outcome.interrupted = True
        return write_log(outcome)

    @property
    def _mixed(self) -> bool:
        """Whether shadow models follow another recipe than a target that is trained here."""
        return self.config.shadow.architecture != "same" or self.elsewhere is not None

    @property
    def _learns_elsewhere(self) -> bool:
        return self.elsewhere is not None and any(attack.needs.side != "none" for _, attack in self.attacks)

    def _recipe(self) -> Recipe:
        return self.inputs.recipe or _NoRecipe()  # type: ignore[return-value]

    def _shadow_recipe(self) -> Recipe:
        return shadow_recipe(self.config.shadow, self.inputs.recipe) or _NoRecipe()  # type: ignore[return-value]

    def _train_target(self, split: Split, demand: Demand, progress: Progress) -> dict[str, Signals]:
        alone = Split(split.masks[:1], split.blocks[:1], split.audited, split.population, split.seed, split.design)
        table = self._gather(alone, self._recipe(), demand, None, progress).signals
        return {key: table.model(key, 0) for key in table.columns}

    def _gather_elsewhere(self, records: Records, progress: Progress) -> Elsewhere:
        return gather_elsewhere(
            records,
            self._shadow_recipe(),
            self.config.shadow,
            count=self.shadows,
            keys=self._keys(),
            store=self.store,
            seed=self.config.seed,
            access=self.access,
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
        self, split: Split, recipe: Recipe, demand: Demand, given: dict[str, Signals] | None, progress: Progress
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
        )

    def _attack(self, outcome: Outcome, progress: Progress) -> None:
        assert outcome.pool is not None
        field_ = Field(
            records=self.inputs.records,
            split=outcome.split,
            table=outcome.pool.signals,
            access=self.access,
            seed=self.config.seed,
        )
        reported = self.config.audit.targets - 1
        models = stand_ins(field_, max(reported, self.config.audit.calibration_targets))
        outcome.field = field_ = self._probed(field_, models, reported, progress)
        progress.begin("attacks", len(self.attacks))
        for label, attack in self.attacks:
            outcome.scores[label] = self._attempt(label, outcome, attack, models, reported)
            progress.advance("attacks", note=label)
        progress.end("attacks", note=f"{len(self.attacks)} attacks")

    def _probed(self, field_: Field, models: Sequence[int], reported: int, progress: Progress) -> Field:
        """Ask what is too dear to ask of every model."""
        able = [a for _, a in self.attacks if not unfit(a, task=field_.records.task, access=self.access)]
        asked = [0] if self.elsewhere is not None else places(models, reported)
        return with_probes(self, field_, able, asked, self._shadow_recipe(), progress)

    def _attempt(
        self, label: str, outcome: Outcome, attack: Attack, models: Sequence[int], reported: int
    ) -> Scores | AttackResult:
        field_, away = outcome.field, outcome.elsewhere
        assert field_ is not None
        if away is None:
            reason = lacking(field_, attack)
        else:
            reason = unlike(attack, self.inputs.records, away.field.records) or lacking(away.field, attack)
        if reason:
            return unrun(label, attack, "skipped", reason)
        try:
            if away is not None and attack.needs.side != "none":
                return carry_over(field_, away.field, attack)
            return run(field_, attack, list(models), reported=reported)
        except KeyboardInterrupt:
            raise
        except VestigeError as error:
            return unrun(label, attack, "failed", str(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return unrun(label, attack, "failed", reason)
