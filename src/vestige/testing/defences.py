"""What every defence must do, whether it changes the training or the answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from vestige.attacks import resolve
from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchRecipe
from vestige.defend.base import AnswerDefence, TrainingDefence, Trait
from vestige.defend.layers import Layers
from vestige.defend.recipes import DefendedRecipe, DefendedTarget, defended, described, served
from vestige.errors import ConfigError
from vestige.privacy_claim import FORMAL, Guarantee, PrivacyClaim
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, BatchRecipe, IntArray, Outputs, Recipe, Target
from vestige.testing.conformance import auc, auc_error, close, hold

MEMBERS, RESERVED, OTHERS, FEATURES, CLASSES = 240, 200, 240, 8, 4
KEYS = (b"one key", b"another key")
ERRORS = 4.5
"""Standard errors that a null may lie from one half."""


def check_defence(
    defence: Any, *, recipe: Recipe | None = None, others: Mapping[str, Any] | None = None, tolerance: float = 1e-4
) -> None:
    """Check a defence; raises ConformanceError with the property that does not hold.

    ``recipe``: one that a training defence can change, by default a small network, or a
    logistic regression where it refuses networks. ``others``: for parameters of which
    no other value can be guessed, one that is allowed. ``tolerance``: how far two answers to one query may lie apart
    when it is asked in another batch.
    """
    _declared(defence)
    _rebuilds(defence)
    if isinstance(defence, AnswerDefence):
        _check_answers(defence, dict(others or {}), tolerance)
    elif isinstance(defence, TrainingDefence):
        _check_training(defence, recipe or _fitting(defence), dict(others or {}))
    else:
        hold(False, f"{type(defence).__name__} has neither wrap nor prepare, apply, shows, restore and claim")


def _declared(defence: Any) -> None:
    name = type(defence).__name__
    hold((type(defence).__doc__ or "").strip(), f"{name} has a docstring")
    hold(str(getattr(defence, "paper", "")).strip(), f"{name} names its paper")
    hold(defence.guarantee in get_args(Guarantee), f"{name} guarantees G1, G2, G3 or G4")
    hold(all(isinstance(trait, Trait) for trait in defence.traits), f"{name}'s traits are Traits")
    hold(isinstance(defence.reserve, bool), f"{name} says whether it needs a reserve")
    if defence.adaptive:
        resolve(list(defence.adaptive), "classification", Access.WHITE_BOX)


def _rebuilds(defence: Any) -> None:
    name = type(defence).__name__
    hold(dataclasses.is_dataclass(defence), f"{name} is a dataclass")
    hold(type(defence).__dataclass_params__.frozen, f"{name} is frozen")
    params = _params(defence)
    again = type(defence)(**json.loads(json.dumps(params)))
    hold(again == defence, f"{again!r} equals {defence!r} after a trip through JSON")


def _check_answers(defence: AnswerDefence, others: Mapping[str, Any], tolerance: float) -> None:
    records, rows, reserve, rest = _records()
    model = _Imagined()
    guarded = served(model, [defence], records, rows, reserve, 0, key=KEYS[0])
    x = records.x
    plain = model.query(x, Access.SCORE)
    kept = plain.values.copy()
    found = _ask(guarded, x)
    name = type(defence).__name__
    hold(len(found) == len(x), f"{name} answers {len(x)} queries with {len(found)} rows")
    hold(np.isfinite(found.values).all(), f"{name} answers finite numbers")
    hold(
        np.array_equal(kept, model.query(x, Access.SCORE).values), f"{name} leaves the model's own answers as they are"
    )
    hold(
        (found.kind == "labels") == (defence.shows(Access.SCORE) == Access.LABEL), f"{name} shows what it says it shows"
    )
    hold(defence.shows(Access.LABEL) == Access.LABEL, f"{name} raises no access")
    if Trait.KEEPS_LABEL in defence.traits:
        hold((_labels(found) == kept.argmax(1)).all(), f"{name} keeps the class, as it says")
    hold(np.array_equal(_ask(guarded, x).values, found.values), f"{name}: asking again says nothing new")
    order = rng(0, "check_defence").permutation(len(x))
    for what, asked in (("in another order", order), ("by a few", order[:7]), ("alone", order[:1])):
        _same(_ask(guarded, x[asked]), Outputs(found.kind, found.values[asked]), f"{name}, asked {what},", tolerance)
    _restores(defence, guarded, model, x, found)
    _owes_nothing(records, rest, lambda other: served(model, [defence], other, rows, reserve, 0, key=KEYS[0]), x, name)
    _changes_fingerprint(defence, others, lambda one: DefendedRecipe(_small(), (one,), reserve))
    _null(found, records, rows, rest, name)
    _claims(defence, defence.claim(10))


def _restores(defence: AnswerDefence, guarded: DefendedTarget, model: Target, x: Any, found: Outputs) -> None:
    state = guarded.answerers[0].state()
    hold(all(isinstance(value, np.ndarray) for value in state.values()), "what was fitted is arrays")
    again = DefendedTarget(model, [defence.restore(state)], KEYS[0], guarded.access)
    hold(np.array_equal(_ask(again, x).values, found.values), "restored from its state it answers the same")


def _null(found: Outputs, records: Records, rows: IntArray, rest: IntArray, name: str) -> None:
    """A model that remembers nothing gives nothing away under the defence either."""
    asked = np.concatenate([rows, rest])
    members = np.arange(len(asked)) < len(rows)
    right = _labels(found)[asked] == records.y[asked]
    scores = [right.astype(np.float64)]
    if found.kind != "labels":
        scores.append(found.values[asked].max(1).astype(np.float64))
    for one in scores:
        far = abs(auc(one, members) - 0.5) / auc_error(members)
        hold(far <= ERRORS, f"{name}: where the model remembers nothing its answers do not tell members ({far:.1f} σ)")


def _check_training(defence: TrainingDefence, recipe: Recipe, others: Mapping[str, Any]) -> None:
    records, rows, reserve, rest = _records()
    name = type(defence).__name__
    wrapped = defended(recipe, _layers(defence), reserve)
    hold(wrapped.fingerprint() != recipe.fingerprint(), f"{name} changes the recipe's fingerprint")
    _changes_fingerprint(defence, others, lambda one: one.wrap(recipe, reserve))
    asked = records.x[np.concatenate([rows[:40], rest[:40]])]
    model = wrapped.fit(records, rows, 1)
    found = _ask(model, asked)
    hold(np.isfinite(found.values).all(), f"{name} trains models that answer finite numbers")
    again = _ask(wrapped.fit(records, rows, 1), asked)
    hold(np.array_equal(again.values, found.values), f"{name} trains the same model from the same rows and seed")
    if isinstance(wrapped, BatchRecipe):
        pair = wrapped.fit_many(records, [rows[:-20], rows], [2, 1])
        hold(np.array_equal(_ask(pair[1], asked).values, found.values), f"{name} trains the same model beside others")
    if hasattr(model, "state") and hasattr(wrapped, "restore"):
        again = _ask(wrapped.restore(records, model.state()), asked)
        hold(np.array_equal(again.values, found.values), f"{name}: a restored model answers the same")
    _owes_nothing(records, rest, lambda other: wrapped.fit(other, rows, 1), asked, name)
    _claims(defence, defence.claim(recipe, len(rows)))


def _owes_nothing(records: Records, rest: IntArray, make: Any, asked: Any, name: str) -> None:
    """Nothing hangs on records that are neither members nor the defender's own."""
    x = records.x.copy()
    x[rest] = x[rng(0, "check_defence", "rest").permutation(rest)]
    before, after = (_ask(make(one), asked) for one in (records, replace(records, x=x)))
    _same(before, after, f"{name}, with the records of others exchanged,", 1e-6)


def _changes_fingerprint(defence: Any, others: Mapping[str, Any], make: Any) -> None:
    own = make(defence).fingerprint()
    for field, changed in _changed(defence, others):
        try:
            told = make(changed).fingerprint()
        except ConfigError:
            continue
        hold(told != own, f"{type(defence).__name__}: the fingerprint changes with '{field}'")


def _claims(defence: Any, claim: PrivacyClaim | None) -> None:
    name = type(defence).__name__
    if claim is None:
        return
    hold(defence.guarantee in FORMAL, f"{name} guarantees {defence.guarantee} and makes no claim")
    hold(claim.guarantee == defence.guarantee, f"{name}'s claim is of its own kind, {defence.guarantee}")
    hold(claim.epsilon >= 0, f"{name}'s claim has an ε")


def _changed(defence: Any, others: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the defence with each of its parameters changed, where an allowed other value is known or easily found."""
    hints = get_type_hints(type(defence))
    found = []
    for name, value in _params(defence).items():
        tries = [others[name]] if name in others else _near(value, hints.get(name))
        for other in tries:
            try:
                changed = replace(defence, **{name: other})
            except ConfigError:
                continue
            if changed != defence:
                found.append((name, changed))
                break
    return found


def _near(value: Any, hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return [one for one in get_args(hint) if one != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 0.9, value * 1.1 + 0.01]
    if isinstance(value, tuple) and value and all(isinstance(one, int | float) for one in value):
        return [(*value[:-1], value[-1] + 1), value[:-1]]
    return []


def _params(defence: Any) -> dict[str, Any]:
    return {name: value for name, value in described(defence).items() if name != "defence"}


def _layers(defence: Any) -> Layers:
    return Layers(((type(defence).__name__, defence),))


def _small() -> TorchRecipe:
    return TorchRecipe(model="mlp", hidden=(8,), epochs=2, batch_size=32, lr=0.05, normalize="none")


def _fitting(defence: TrainingDefence) -> Recipe:
    try:
        defence.wrap(_small(), _records()[2])
    except ConfigError:
        from sklearn.linear_model import LogisticRegression

        return SklearnRecipe(LogisticRegression())
    return _small()


def _records() -> tuple[Records, IntArray, IntArray, IntArray]:
    """Return records, and which are members, the defender's own, and neither."""
    draw = rng(0, "check_defence", "records")
    total = MEMBERS + RESERVED + OTHERS
    x = draw.random((total, FEATURES)).astype(np.float32)
    y = (x[:, :CLASSES] + 0.5 * draw.random((total, CLASSES))).argmax(1)
    rows = np.arange(total, dtype=np.int64)
    members, reserve, rest = np.split(rows, [MEMBERS, MEMBERS + RESERVED])
    records = Records(x, y.astype(np.int64), rows, classes=tuple("abcd"))
    return records, members, reserve, rest


class _Imagined:
    """A model whose answers depend on the features alone."""

    access = Access.SCORE

    def query(self, x: Any, want: Access) -> Outputs:  # noqa: ARG002
        return Outputs("logits", (6 * np.asarray(x)[:, :CLASSES]).astype(np.float32))


def _ask(target: Target, x: Any) -> Outputs:
    return target.query(x, min(Access.SCORE, target.access))


def _labels(outputs: Outputs) -> IntArray:
    values = outputs.values if outputs.kind == "labels" else outputs.values.argmax(1)
    return np.asarray(values, np.int64)


def _same(first: Outputs, second: Outputs, what: str, tolerance: float) -> None:
    hold(first.kind == second.kind, f"{what} it answers the same kind")
    close(first.values.astype(float), second.values.astype(float), f"{what} it answers the same", relative=tolerance)
