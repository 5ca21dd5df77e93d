"""Draw who trains on what, as a config asks and an existing target allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vestige.auditing.inputs import Inputs
from vestige.config import AuditConfig
from vestige.errors import DataError, UsageError
from vestige.split import Split, draw
from vestige.target import BoolArray

FEWEST_HELD_OUT = 100


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
        fraction = 0.5 if members is None else _member_share(members, population)
    return draw(
        len(inputs.records),
        shadows=shadows,
        seed=config.seed,
        fraction=fraction,
        design=config.shadow.design if masks is None else "given",
        groups=inputs.records.groups,
        population=population,
        members=members,
        masks=masks,
    )


def read_masks(path: Path, shadows: int, records: int) -> BoolArray:
    """Return the (M, N) training masks in an .npy file: 1 where shadow model m trains on record n."""
    try:
        masks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"Could not read shadow masks from '{path}': {error}.", hint="Save them with numpy.save.") from error
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


def _member_share(members: BoolArray, population: float) -> float:
    inside = int(members.sum())
    if not 0 < inside < len(members):
        raise DataError(f"Expected both members and non-members, got {inside} members among {len(members)} records.")
    return inside / (len(members) * (1 - population))
