"""Split: who trained on what. Row 0 is the target; its draw is independent of every shadow model's.

Shadow models come in blocks. Within a block of B models every record is IN exactly k of them (for the usual half split,
pairs of complementary halves). When a model takes the target's place, its whole block leaves the references, so that
the number of IN models a record has left never depends on whether the target trained on it. A last block that was cut
short because the count is not a multiple of B keeps this true: it is drawn independently of the target, and leaves as a
whole like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, UsageError
from vestige.seeds import rng
from vestige.split_checks import Design, audited_rows, check_options, given_masks, group_codes, known_members
from vestige.target import BoolArray, IntArray

MAX_BLOCK = 10
_COUNTABLE = 40
"""Up to this many records or groups the number of different draws is counted; beyond it no pool is too large."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which of N records each of 1 + M models trains on.

    ``masks``: (1 + M, N) bool, row 0 the target; ``blocks``: (1 + M,) int64, equal for models that are never each
    other's references; ``audited``: the rows that are scored; ``population``: rows that no model trains on; ``seed``
    and ``design`` say how it was drawn. ``coin``: the probability with which each record, or group, came into the
    target's training set independently of all others; None where the target was not drawn by coins.
    """

    masks: BoolArray
    blocks: IntArray
    audited: IntArray
    population: IntArray
    seed: int
    design: Design
    coin: float | None = None

    @property
    def shadows(self) -> int:
        """The number of shadow models, M."""
        return len(self.masks) - 1

    def rows(self, model: int) -> IntArray:
        """Return the rows that ``model`` trains on, ascending."""
        return np.flatnonzero(self.masks[model]).astype(np.int64)

    def references(self, target: int = 0) -> IntArray:
        """Return the shadow models that may be references when ``target`` is attacked."""
        others = np.arange(1, len(self.masks), dtype=np.int64)
        references: IntArray = others[self.blocks[others] != self.blocks[target]]
        return references


def draw(
    n: int,
    *,
    shadows: int,
    seed: int,
    fraction: float = 0.5,
    design: Design = "blocks",
    groups: IntArray | None = None,
    population: float = 0.0,
    members: Any = None,
    masks: Any = None,
    audited: Any = None,
    coins: bool = False,
) -> Split:
    """Draw the training sets of one target and ``shadows`` shadow models over ``n`` records.

    ``fraction``: the share of the pool that a model trains on; the target gets exactly that share rounded down, a block
    of shadow models the nearest k/B with B ≤ 10. ``design``: ``blocks`` as described above; ``bernoulli``, an
    independent coin per record and model; ``given``, the (M, n) ``masks`` of the caller. ``groups``: (n,) codes;
    records of one group go the same way in every model. ``population``: the share of the n records that no model trains
    on. ``members``: (n,) bool, what an existing target was trained on, in place of a draw. ``audited``: the rows to
    score, as indices or as a mask; by default all outside the population. ``coins``: draw the target by an independent
    coin per record or group, which lower bounds on ε from one training need, in place of an exact share.

    A block depends only on the seed and its own number: asking for more shadow models never changes the earlier ones.
    Raises UsageError for impossible options, DataError for member lists, groups or masks that cannot be audited.
    """
    check_options(n, shadows, fraction, design, population, masks)
    known = None if members is None else known_members(members, n)
    scored = None if audited is None else audited_rows(audited, n)
    codes = None if groups is None else group_codes(groups, n)
    given = given_masks(masks, n, shadows, codes) if design == "given" else None
    outside = _population(n, population, seed, codes, _excluded(n, known, scored, given))
    pool = np.setdiff1d(np.arange(n, dtype=np.int64), outside, assume_unique=True)
    units = _Units.of(pool, codes)

    result = np.zeros((1 + shadows, n), bool)
    flipped = coins and known is None
    if known is not None:
        result[0] = known
    else:
        choose = _flips if flipped else _share
        result[0] = units.spread(choose(units, fraction, rng(seed, "target")), n)
    blocks = np.full(1 + shadows, -1, np.int64)
    if given is not None:
        result[1:], blocks[1:] = given, _pairs(given)
    elif shadows:
        fill = _fill_blocks if design == "blocks" else _fill_coins
        fill(result[1:], blocks[1:], units, fraction, seed)
    rows = _checked_audited(scored, pool, result[0])
    return Split(result, blocks, rows, outside, seed, design, fraction if flipped else None)


@dataclass(frozen=True, eq=False)
class _Units:
    """What is drawn: records, or whole groups. ``unit``: the unit of every pool row; ``sizes``: records per unit."""

    pool: IntArray
    unit: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, pool: IntArray, codes: IntArray | None) -> _Units:
        if codes is None:
            return cls(pool, np.arange(len(pool), dtype=np.int64), np.ones(len(pool), np.int64))
        _, unit, sizes = np.unique(codes[pool], return_inverse=True, return_counts=True)
        if len(sizes) == len(pool):
            return cls.of(pool, None)
        return cls(pool, unit.astype(np.int64), sizes.astype(np.int64))

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def noun(self) -> str:
        return "records" if len(self) == len(self.pool) else "groups"

    def spread(self, chosen: BoolArray, n: int) -> BoolArray:
        """Return the (n,) mask of the records in the chosen units."""
        of_pool = chosen if len(self) == len(self.pool) else chosen[self.unit]
        if len(self.pool) == n:
            return of_pool
        mask = np.zeros(n, bool)
        mask[self.pool] = of_pool
        return mask


def _share(units: _Units, fraction: float, random: np.random.Generator) -> BoolArray:
    """Choose units that together hold the share of the records, rounded down.

    With groups as near to it as whole groups come.
    """
    order = random.permutation(len(units))
    filled = np.cumsum(units.sizes[order])
    wanted = math.floor(len(units.pool) * fraction + 1e-9)
    count = int(np.argmin(np.abs(filled - wanted))) + 1
    if wanted < 1 or count >= len(units):
        raise UsageError(
            f"Expected a fraction that gives the target some of the {len(units):,} {units.noun} and leaves some out, "
            f"got {fraction:g}.",
            hint="Add records, hold fewer out as population, or take a fraction nearer to one half.",
        )
    chosen = np.zeros(len(units), bool)
    chosen[order[:count]] = True
    return chosen


def _flips(units: _Units, fraction: float, random: np.random.Generator) -> BoolArray:
    chosen: BoolArray = random.random(len(units)) < fraction
    return chosen


def _fill_blocks(masks: BoolArray, blocks: IntArray, units: _Units, fraction: float, seed: int) -> None:
    share = _simple(fraction)
    k, size = share.numerator, share.denominator
    if len(units) < size:
        raise UsageError(
            f"Expected at least {size} {units.noun} for shadow models that train on {share} of them, got {len(units)}."
        )
    turns = [(np.arange(size) - j) % size < k for j in range(size)]
    for block in range(-(-len(masks) // size)):
        parts = _parts(units, size, rng(seed, "shadow", block))
        if block == 0:
            _check_possible(len(masks), units, [int(inside[parts].sum()) for inside in turns])
        for row in range(block * size, min((block + 1) * size, len(masks))):
            masks[row] = units.spread(turns[row % size][parts], masks.shape[1])
            blocks[row] = block


def _parts(units: _Units, size: int, random: np.random.Generator) -> NDArray[np.int8]:
    """Cut the units, in random order, into ``size`` parts of nearly equal numbers of records.

    Return each unit's part.
    """
    if len(units) == len(units.pool):
        return random.permutation((np.arange(len(units)) * size // len(units)).astype(np.int8))
    order = random.permutation(len(units))
    lengths = units.sizes[order]
    middles = np.cumsum(lengths) - lengths / 2
    parts = np.empty(len(units), np.int8)
    parts[order] = np.minimum(middles * size / len(units.pool), size - 1).astype(np.int8)
    if not np.bincount(parts, minlength=size).all():
        raise DataError(
            f"Expected groups that can be cut into {size} parts of similar size, got one with "
            f"{int(lengths.max()):,} of {len(units.pool):,} records.",
            hint="Use a fraction nearer to one half.",
        )
    return parts


def _fill_coins(masks: BoolArray, blocks: IntArray, units: _Units, fraction: float, seed: int) -> None:
    _check_possible(len(masks), units, range(1, len(units)))
    for model in range(len(masks)):
        chosen = rng(seed, "shadow", model).random(len(units)) < fraction
        if chosen.all() or not chosen.any():
            raise UsageError(
                f"Independent coins gave shadow model {model} {'all' if chosen.all() else 'none'} of the {len(units)} "
                f"{units.noun}.",
                hint="Use the design 'blocks', which is balanced, or more records.",
            )
        masks[model], blocks[model] = units.spread(chosen, masks.shape[1]), model


def _simple(fraction: float) -> Fraction:
    """Return the nearest k/B with 1 ≤ k < B ≤ MAX_BLOCK, the smallest B first."""
    choices = [Fraction(k, size) for size in range(2, MAX_BLOCK + 1) for k in range(1, size)]
    nearest = min(choices, key=lambda choice: abs(float(choice) - fraction))
    if abs(float(nearest) - fraction) > 0.5 / MAX_BLOCK:
        raise UsageError(
            f"Expected a fraction between {0.5 / MAX_BLOCK:g} and {1 - 0.5 / MAX_BLOCK:g} for the design 'blocks', got "
            f"{fraction:g}.",
            hint="The design 'bernoulli' takes any fraction.",
        )
    return nearest


def _pairs(masks: BoolArray) -> IntArray:
    """Return a block number per mask: two masks that complement each other share one, every other has its own."""
    blocks = np.arange(len(masks), dtype=np.int64)
    open_: dict[bytes, int] = {}
    for row, mask in enumerate(masks):
        partner = open_.pop(np.packbits(~mask).tobytes(), None)
        if partner is None:
            open_[np.packbits(mask).tobytes()] = row
        else:
            blocks[row] = blocks[partner]
    return blocks


def _check_possible(shadows: int, units: _Units, sizes: Any) -> None:
    if len(units) > _COUNTABLE:
        return
    possible = sum(math.comb(len(units), size) for size in set(sizes))
    if shadows > possible:
        raise UsageError(
            f"Expected at most {possible} shadow models, as many as there are different training sets of "
            f"{len(units)} {units.noun}, got {shadows}.",
            hint="Use fewer shadow models or more records.",
        )


def _excluded(n: int, known: BoolArray | None, scored: IntArray | None, given: BoolArray | None) -> BoolArray:
    """Return the rows that cannot serve as population: those trained on and those to be scored."""
    excluded = np.zeros(n, bool)
    if known is not None:
        excluded |= known
    if given is not None:
        excluded |= given.any(axis=0)
    if scored is not None:
        excluded[scored] = True
    return excluded


def _population(n: int, share: float, seed: int, codes: IntArray | None, excluded: BoolArray) -> IntArray:
    if share == 0:
        return np.zeros(0, np.int64)
    unit = np.arange(n, dtype=np.int64) if codes is None else codes
    sizes = np.bincount(unit)
    barred = np.zeros(len(sizes), bool)
    barred[unit[excluded]] = True
    order = rng(seed, "population").permutation(len(sizes))
    order = order[~barred[order]]
    wanted = math.floor(n * share + 1e-9)
    if wanted < 1:
        raise UsageError(
            f"Expected a population of at least one record, got a share of {share:g} of {n} records.",
            hint="Add records, or set population = 0.",
        )
    filled = np.cumsum(sizes[order])
    available = int(filled[-1]) if len(filled) else 0
    if available < wanted:
        raise DataError(
            f"Expected more records outside every training set than the {wanted:,} of the population, got "
            f"{available:,}.",
            hint="Ask for a smaller population, or add non-members.",
        )
    count = int(np.argmin(np.abs(filled - wanted))) + 1
    return np.flatnonzero(np.isin(unit, order[:count])).astype(np.int64)


def _checked_audited(scored: IntArray | None, pool: IntArray, target: BoolArray) -> IntArray:
    rows = pool if scored is None else scored
    inside = int(target[rows].sum())
    if inside in (0, len(rows)):
        raise DataError(
            f"Expected members and non-members among the audited records, got {inside:,} members of {len(rows):,}.",
            hint="Audit more records.",
        )
    return rows
