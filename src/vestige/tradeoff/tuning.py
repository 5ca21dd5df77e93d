"""Tuning: settings are tried on the target's training set and judged on validation records that nobody is audited on.

Every candidate with a range gets the same number of trials. Optuna asks for each next one, knowing how the earlier ones
did. Private trainings may not be tuned that way: there, settings are drawn independently, as many as a geometric number
with the same mean says, each trained with noise of its own, for which the choice can be accounted for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vestige.auditing.defending import under
from vestige.auditing.run import Audit
from vestige.canonical import digest
from vestige.config import AuditConfig
from vestige.errors import DataError, MissingDependency, ModelError, VestigeError
from vestige.privacy_claim import FORMAL
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.shadow import model_key
from vestige.split import Split
from vestige.store import Store
from vestige.target import Access, IntArray, Recipe, Target
from vestige.tradeoff.expand import Candidate
from vestige.tradeoff.parts import Trial
from vestige.tradeoff.ranges import Path, Range

FEWEST_VALIDATION = 20
MOST_DRAWS = 50
"""A geometric number of trials stops at so many times its mean, which it reaches once in e⁵⁰."""

Try = Callable[[dict[Path, Any]], float | None]


@dataclass(kw_only=True)
class Tuning:
    """What tuning found: the settings to use, every trial, and whether all of them cost the same budget."""

    values: dict[Path, Any] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    alike: bool = True


def validation_rows(split: Split, seed: int) -> IntArray:
    """Return the records that settings are judged on: half of those held out from every model.

    Raises DataError where there are too few.
    """
    order = rng(seed, "validation").permutation(split.population)
    rows = np.sort(order[: len(order) // 2])
    if len(rows) < FEWEST_VALIDATION:
        raise DataError(
            f"Tuning needs at least {FEWEST_VALIDATION} validation records, which half of those held out are, and "
            f"{len(split.population)} are held out.",
            hint="Raise [data] population, or leave out what is to be tuned.",
        )
    return rows


def tune(
    candidate: Candidate,
    audit_of: Callable[[AuditConfig], Audit],
    store: Store,
    *,
    trials: int,
    progress: Progress,
) -> Tuning:
    """Try settings of a candidate; raises what forbids it, and ModelError when no setting could be trained.

    ``audit_of``: the audit that a config would be, for its training set and the defender's own records.
    """
    found, budgets = Tuning(), set[str]()
    known: dict[str, float | None] = {}
    formal = any(defence.guarantee in FORMAL for _, defence in candidate.layers.named)
    count = 0

    def attempt(values: dict[Path, Any]) -> float | None:
        nonlocal count
        # The account is of independent trainings: a setting that is drawn twice is trained twice there.
        number = count if formal else 0
        key = json.dumps([number, *values.values()], default=str)
        if key not in known:
            known[key] = _tried(candidate.settled(values), audit_of, store, found, values, budgets, number)
        count += 1
        progress.advance("trials", note=candidate.id)
        return known[key]

    seed = seed_for(candidate.config.seed, "tuning")
    progress.begin("trials", trials)
    try:
        best = (_drawn if formal else _asked)(candidate.ranges, attempt, trials, seed)
    finally:
        progress.end("trials")
    if best is None and formal:
        best = {path: range_.middle for path, range_ in candidate.ranges.items()}
    if best is None:
        raise ModelError(f"None of {count} settings could be trained: {found.trials[0].reason}")
    return Tuning(values=best, trials=found.trials, alike=len(budgets) <= 1)


def _tried(
    config: AuditConfig,
    audit_of: Callable[[AuditConfig], Audit],
    store: Store,
    found: Tuning,
    values: dict[Path, Any],
    budgets: set[str],
    number: int,
) -> float | None:
    told = {".".join(map(str, path[1:] if path[0] == "recipe" else path)): value for path, value in values.items()}
    try:
        audit = audit_of(config)
        inputs, split = audit.inputs, audit.split()
        if inputs.recipe is not None and (c := inputs.defences.claim(inputs.recipe, len(split.rows(0)))) is not None:
            budgets.add(digest("claim", c.to_dict()))
        recipe = under(inputs.recipe, audit.faced, audit.reserve)
        assert recipe is not None
        judged, seed = validation_rows(split, config.seed), seed_for(config.seed, "trial", number)
        accuracy = validated(recipe, inputs.records, split.rows(0), judged, seed, store)
    except DataError:
        raise
    except VestigeError as error:
        found.trials.append(Trial(settings=told, reason=str(error)))
        return None
    found.trials.append(Trial(settings=told, accuracy=accuracy))
    return accuracy


def validated(recipe: Recipe, records: Records, rows: IntArray, judged: IntArray, seed: int, store: Store) -> float:
    """Train one model and return its accuracy on the rows it is judged on; what is stored is not trained again."""
    key = digest("trial", {"model": model_key(recipe, records, rows, seed), "rows": digest("rows", {"rows": judged})})
    before = store.get("trials", key)
    if before is not None:
        return float(before.arrays["accuracy"][0])
    accuracy = _accuracy(recipe.fit(records, rows, seed), records, judged)
    store.put("trials", key, {"accuracy": np.array([accuracy])}, {})
    return accuracy


def _accuracy(target: Target, records: Records, rows: IntArray) -> float:
    outputs = target.query(records.rows_of(rows), min(target.access, Access.SCORE))
    values = np.asarray(outputs.values)
    named = values if values.ndim == 1 else values.argmax(axis=1)
    return float((named == records.y[rows]).mean())


def _drawn(ranges: dict[Path, Range], attempt: Try, trials: int, seed: int) -> dict[Path, Any] | None:
    """Try a geometric number of independent settings and return the best; None when none could be trained."""
    random = rng(seed, "draws")
    number = min(int(random.geometric(1 / max(trials, 1))), MOST_DRAWS * trials)
    best: tuple[float, dict[Path, Any]] | None = None
    for _ in range(number):
        values = {path: range_.draw(random) for path, range_ in ranges.items()}
        accuracy = attempt(values)
        if accuracy is not None and (best is None or accuracy > best[0]):
            best = accuracy, values
    return None if best is None else best[1]


def _asked(ranges: dict[Path, Range], attempt: Try, trials: int, seed: int) -> dict[Path, Any] | None:
    """Let Optuna ask for one setting after the other and tell it how each did; return the best."""
    try:
        import optuna
    except ImportError as error:
        raise MissingDependency("optuna", extra="hpo", purpose="Tuning") from error
    best: tuple[float, dict[Path, Any]] | None = None
    with _quiet(optuna):
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
        for _ in range(trials):
            asked = study.ask()
            values = {path: _suggested(asked, ".".join(map(str, path)), range_) for path, range_ in ranges.items()}
            accuracy = attempt(values)
            if accuracy is None:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
                continue
            study.tell(asked, accuracy)
            if best is None or accuracy > best[0]:
                best = accuracy, values
    return None if best is None else best[1]


def _suggested(trial: Any, name: str, range_: Range) -> Any:
    if range_.choices:
        # Optuna keeps plain values only; a choice may be a list or a table.
        return range_.choices[trial.suggest_categorical(name, list(range(len(range_.choices))))]
    if range_.whole:
        return trial.suggest_int(name, int(range_.low), int(range_.high), log=range_.log)
    return trial.suggest_float(name, range_.low, range_.high, log=range_.log)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
