"""Teachers and students: recipes whose models learn from a noisy vote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.backends.function import FunctionRecipe
from vestige.backends.sklearn import SklearnRecipe
from vestige.canonical import digest
from vestige.defend.private.voting import FEWEST, counted, seeded, shards, unpredictable
from vestige.defend.recipes import described
from vestige.defend.training.rival import RivalRecipe
from vestige.errors import ConfigError, UsageError
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.target import Access, IntArray, Target

if TYPE_CHECKING:
    from vestige.backends.ensemble.engine import OnEpoch, State
    from vestige.backends.torch_setup import Setup
    from vestige.defend.private.pate import PATE


def asked(reserve: IntArray, queries: int, seed: int) -> IntArray:
    """Return the rows of the reserve that are asked about, in the order they are asked."""
    return np.asarray(rng(seed, "pate", "queries").permutation(reserve)[:queries], np.int64)


def lesson(defence: PATE, votes: IntArray, rows: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Return the rows that were answered, and the answers; raises UsageError where a student cannot learn from them."""
    places, labels = defence.count.answers(votes, unpredictable if defence.release else seeded(seed))
    if len(places) < FEWEST:
        raise UsageError(
            f"Of {len(rows)} records asked about, the teachers' votes answered {len(places)}: too few to learn from.",
            hint="Lower threshold, raise epsilon, or train fewer teachers on more records each.",
        )
    return rows[places], labels


class NetworkPATE(RivalRecipe):
    """Trains the teachers of many models together, by the batched engine, and a student of each model's teachers."""

    def trained(
        self, setup: Setup, records: Records, rows: Sequence[IntArray], seeds: Sequence[int], on_epoch: OnEpoch | None
    ) -> list[State]:
        """Train the teachers, have them vote, and teach."""
        found = []
        for k, (votes, seed) in enumerate(zip(self._votes(records, rows, seeds), seeds, strict=True)):
            own, labels = lesson(self.defence, votes, asked(self.reserve, self.defence.queries, seed), seed)
            told = None if on_epoch is None else partial(on_epoch, k)
            found.append(self._taught(setup, own, labels, seed, told))
        return found

    def votes(self, records: Records, rows: IntArray, seed: int) -> IntArray:
        """Return the (queries, classes) votes that the model of ``rows`` is taught by, without noise: to be kept."""
        self._check(records, [rows], [seed])
        return self._votes(records, [rows], [seed])[0]

    def _votes(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> list[IntArray]:
        jobs = [
            (model, shard, seed_for(seed, "pate", "teacher", k))
            for model, (own, seed) in enumerate(zip(rows, seeds, strict=True))
            for k, shard in enumerate(shards(records, own, self.defence.teachers, seed))
            if len(shard) >= FEWEST
        ]
        questions = [asked(self.reserve, self.defence.queries, seed) for seed in seeds]
        features = [records.rows_of(own) for own in questions]
        labels: list[list[IntArray]] = [[] for _ in rows]
        size = self.network.chunk_size(records)
        for start in range(0, len(jobs), size):
            models, parts, own = zip(*jobs[start : start + size], strict=True)
            for model, teacher in zip(models, self.network.fit_many(records, parts, own), strict=True):
                labels[model].append(_labels(teacher, features[model]))
        return [counted(own, len(q), len(records.classes)) for own, q in zip(labels, questions, strict=True)]

    def _taught(self, setup: Setup, rows: IntArray, labels: IntArray, seed: int, told: Any) -> State:
        import torch

        from vestige.backends.ensemble import train_many

        plan = setup.plan
        # Nobody else's label is so much as at hand.
        y = torch.zeros_like(plan.y)
        y[torch.from_numpy(rows).to(plan.device)] = torch.from_numpy(labels).to(plan.device)
        own = replace(plan, y=y, epochs=self.defence.epochs or plan.epochs, stopping=None)
        seen = None if told is None else (lambda _, epoch, state: told(epoch, state))
        return train_many(own, setup.graph, [rows], [seed], threads=self.network.threads, on_epoch=seen)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainPATE:
    """Trains teachers and student one by one, by a recipe that is told rows and labels."""

    inner: SklearnRecipe | FunctionRecipe
    defence: PATE
    reserve: IntArray

    def fingerprint(self) -> str:
        """Return a text of the inner recipe, of every parameter of the defence, and of the reserved rows."""
        parts = {
            "pate": 1,
            "inner": self.inner.fingerprint(),
            "defence": described(self.defence),
            "reserve": digest("rows", {"rows": np.asarray(self.reserve, np.int64)}),
        }
        return json.dumps(parts, sort_keys=True)

    def fit(self, records: Records, rows: IntArray, seed: int) -> Target:
        """Train one model on ``rows`` of ``records``."""
        own = asked(self.reserve, self.defence.queries, seed)
        taught, labels = lesson(self.defence, self.votes(records, rows, seed), own, seed)
        y = np.zeros_like(records.y)
        y[taught] = labels
        return self.inner.fit(replace(records, y=y), taught, seed)

    def votes(self, records: Records, rows: IntArray, seed: int) -> IntArray:
        """Return the (queries, classes) votes that the model of ``rows`` is taught by, without noise: to be kept."""
        if records.task != "classification":
            raise ConfigError("The defence 'pate' needs classes, but these records have numbers as labels.")
        if len(np.intersect1d(rows, self.reserve)):
            raise UsageError("The defence 'pate' keeps records of its own, and some of them are to be trained on.")
        own = asked(self.reserve, self.defence.queries, seed)
        x = records.rows_of(own)
        return counted(list(self._answers(records, rows, seed, x)), len(own), len(records.classes))

    def _answers(self, records: Records, rows: IntArray, seed: int, x: Any) -> Iterator[IntArray]:
        for k, shard in enumerate(shards(records, rows, self.defence.teachers, seed)):
            if len(shard) < FEWEST:
                continue
            if len(kinds := np.unique(records.y[shard])) == 1:
                # Many estimators refuse to learn from one class, and there is nothing to learn.
                yield np.full(len(x), kinds[0], np.int64)
                continue
            yield _labels(self.inner.fit(records, shard, seed_for(seed, "pate", "teacher", k)), x)


def _labels(teacher: Target, x: Any) -> IntArray:
    return np.asarray(teacher.query(x, Access.LABEL).values, np.int64)
