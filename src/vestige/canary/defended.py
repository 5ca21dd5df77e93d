"""Canaries under defences: the defender's own records lie beside them, and every model is trained and asked so.

A canary audit and a trade-off share what stands here, so that both judge by the rules of every other audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.canary.coins import Flips
from vestige.canary.design import Design
from vestige.canary.making import Canaries, make
from vestige.defend.layers import Layers
from vestige.defend.recipes import defended
from vestige.records import Records
from vestige.target import BoolArray, IntArray, Recipe


@dataclass(frozen=True, eq=False)
class Beside(Canaries):
    """Canaries in a pool whose last ``reserved`` records are the defender's own, and in no training set."""

    reserved: int = 0

    @property
    def own(self) -> IntArray:
        """The rows of the defender's own records."""
        return np.arange(len(self.pool) - self.reserved, len(self.pool), dtype=np.int64)

    @property
    def coined(self) -> IntArray:
        """All rows that not every model trains on: those of a coin, and the defender's own."""
        return np.concatenate([super().coined, self.own])

    def mask(self, coins: BoolArray) -> BoolArray:
        """Return (N,) bool, what a model with these (m,) coins trains on."""
        mask = super().mask(coins)
        mask[self.own] = False
        return mask


def bed(records: Records, reserve: Records | None, design: Design) -> Beside:
    """Return a design's canaries among ``records``, with the defender's own after them; raises DataError."""
    canaries = make(records, design)
    if reserve is None or not len(reserve):
        return Beside(canaries.pool, canaries.inside, canaries.instead)
    return Beside(_joined(canaries.pool, reserve), canaries.inside, canaries.instead, reserved=len(reserve))


def behind(recipe: Recipe, layers: Layers, canaries: Beside | None, design: Design) -> Recipe:
    """Return how the models are trained that the design's adversary faces; raises ConfigError where it cannot be."""
    return defended(recipe, layers.facing(design.sees), np.zeros(0, np.int64) if canaries is None else canaries.own)


def fewest(canaries: Canaries, flips: Flips) -> int:
    """Return the size of the smallest training set: of all trainings, the least is proven for that one."""
    return min(int(canaries.mask(coins).sum()) for coins in flips.targets)


def _joined(one: Records, other: Records) -> Records:
    groups = None
    if one.groups is not None and other.groups is not None:
        groups = np.concatenate([one.groups, other.groups])
    ids = np.concatenate([one.ids, other.ids])
    return Records(_stacked(one.x, other.x), np.concatenate([one.y, other.y]), ids, groups, one.classes, one.name)


def _stacked(one: Any, other: Any) -> Any:
    if hasattr(one, "iloc"):
        import pandas

        return pandas.concat([one, other], ignore_index=True)
    return np.concatenate([one, other])
