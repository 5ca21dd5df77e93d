"""Which group each record is of, and so which budget it has: by its id, by a public column, or by a list."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import ConfigError, DataError
from vestige.records import Records

COLUMN = "column:"
Groups = str | tuple[int, ...]
Value = str | int | float


def check_groups(groups: Groups, values: tuple[Value, ...], shares: tuple[float, ...]) -> None:
    """Raise ConfigError for groups that cannot be meant."""
    if isinstance(groups, str):
        if groups != "id" and not (groups.startswith(COLUMN) and len(groups) > len(COLUMN)):
            raise ConfigError(
                f"Expected groups to be 'id', '{COLUMN}' with a name or number, or a list, got {groups!r}."
            )
        if values and groups == "id":
            raise ConfigError("Ids decide groups by shares alone, and values are given.", hint="Remove values.")
    elif not all(type(one) is int and 0 <= one < len(shares) for one in groups):
        raise ConfigError(f"Expected groups to list numbers from 0 to {len(shares) - 1}, one per record.")
    elif values:
        raise ConfigError("A list of groups has group numbers, and values are given.", hint="Remove values.")
    if values and len(values) != len(shares):
        raise ConfigError(f"Expected one of values for each of {len(shares)} groups, got {len(values)}.")


def group_numbers(
    records: Records, groups: Groups, values: tuple[Value, ...], shares: tuple[float, ...]
) -> NDArray[np.int64]:
    """Return (N,) each record's group, from 0 to P − 1; a record's group depends on no other record.

    Raises DataError where a record has none of the groups.
    """
    if isinstance(groups, str) and groups == "id":
        points = np.array([_point(str(one)) for one in records.ids.tolist()])
        edges = np.cumsum(shares)[:-1] / np.sum(shares)
        return np.asarray(np.searchsorted(edges, points, side="right"), np.int64)
    if not isinstance(groups, str):
        if len(groups) != len(records):
            raise DataError(f"Expected one group for each of {len(records)} records, got {len(groups)}.")
        return np.asarray(groups, np.int64)
    found = _column(records, groups)
    wanted = np.asarray(values or range(len(shares)))
    if wanted.dtype.kind in "US":
        found = found.astype(str)
    match = found[:, None] == wanted[None, :]
    missing = ~match.any(1)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} records have a group that no budget is of, the first of them "
            f"{found[missing][0]!r} where {', '.join(map(repr, wanted.tolist()))} were expected.",
            hint="List the groups' values in the order of their budgets.",
        )
    return np.asarray(match.argmax(1), np.int64)


def _point(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"vestige groups").digest()
    return int.from_bytes(digest, "big") / 2**64


def _column(records: Records, groups: str) -> NDArray[Any]:
    name = groups.removeprefix(COLUMN)
    if hasattr(records.x, "iloc"):
        if name not in records.x.columns:
            raise DataError(f"These records have no column '{name}'.", hint="Name one of the features.")
        return np.asarray(records.x[name])
    x = np.asarray(records.x)
    if x.ndim != 2 or not name.isdigit() or int(name) >= x.shape[1]:
        raise DataError(f"These records have no column '{name}'.", hint="Features without names go by number, from 0.")
    return np.asarray(x[:, int(name)])
