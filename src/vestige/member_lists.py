"""Member lists: a file of ids → which records an existing target was trained on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError
from vestige.records import Records


def read_members(path: str | Path, records: Records) -> NDArray[np.bool_]:
    """Return (N,) bool, True for the records whose id is in the file.

    .txt: one id per line; .csv: the column ``id``, or the only column; .json: a list of ids; .npy: an array of ids, or
    a bool mask with one entry per record. Raises DataError when an id is unknown, or when the list matches no record or
    every record.
    """
    file = Path(path)
    listed = _read(file)
    if isinstance(listed, np.ndarray) and listed.dtype.kind == "b":
        if listed.shape != (len(records),):
            raise DataError(f"Expected a mask with {len(records):,} entries in {file}, got shape {listed.shape}.")
        return check_both(listed, str(file))
    wanted = _as_ids(np.asarray(listed).tolist(), records, file)
    mask = np.isin(records.ids, wanted)
    unknown = wanted[~np.isin(wanted, records.ids)]
    if len(unknown) == len(wanted):
        raise DataError(
            f"None of the {len(wanted):,} ids in {file} belongs to a record; it has ids such as '{wanted[0]}', the "
            f"records '{records.ids[0]}'.",
            hint="Check that both use the same ids.",
        )
    if len(unknown):
        raise DataError(
            f"Expected ids of records in {file}, got {len(unknown):,} of {len(wanted):,} that belong to none; for "
            f"example '{unknown[0]}'.",
            hint="Remove them, or give all the records that the target was trained on.",
        )
    return check_both(mask, str(file))


def check_both(mask: NDArray[np.bool_], source: str) -> NDArray[np.bool_]:
    """Return ``mask`` when it has members and non-members; raise DataError otherwise."""
    if mask.all():
        raise DataError(
            f"Expected members and non-members, but by {source} every record is a member.",
            hint="Add records that the target was not trained on.",
        )
    if not mask.any():
        raise DataError(
            f"Expected members and non-members, but by {source} no record is a member.",
            hint="Check that it speaks of these records.",
        )
    return mask


def _read(path: Path) -> Any:
    readers: dict[str, Callable[[Path], Any]] = {".txt": _lines, ".csv": _csv_ids, ".json": _json_ids, ".npy": _array}
    if path.is_dir():
        raise DataError(f"Expected a file of ids, got the folder '{path}'.", hint="Name the file inside it.")
    if path.suffix.lower() not in readers:
        raise DataError(f"Expected a member list that ends in {', '.join(readers)}, got {path}.")
    try:
        listed = readers[path.suffix.lower()](path)
    except FileNotFoundError as error:
        raise DataError(f"There is no member list {path}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"Expected {path} to be UTF-8 text: {error.reason} at byte {error.start}.") from error
    except (OSError, EOFError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"Could not read the member list {path}: {error}.") from error
    if len(listed) == 0:
        raise DataError(f"Expected ids of members in {path}, got an empty list.")
    return listed


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]


def _csv_ids(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    if not rows:
        return []
    header = [cell.strip() for cell in rows[0]]
    if "id" in header or "ids" in header:
        position = header.index("id" if "id" in header else "ids")
        return [row[position].strip() for row in rows[1:] if position < len(row)]
    if len(header) > 1:
        raise DataError(f"Expected a column 'id' in {path}, or a single column; it has {', '.join(header[:8])}.")
    return [row[0].strip() for row in rows]


def _json_ids(path: Path) -> list[Any]:
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, list) or not all(isinstance(value, int | str) for value in content):
        raise DataError(f"Expected {path} to hold a list of ids.")
    return content


def _array(path: Path) -> NDArray[Any]:
    try:
        array = np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged header is read as Python source, which fails in many ways
        raise DataError(
            f"Expected {path} to be a whole .npy file of numbers or texts, but it is damaged, cut short or pickled.",
            hint="Write it again with numpy.save.",
        ) from error
    if array.ndim != 1 or array.dtype.kind not in "biuUS":
        raise DataError(f"Expected a list of ids or a mask in {path}, got dtype {array.dtype} and shape {array.shape}.")
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


def _as_ids(values: list[Any], records: Records, path: Path) -> NDArray[Any]:
    """Return the distinct ids in the dtype of the records' own."""
    if records.ids.dtype.kind != "i":
        return np.unique(np.array([str(value) for value in values]))
    try:
        return np.unique(np.array([int(value) for value in values], np.int64))
    except (ValueError, OverflowError) as error:
        odd = next(str(v) for v in values if not str(v).lstrip("-").isdigit() or abs(int(v)) >= 2**63)
        raise DataError(f"Expected whole numbers in {path}, as the records' ids are, got '{odd}'.") from error
