"""Draw who trains on what, as a config asks and an existing target allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.auditing.inputs import Inputs
from vestige.config import AuditConfig
from vestige.errors import DataError, UsageError
from vestige.seeds import rng
from vestige.split import MAX_BLOCK, Split, draw
from vestige.split_checks import Design
from vestige.target import BoolArray, IntArray

FEWEST_HELD_OUT = 100
SMALLEST_SHARE = 0.05
NEAR_ENOUGH = 0.15


def draw_split(config: AuditConfig, inputs: Inputs, shadows: int) -> Split:
    """Return the split of an audit with that many shadow models; raises UsageError or DataError in one sentence."""
    if config.audit.targets > 1 + shadows:
        raise UsageError(
            f"[audit] targets = {config.audit.targets} needs at least {config.audit.targets - 1} shadow models "
            f"of the audited records, and there are {shadows}."
        )
    members, masks = inputs.members, None
    if config.shadow.masks is not None and shadows:
        masks = read_masks(Path(config.shadow.masks), shadows, len(inputs.records))
    population = 0.0 if masks is not None else config.data.population
    if members is not None:
        population = _population_share(members, population)
    fraction = config.shadow.fraction
    if fraction is None:
        fraction = 0.5 if members is None else _convenient(_member_share(members, population))
    design: Design = config.shadow.design if masks is None else "given"
    if design == "blocks" and not SMALLEST_SHARE <= fraction <= 1 - SMALLEST_SHARE:
        design = "bernoulli"  # no block of ten models could hold such a share
    return draw(
        len(inputs.records),
        shadows=shadows,
        seed=config.seed,
        fraction=fraction,
        design=design,
        groups=inputs.records.groups,
        population=population,
        members=members,
        masks=masks,
        audited=_scored(config, inputs),
        coins=config.claim is not None,
    )


def draw_target(config: AuditConfig, inputs: Inputs) -> Split:
    """Return the split of the target alone, however many models will take its place later."""
    audit = config.audit.model_copy(update={"targets": 1})
    return draw_split(config.model_copy(update={"audit": audit}), inputs, 0)


def check_targets(split: Split, targets: int, needs: Mapping[str, int]) -> None:
    """Raise UsageError when fewer models than asked can take the target's place, before any is trained.

    ``needs``: the fewest references of each attack that has any. Models of one block never attack each other.
    """
    if targets < 2:
        return
    sizes = np.unique(split.blocks[1:], return_counts=True)[1]
    whole, left = int((sizes == sizes.max()).sum()), split.shadows - int(sizes.max())
    short = [label for label, least in needs.items() if least > left]
    if whole < targets - 1 or short:
        able = 1 if short else 1 + whole
        raise UsageError(
            f"[audit] targets = {targets}, but only {able} model(s) can take the target's place"
            f"{' under ' + ', '.join(short) if short else ''} with {split.shadows} shadow models.",
            hint="Ask for fewer targets or more shadow models: models of one block never attack each other.",
        )


def _scored(config: AuditConfig, inputs: Inputs) -> IntArray | None:
    """Return which records of an existing target are scored when [data] limit leaves some out."""
    limit, count = config.data.limit, len(inputs.records)
    if inputs.members is None or limit is None or limit >= count:
        return None
    rows: IntArray = np.sort(rng(config.seed, "limit").permutation(count)[:limit])
    return rows


def read_masks(path: Path, shadows: int, records: int) -> BoolArray:
    """Return the (M, N) training masks in an .npy file: 1 where shadow model m trains on record n."""
    try:
        masks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"Could not read shadow masks from '{path}': {error}.", hint="Save them with numpy.save."
        ) from error
    if not isinstance(masks, np.ndarray) or masks.shape != (shadows, records):
        got = masks.shape if isinstance(masks, np.ndarray) else "several arrays"
        raise DataError(
            f"Expected shadow masks of shape ({shadows}, {records}), one row per shadow model, got {got}.",
            hint="[shadow] count must be the number of rows.",
        )
    return np.asarray(masks, bool)


def _population_share(members: BoolArray, asked: float) -> float:
    """Return the share of all records to hold out so that the non-members lose only the share that was asked for."""
    held_out = int(int((~members).sum()) * asked)
    return held_out / len(members) if held_out >= FEWEST_HELD_OUT else 0.0


def _convenient(share: float) -> float:
    """Return the simplest k/B near a target's share of the records, or the share itself.

    Small blocks leave more references when a model takes the target's place, and shadow models of 50 instead of 55 % of
    the records are hardly different ones.
    """
    for size in range(2, MAX_BLOCK + 1):
        nearest = min(max(round(share * size), 1), size - 1) / size
        if abs(nearest - share) <= NEAR_ENOUGH * min(share, 1 - share):
            return nearest
    return share


def _member_share(members: BoolArray, population: float) -> float:
    inside = int(members.sum())
    if not 0 < inside < len(members):
        raise DataError(f"Expected both members and non-members, got {inside} members among {len(members)} records.")
    return inside / (len(members) * (1 - population))
