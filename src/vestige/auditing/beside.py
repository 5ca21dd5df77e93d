"""Models of other records beside the target: asked about the audited records, none of which they trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vestige.attacks.assemble import Field
from vestige.records import Records
from vestige.signals.base import Signals, SignalTable
from vestige.split import Split


def joined(home: Records, away: Records) -> Records | None:
    """Return both sets of records as one, those at home first; None when no one model could be shown both."""
    if home.classes != away.classes:
        return None
    frames = [hasattr(side.x, "iloc") for side in (home, away)]
    x: Any
    if all(frames):
        if list(home.x.columns) != list(away.x.columns) or list(home.x.dtypes) != list(away.x.dtypes):
            return None
        import pandas as pd

        x = pd.concat([home.x, away.x], ignore_index=True)
    elif any(frames) or home.x.shape[1:] != away.x.shape[1:]:
        return None
    else:
        x = np.concatenate([home.x, away.x])
    y = np.concatenate([home.y, away.y])
    return Records(x, y, np.arange(len(y), dtype=np.int64), None, home.classes, f"{home.name} and {away.name}")


def joint_split(split: Split, before: int) -> Split:
    """Return a split of other records as one of all records, with ``before`` records in front that no model has."""
    masks = np.zeros((len(split.masks), before + split.masks.shape[1]), bool)
    masks[:, before:] = split.masks
    return replace(split, masks=masks, audited=split.audited + before, population=split.population + before)


def all_outside(home: Field, away: Split, theirs: SignalTable) -> Field:
    """Return the field at home with other models in place of its own: none of them trained on any of its records.

    ``theirs``: what they say of the home field's rows; the first of them stands in for the target elsewhere and is left
    out here.
    """
    masks = np.zeros((len(away.masks), len(home.records)), bool)
    masks[0] = home.split.masks[0]
    columns: dict[str, Sequence[Signals | None] | Signals] = {
        key: [home.table.model(key, 0), *(theirs.model(key, m) for m in range(1, theirs.models))]
        for key in theirs.columns
        if key in home.table.columns
    }
    table = SignalTable(columns, len(home.rows), theirs.models)
    split = replace(home.split, masks=masks, blocks=away.blocks, design=away.design)
    return replace(home, split=split, table=table)
