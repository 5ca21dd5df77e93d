"""What every attack must do, whatever it measures."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vestige.attacks import params_of, unfit
from vestige.attacks.base import Attack, Evidence, Needs
from vestige.errors import AccessError, MissingDependency, UsageError, VestigeError
from vestige.records import Task
from vestige.seeds import rng
from vestige.signals import SignalTable
from vestige.signals import create as signal_of
from vestige.target import Access, BoolArray, FloatArray
from vestige.testing.conformance import ConformanceError, auc, auc_error, close, hold
from vestige.testing.simulation import Trial, simulate, take_records

NULL_TARGETS = 12
KNOWN_ANSWER = 0.95


@dataclass(frozen=True)
class Case:
    """An attack under one task and seed."""

    attack: Attack
    task: Task
    seed: int

    def trial(self, seed: int = 0, **options: Any) -> Trial:
        """Return a simulated trial with what the attack needs; the same for the same seed and options."""
        return simulate(self.attack.needs, seed=self.seed + seed, task=self.task, **options)

    def score(self, evidence: Evidence) -> FloatArray:
        """Return the attack's scores after checking that they are scores."""
        scores: Any = self.attack.score(evidence)
        hold(isinstance(scores, np.ndarray), f"scores are an array, not a {type(scores).__name__}")
        hold(scores.shape == (len(evidence),), f"one score per record: expected {(len(evidence),)}, got {scores.shape}")
        hold(scores.dtype == np.float64, f"scores are float64, not {scores.dtype}")
        hold(np.isfinite(scores).all(), f"scores are finite: {int((~np.isfinite(scores)).sum())} are not")
        result: FloatArray = scores
        return result

    def spoken(self, evidence: Evidence) -> BoolArray:
        """Return (N,) True for the records the attack says something about: those it selects, or all."""
        select = getattr(self.attack, "selected", None)
        return np.ones(len(evidence), np.bool_) if select is None else np.asarray(select(evidence), np.bool_)


def declared(case: Case) -> None:
    """It says what it is: docstring, paper, access, needs, and signals that its access allows."""
    attack = case.attack
    hold((type(attack).__doc__ or "").strip(), "it has a docstring")
    hold(getattr(attack, "paper", "").strip(), "it names its paper")
    hold(isinstance(attack.access, Access), "its access is an Access")
    hold(isinstance(attack.needs, Needs), "its needs are a Needs")
    hold(attack.needs.signals or attack.needs.features, "it needs some signal or the features")
    for key in attack.needs.signals:
        allowed = signal_of(key).access <= attack.access
        hold(allowed, f"the signal {key} is within its declared {attack.access.label} access")


def rebuilds(case: Case) -> None:
    """It is a frozen dataclass that its parameters rebuild, also after a trip through JSON."""
    attack: Any = case.attack
    hold(dataclasses.is_dataclass(attack), "it is a dataclass")
    hold(type(attack).__dataclass_params__.frozen, "it is frozen")
    again = type(attack)(**json.loads(json.dumps(params_of(attack))))
    hold(again == attack and hash(again) == hash(attack), f"{again!r} equals {attack!r} after a trip through JSON")
    hold(repr(again) == repr(attack) and type(attack).__name__ in repr(attack), "its repr names it and its parameters")


def repeats(case: Case) -> None:
    """The same evidence and seed give the same bytes, however often it is asked."""
    evidence = case.trial().evidence
    first = case.score(evidence).tobytes()
    hold(first == case.score(evidence).tobytes(), "asked twice about the same evidence it answers the same")
    hold(first == case.score(case.trial().evidence).tobytes(), "evidence built again gives the same scores")


def permutes(case: Case) -> None:
    """Shuffling the records shuffles the scores."""
    evidence = case.trial().evidence
    order = rng(case.seed, "permutation").permutation(len(evidence))
    shuffled = case.score(take_records(evidence, order))
    close(case.score(evidence)[order], shuffled, "shuffling the records shuffles the scores")


def ignores_shift(case: Case) -> None:
    """Adding a constant to all of a record's class scores changes nothing."""
    if case.task == "classification":
        plain, shifted = (case.score(case.trial(shift=shift).evidence) for shift in (0.0, 8.0))
        close(plain, shifted, "adding a constant to all class scores changes nothing")


def scores_records_alone(case: Case) -> None:
    """What the target answers to other records does not matter, nor, unless declared, do the other records at all."""
    evidence = case.trial().evidence
    rows = np.flatnonzero(case.spoken(evidence) & (np.arange(len(evidence)) % 2 == 0))
    whole = case.score(evidence)[rows]
    other = case.trial(seed=1, target_memory=6.0).evidence
    columns = {}
    for key in evidence.own.columns:
        answers = np.array(evidence.own.model(key, 0))
        answers[1::2] = other.own.model(key, 0)[1::2]
        columns[key] = answers[None]
    moved = replace(evidence, own=SignalTable(columns, len(evidence), 1))
    close(whole, case.score(moved)[rows], "the target's answers to other records do not matter")
    if not getattr(case.attack, "pools_records", False):
        alone = case.score(take_records(evidence, rows))
        close(whole, alone, "half of the records alone score as among all (else declare pools_records = True)")


def reads_what_it_declares(case: Case) -> None:
    """It is refused signals and shadow models it did not declare, and hidden values do not reach its scores."""
    needs, evidence = case.attack.needs, case.trial().evidence
    expected = case.score(evidence)
    refused = [Needs(signals=(), shadows=needs.shadows, side=needs.side)] if needs.signals else []
    if needs.side != "none":
        refused.append(replace(needs, side="none"))
    for less in refused:
        outside = None if evidence.population is None else replace(evidence.population, needs=less)
        try:
            scores = case.attack.score(replace(evidence, needs=less, population=outside))
        except AccessError:
            continue
        # Shadow models may be one of two sources, and unread here; signals may not.
        unread = less.signals and np.array_equal(scores, expected)
        hold(unread, "it reads signals and shadow models through the evidence, which refuses undeclared ones")
    if needs.side == "out":
        columns = {}
        for key in evidence.shadows.columns:
            values = np.array(evidence.shadows.block(key, 0, len(evidence)))
            values[evidence.masks] = 1234.5
            columns[key] = values
        spoilt = replace(evidence, shadows=SignalTable(columns, len(evidence), evidence.shadows.models))
        close(expected, case.score(spoilt), "values of models that trained on the record do not matter")


def knows_nothing_of_nothing(case: Case) -> None:
    """Where the target remembers nothing its scores rank members by chance, over several targets."""
    trials = [case.trial(seed=1 + t, records=200, shadows=8, target_memory=0.0) for t in range(NULL_TARGETS)]
    areas = [auc(case.score(trial.evidence), trial.members) for trial in trials]
    error = auc_error(trials[0].members) / np.sqrt(NULL_TARGETS)
    mean = float(np.mean(areas))
    hold(abs(mean - 0.5) <= 3 * error, f"the mean AUC without memory is 0.5 ± {3 * error:.3f}, not {mean:.3f}")


def finds_memorised_records(case: Case) -> None:
    """Where the target learns its members by heart and knows nothing else, members outscore the others."""
    trial = case.trial(records=400, classes=25, memory=10.0, difficulty=0.0)
    scores, members = case.score(trial.evidence), trial.members
    said = case.spoken(trial.evidence)
    area = auc(scores[said], members[said])
    hold(area > KNOWN_ANSWER, f"the AUC on a memorised training set is above {KNOWN_ANSWER}, not {area:.3f}")


def reads_mapped_files(case: Case) -> None:
    """Read-only arrays mapped from files serve as well as arrays in memory."""
    evidence = case.trial().evidence
    expected = case.score(evidence)
    with tempfile.TemporaryDirectory() as folder:
        mapped = _mapped(evidence, Path(folder))
        got = case.score(mapped)
        del mapped
    close(expected, got, "read-only arrays mapped from files give the same scores")


def bears_little_and_much(case: Case) -> None:
    """One record, two records, equal answers everywhere and saturated answers give finite scores."""
    for records in (1, 2):
        case.score(case.trial(records=records).evidence)
    evidence = case.trial(records=60).evidence
    case.score(replace(_flat(evidence), population=None if evidence.population is None else _flat(evidence.population)))
    case.score(case.trial(records=60, scale=1024.0).evidence)
    if case.attack.needs.population:
        try:
            case.score(replace(evidence, population=None))
        except VestigeError:
            return


Check = Callable[[Case], None]
ATTACK_CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            declared,
            rebuilds,
            repeats,
            permutes,
            ignores_shift,
            scores_records_alone,
            reads_what_it_declares,
            knows_nothing_of_nothing,
            finds_memorised_records,
            reads_mapped_files,
            bears_little_and_much,
        )
    }
)


def check_attack(attack: Attack, *, seed: int = 0, only: Sequence[str] = ()) -> None:
    """Check an attack, under every task it declares and its signals have; raises ConformanceError with what fails.

    ``only``: names of `ATTACK_CHECKS`; all of them by default. An attack that pools records (a threshold, a fitted
    model) declares ``pools_records = True``; one that speaks only about some records has ``selected(evidence)``.
    """
    for name in only:
        if name not in ATTACK_CHECKS:
            raise UsageError(f"There is no check called '{name}'.", hint=f"There are: {', '.join(ATTACK_CHECKS)}.")
    every: tuple[Task, ...] = ("classification", "regression")
    tasks: list[Task] = [task for task in every if not unfit(attack, task=task, access=Access.WHITE_BOX)]
    hold(tasks, f"{attack!r}: it can run on some task")
    for task in tasks:
        for name in only or ATTACK_CHECKS:
            try:
                ATTACK_CHECKS[name](Case(attack, task, seed))
            except ConformanceError as error:
                raise ConformanceError(f"{attack!r}, {task}, {name}: {error}") from error
            except MissingDependency:
                raise
            except Exception as error:  # whatever the attack raises breaks the contract
                what = f"{type(error).__name__}: {error}"
                raise ConformanceError(f"{attack!r}, {task}, {name}: it raised {what}") from error


def _flat(evidence: Evidence) -> Evidence:
    def same(table: SignalTable) -> SignalTable:
        columns = {key: np.full_like(table.block(key, 0, table.records), -0.5) for key in table.columns}
        return SignalTable(columns, table.records, table.models)

    return replace(evidence, own=same(evidence.own), shadows=same(evidence.shadows))


def _mapped(evidence: Evidence, folder: Path) -> Evidence:
    def stored(name: str, values: Any) -> Any:
        path = folder / f"{name}.npy"
        np.save(path, values)
        return np.load(path, mmap_mode="r") if values.size else values

    def table(name: str, old: SignalTable) -> SignalTable:
        columns = {
            key: [stored(f"{name}-{place}-{m}", old.model(key, m)) for m in range(old.models)]
            for place, key in enumerate(old.keys())
        }
        return SignalTable(columns, old.records, old.models)

    folder.mkdir(exist_ok=True)
    return replace(
        evidence,
        labels=stored("labels", evidence.labels),
        own=table("own", evidence.own),
        shadows=table("shadows", evidence.shadows),
        masks=stored("masks", evidence.masks),
        features=None if evidence.features is None else stored("features", evidence.features),
        population=None if evidence.population is None else _mapped(evidence.population, folder / "population"),
    )
