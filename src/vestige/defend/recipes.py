"""A defended recipe trains models whose answers are defended: what was audited is what is served."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.canonical import digest
from vestige.defend.base import AnswerDefence, Answerer, Serving
from vestige.defend.layers import Layers, left_of
from vestige.defend.tickets import KEY_BYTES, Tickets
from vestige.errors import AccessError
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.target import Access, BatchRecipe, IntArray, Outputs, Recipe, Target, require

_MARK = "answers."


class DefendedTarget:
    """A model with its answer defences in front; ``inner`` is the model itself, for whoever sees its weights.

    ``access``: the most that is left to see; ``answered``: the most of it that can be asked for, labels or scores.
    """

    def __init__(
        self, inner: Target, answerers: Sequence[Answerer], key: bytes, access: Access, answered: Access = Access.SCORE
    ) -> None:
        self.inner, self.answerers, self._key, self.access = inner, tuple(answerers), key, access
        self.answered = min(access, answered)

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch of records as the defences let it."""
        require(self, want)
        if min(want, Access.SCORE) > self.answered:
            raise AccessError(
                f"This needs {want.label} access, and the defences leave {self.answered.label}s to be answered.",
                hint="Choose attacks for label access, or audit with access = 'white_box', which sees past answers.",
            )
        outputs = self.inner.query(x, min(Access.SCORE, self.inner.access))
        tickets = Tickets(x, self._key)
        for answerer in self.answerers:
            outputs = answerer.apply(outputs, tickets)
        if want <= Access.LABEL and outputs.kind in ("logits", "probabilities"):
            return Outputs("labels", outputs.values.argmax(1).astype(np.int64))
        return outputs

    def __getattr__(self, name: str) -> Any:
        # Not every model can be kept (sklearn's cannot), and whether one can is asked by whether it has a state.
        if name == "state" and hasattr(self.inner, "state"):
            return self._whole_state
        raise AttributeError(name)

    def _whole_state(self) -> dict[str, NDArray[Any]]:
        """Return the model's own state, and what its defences were fitted to."""
        found: dict[str, NDArray[Any]] = dict(self.inner.state())  # type: ignore[attr-defined]
        for place, answerer in enumerate(self.answerers):
            found |= {f"{_MARK}{place}.{name}": array for name, array in answerer.state().items()}
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What the model has to say of its training."""
        return tuple(getattr(self.inner, "notes", ()))


@dataclass(frozen=True, eq=False)
class DefendedRecipe:
    """Trains by ``inner`` and puts ``answers`` in front of every model; ``reserve``: the defender's own rows."""

    inner: Recipe
    answers: tuple[AnswerDefence, ...]
    reserve: IntArray

    def fingerprint(self) -> str:
        """Return a text of the inner recipe, every parameter of the defences, and the reserved rows."""
        layers = [described(defence) for defence in self.answers]
        needs = any(defence.reserve for defence in self.answers)
        kept = digest("rows", {"rows": np.asarray(self.reserve, np.int64)}) if needs else ""
        return json.dumps({"inner": self.inner.fingerprint(), "answers": layers, "reserve": kept}, sort_keys=True)

    def fit(self, records: Records, rows: IntArray, seed: int) -> DefendedTarget:
        """Train one model on ``rows``."""
        return self.fit_many(records, [rows], [seed])[0]

    def fit_many(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> list[DefendedTarget]:
        """Train one model per entry of ``rows``, and fit its defences."""
        if isinstance(self.inner, BatchRecipe):
            targets = self.inner.fit_many(records, rows, seeds)
        else:
            targets = [self.inner.fit(records, own, seed) for own, seed in zip(rows, seeds, strict=True)]
        return [
            served(target, self.answers, records, own, self.reserve, seed)
            for target, own, seed in zip(targets, rows, seeds, strict=True)
        ]

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> DefendedTarget:
        """Return the target whose `DefendedTarget.state` this is."""
        own = {name: array for name, array in state.items() if not name.startswith(_MARK)}
        answerers = []
        for place, defence in enumerate(self.answers):
            mark = f"{_MARK}{place}."
            answerers.append(defence.restore({n.removeprefix(mark): a for n, a in state.items() if n.startswith(mark)}))
        inner = self.inner.restore(records, own)  # type: ignore[attr-defined]
        return _behind(inner, answerers, _key_of(own), self.answers)

    def __getattr__(self, name: str) -> Any:
        # What is asked of the recipe beside its contract (epochs, chunk_size, follow) is asked of the inner one.
        if name.startswith("_") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def served(
    target: Target,
    answers: Sequence[AnswerDefence],
    records: Records,
    rows: IntArray,
    reserve: IntArray,
    seed: int,
    *,
    key: bytes | None = None,
) -> DefendedTarget:
    """Return a trained model behind its answer defences, each fitted to the model as the ones before it leave it.

    ``key``: the secret that random answers hang on; omitted, it is derived from the model, as audits need it.
    """
    found: list[Answerer] = []
    if key is None:
        key = _key_of(target.state()) if hasattr(target, "state") else rng(seed, "answers", "key").bytes(KEY_BYTES)
    for place, defence in enumerate(answers):
        so_far = _behind(target, found, key, answers[:place]) if found else target
        serving = Serving(
            target=so_far, records=records, rows=rows, reserve=reserve, seed=seed_for(seed, "answers", place)
        )
        found.append(defence.prepare(serving))
    return _behind(target, found, key, answers)


def _behind(
    target: Target, answerers: Sequence[Answerer], key: bytes, answers: Sequence[AnswerDefence]
) -> DefendedTarget:
    return DefendedTarget(target, answerers, key, left_of(target.access, answers), left_of(Access.SCORE, answers))


def defended(recipe: Recipe, layers: Layers, reserve: IntArray) -> Recipe:
    """Return how models are trained and served under these layers."""
    for defence in layers.training:
        recipe = defence.wrap(recipe, reserve)
    return DefendedRecipe(recipe, layers.answers, reserve) if layers.answers else recipe


def described(defence: Any) -> dict[str, Any]:
    """Return a defence as plain values: which it is and every parameter."""
    where = f"{type(defence).__module__}:{type(defence).__qualname__}"
    return {"defence": where, **{f.name: getattr(defence, f.name) for f in dataclasses.fields(defence) if f.init}}


def _key_of(state: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the key of an audited model's answers: from its weights, so that a model restored answers as before."""
    return digest("answers", {"state": {name: np.asarray(array) for name, array in state.items()}}).encode()
