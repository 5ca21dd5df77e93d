"""How models come to be updated: a recipe around a recipe, whose models are pairs or sequences of snapshots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vestige.backends.tuning import tune
from vestige.backends.updated import Updated
from vestige.errors import DataError, ModelError, UsageError
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.target import IntArray, Recipe, Target

Kind = Literal["fine_tune", "retrain", "unlearn"]
ARITHMETIC = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class UpdateRecipe:
    """Train a model, then update it: the rows that a recipe is told to train on are those of the update.

    ``inner``: how each snapshot is trained. ``base``: the records that snapshots share, as `Records` or as (x, y); none
    of them is among the records of the audit. ``share``: how much of the base each model draws for itself; 1 stands for
    an adversary who knows the target's. ``kind``: ``fine_tune`` trains on the base, then goes on with the rows alone;
    ``retrain`` trains on the base, then anew on base and rows; ``unlearn`` trains on base and rows, then anew without
    the rows. ``steps``: the rows are dealt to so many updates, one after another, each a snapshot more.
    ``tune_epochs``, ``tune_lr``: of fine-tuning; by default those of the recipe. Raises UsageError for an option
    that cannot be.
    """

    inner: Recipe
    base: Records | tuple[Any, Any]
    kind: Kind = "fine_tune"
    share: float = 0.5
    steps: int = 1
    tune_epochs: int | None = None
    tune_lr: float | None = None

    def __post_init__(self) -> None:
        given: object = self.inner
        if not isinstance(given, Recipe) or isinstance(given, UpdateRecipe):
            raise UsageError(f"Expected the recipe of one snapshot, got a {type(self.inner).__name__}.")
        if self.kind not in get_args(Kind):
            raise UsageError(f"Expected an update to be {', '.join(get_args(Kind))}, got '{self.kind}'.")
        if not 0 < self.share <= 1 or self.steps < 1:
            raise UsageError(
                f"Expected a share of the base above 0 and at most 1, and at least one step, got {self.share} and "
                f"{self.steps}."
            )
        if self.kind != "fine_tune" and (self.tune_epochs is not None or self.tune_lr is not None):
            raise UsageError(f"Epochs and lr of an update are for fine_tune; {self.kind} trains by the recipe's own.")

    @property
    def removes(self) -> bool:
        """Whether the update takes records away."""
        return self.kind == "unlearn"

    def fit(self, records: Records, rows: IntArray, seed: int) -> Updated:
        """Train one model and update it by ``rows`` of ``records``."""
        return self.fit_many(records, [rows], [seed])[0]

    def fit_many(self, records: Records, rows: Sequence[IntArray], seeds: Sequence[int]) -> list[Updated]:
        """Train and update one model per entry of ``rows``, all of one step together where the recipe can."""
        whole = self._whole(records)
        offset = len(whole) - len(records)
        bases = [self._drawn(offset, seed) for seed in seeds]
        parts = [[part + offset for part in self.parts(own, seed)] for own, seed in zip(rows, seeds, strict=True)]
        steps: list[list[Target]] = []
        for step in range(self.steps + 1):
            fresh = [seed_for(seed, "update", step) for seed in seeds]
            if self.kind == "fine_tune" and step:
                these = [own[step - 1] for own in parts]
                options: Any = {"epochs": self.tune_epochs, "lr": self.tune_lr}
                steps.append(tune(self.inner, whole, these, fresh, steps[-1], **options))
                continue
            kept = slice(step, None) if self.removes else slice(0, step)
            sets = [np.concatenate([base, *own[kept]]) for base, own in zip(bases, parts, strict=True)]
            steps.append(self._train(whole, [np.sort(one) for one in sets], fresh))
        return [Updated(snapshots, removed=self.removes) for snapshots in zip(*steps, strict=True)]

    def parts(self, rows: IntArray, seed: int) -> list[IntArray]:
        """Return which of the rows each update adds or removes; raises UsageError when there are too few."""
        if len(rows) < self.steps:
            raise UsageError(
                f"Expected at least one record for each of {self.steps} updates, got {len(rows)} records.",
                hint="Ask for fewer [update] steps.",
            )
        order = np.asarray(rows, np.int64)
        if self.steps > 1:
            order = rng(seed, "update", "parts").permutation(order)
        return [np.sort(part) for part in np.array_split(order, self.steps)]

    def restore(self, records: Records, state: Mapping[str, NDArray[Any]]) -> Updated:
        """Return the snapshots whose weights these are; raises ModelError where the recipe keeps none."""
        own: Any = getattr(self.inner, "restore", None)
        if own is None:
            raise ModelError(f"A {type(self.inner).__name__} keeps no weights to restore.")
        whole = self._whole(records)
        found: list[dict[str, NDArray[Any]]] = [{} for _ in range(self.steps + 1)]
        for name, value in state.items():
            place, _, key = name.partition("/")
            found[int(place)][key] = value
        return Updated([own(whole, arrays) for arrays in found], removed=self.removes)

    def chunk_size(self, records: Records) -> int:
        """Return how many models to train together: as many as the inner recipe does best."""
        choose: Any = getattr(self.inner, "chunk_size", None)
        return int(choose(records)) if callable(choose) else 1

    def fingerprint(self) -> str:
        """Return JSON text of everything that can change a snapshot."""
        facts = {
            "arithmetic": ARITHMETIC,
            "inner": self.inner.fingerprint(),
            "base": self._base_fingerprint,
            "update": self.kind,
            "share": self.share,
            "steps": self.steps,
            "epochs": self.tune_epochs,
            "lr": self.tune_lr,
        }
        return json.dumps(facts, sort_keys=True)

    @cached_property
    def _base_fingerprint(self) -> str:
        base = self.base if isinstance(self.base, Records) else Records.build(*self.base)
        return base.fingerprint

    def _train(self, whole: Records, rows: list[IntArray], seeds: list[int]) -> list[Target]:
        many: Any = getattr(self.inner, "fit_many", None)
        if many is not None:
            return list(many(whole, rows, seeds))
        return [self.inner.fit(whole, own, seed) for own, seed in zip(rows, seeds, strict=True)]

    def _drawn(self, count: int, seed: int) -> IntArray:
        """Return the rows of the base that one model trains on."""
        taken = max(1, round(count * self.share))
        return np.sort(rng(seed, "update", "base").permutation(count)[:taken]).astype(np.int64)

    def _whole(self, records: Records) -> Records:
        """Return the base, then the records, as one pool that scales are fitted on."""
        if isinstance(self.base, Records):
            return joined(self.base, records)
        x, y = self.base
        classes = records.classes or None
        return joined(Records.build(x, y, classes=classes, name="base", task=records.task), records)


def joined(first: Records, second: Records) -> Records:
    """Return two sets of one kind as one; raises DataError unless features and classes agree. Ids are new."""
    frames = [hasattr(one.x, "iloc") for one in (first, second)]
    alike = first.x.shape[1:] == second.x.shape[1:] and len(set(frames)) == 1
    if not alike or first.classes != second.classes:
        raise DataError(
            f"Expected the records before the update to be like those of the audit, with features of shape "
            f"{tuple(second.x.shape[1:])} and {len(second.classes)} classes, got {tuple(first.x.shape[1:])} and "
            f"{len(first.classes)}.",
            hint="Both must come from one table, or be encoded alike.",
        )
    if frames[0]:
        import pandas as pd

        if list(first.x.columns) != list(second.x.columns):
            raise DataError("Expected the records before the update to have the columns of those of the audit.")
        x: Any = pd.concat([first.x, second.x], ignore_index=True)
    else:
        x = np.concatenate([first.x, second.x])
    y = np.concatenate([first.y, second.y])
    return Records(x, y, np.arange(len(y), dtype=np.int64), None, second.classes, second.name)
