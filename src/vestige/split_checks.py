"""What may be asked of a split.

Options, member lists, groups, masks and audited rows, each checked before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from vestige.errors import DataError, UsageError
from vestige.target import BoolArray, IntArray

Design = Literal["blocks", "bernoulli", "given"]


def check_options(n: int, shadows: int, fraction: float, design: str, population: float, masks: Any) -> None:
    """Raise UsageError for an option that cannot mean anything."""
    checks: list[tuple[bool, Callable[[], str]]] = [
        (n >= 2, lambda: f"Expected at least 2 records to split, got {n}."),
        (shadows >= 0, lambda: f"Expected the number of shadow models to be 0 or more, got {shadows}."),
        (0 < fraction < 1, lambda: f"Expected the fraction to lie strictly between 0 and 1, got {fraction}."),
        (
            0 <= population < 1,
            lambda: f"Expected the population's share to be at least 0 and below 1, got {population}.",
        ),
        (
            design in ("blocks", "bernoulli", "given"),
            lambda: f"Expected the design to be 'blocks', 'bernoulli' or 'given', got '{design}'.",
        ),
        ((masks is not None) == (design == "given"), lambda: "Masks go with the design 'given', and only with it."),
    ]
    for holds, message in checks:
        if not holds:
            raise UsageError(message())


def _as_mask(values: Any, shape: tuple[int, ...], what: str) -> BoolArray:
    mask = np.asarray(values)
    if mask.shape != shape:
        raise DataError(f"Expected {what} of shape {shape}, got {mask.shape}.")
    if mask.dtype.kind not in "biu" or (mask.dtype.kind != "b" and not np.isin(mask, (0, 1)).all()):
        raise DataError(f"Expected {what} to be true or false (or 0 and 1), got dtype {mask.dtype}.")
    return mask.astype(bool)


def known_members(members: Any, n: int) -> BoolArray:
    """Return the (n,) mask of an existing target's members; raise DataError when it has only one kind."""
    mask = _as_mask(members, (n,), "the members mask")
    if mask.all():
        raise DataError(
            "Expected both members and non-members, but every record is a member.",
            hint="Add records that the target was not trained on.",
        )
    if not mask.any():
        raise DataError(
            "Expected both members and non-members, but no record is a member.",
            hint="Check that the member list and the records use the same ids.",
        )
    return mask


def audited_rows(audited: Any, n: int) -> IntArray:
    """Return the audited rows, ascending; raise DataError when they are not distinct rows of the n records."""
    rows = np.asarray(audited)
    if rows.dtype.kind == "b":
        return np.flatnonzero(_as_mask(rows, (n,), "the audited mask")).astype(np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise DataError(
            f"Expected the audited rows to be a list of row numbers, got dtype {rows.dtype} and shape {rows.shape}."
        )
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise DataError(f"Expected distinct audited rows between 0 and {n - 1}, got {rows.min()} to {rows.max()}.")
    return np.sort(rows.astype(np.int64))


def group_codes(groups: Any, n: int) -> IntArray:
    """Return (n,) group codes from 0 on; raise DataError when there are fewer than two groups."""
    codes = np.asarray(groups)
    if codes.shape != (n,):
        raise DataError(f"Expected one group per record, got {n:,} records and groups of shape {codes.shape}.")
    result = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    if result.max() < 1:
        raise DataError("Expected at least two groups, got one: members and non-members could not be told apart.")
    return result


def given_masks(masks: Any, n: int, shadows: int, codes: IntArray | None) -> BoolArray:
    """Return the caller's masks; raise DataError when one is empty, full, or divides a group."""
    given = _as_mask(masks, (shadows, n), "the masks of the shadow models")
    sums = given.sum(axis=1)
    for model in np.flatnonzero((sums == 0) | (sums == n)).tolist():
        raise DataError(
            f"Expected every shadow model to train on some records but not all, got {sums[model]} of {n} for model "
            f"{model}."
        )
    if codes is not None:
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        astray = given != given[:, first[inverse]]
        if astray.any():
            model, row = (int(v) for v in np.argwhere(astray)[0])
            raise DataError(
                f"Expected each group wholly inside or outside every mask, but mask {model} divides the group of row "
                f"{row}."
            )
    return given
