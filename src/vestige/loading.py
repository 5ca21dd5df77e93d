"""Files and torch datasets → Records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.errors import DataError, UsageError
from vestige.labels import Task
from vestige.member_lists import check_both, read_members
from vestige.records import Records
from vestige.registry import did_you_mean
from vestige.table_files import read_csv, read_parquet
from vestige.tables import Categorical, Table, encode, shorten

__all__ = ["Loaded", "from_torch", "load_file", "read_members"]

_ALIASES = {
    "x": ("x", "X", "features"),
    "label": ("y", "label", "labels"),
    "id": ("ids", "id"),
    "group": ("groups", "group"),
    "member": ("member", "members"),
}
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a file held: the records and, when it says so, which of them an existing target was trained on."""

    records: Records
    members: NDArray[np.bool_] | None = None


def load_file(
    path: str | Path,
    *,
    label: str = "label",
    id: str | None = None,
    group: str | None = None,
    member: str | None = None,
    columns: Sequence[str] | None = None,
    categorical: Categorical = "onehot",
    standardise: bool = False,
    task: Task | None = None,
    prior: str | None = None,
) -> Loaded:
    """Read records from a .npz, .safetensors, .csv, .tsv or .parquet file.

    Arrays: ``x`` and ``y``, and where present ``ids``, ``groups`` and ``member``. Tables: the column ``label`` is the
    label; ``id``, ``group`` and ``member`` name columns (by default those of these very names, where present); all
    others, or just ``columns``, are features, encoded as `vestige.tables.encode` says. ``member`` holds 0 and 1;
    ``prior`` names a column of probabilities of membership. Raises DataError for anything that cannot be audited.
    """
    file = Path(path)
    readers: dict[str, Callable[[Path], Table | dict[str, NDArray[Any]]]] = {
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
    }
    check_readable(file)
    if file.suffix.lower() not in readers:
        raise DataError(
            f"Expected a file that ends in {', '.join(readers)}, got {file}.", hint="Convert it to one of these."
        )
    if categorical not in ("onehot", "ordinal", "frame"):
        raise UsageError(f"Expected categorical to be 'onehot', 'ordinal' or 'frame', got '{categorical}'.")
    content = readers[file.suffix.lower()](file)
    if isinstance(content, Table):
        x, y, ids, groups, inside, known = _from_table(
            content, label, id, group, member, prior, columns, categorical, standardise
        )
    elif columns is not None:
        raise UsageError(f"Columns can be chosen from tables only, and {file} holds arrays.")
    else:
        x, y, ids, groups, inside, known = _from_arrays(content, file, label, id, group, member, prior)
    records = Records.build(x, y, ids=ids, groups=groups, name=file.stem, task=task, prior=known)
    return Loaded(records, None if inside is None else _as_members(inside, len(records), file))


def check_readable(path: Path) -> None:
    """Raise DataError, with the closest names beside it, when ``path`` is not a file with something in it."""
    if path.is_dir():
        raise DataError(f"Expected a file, got the folder {path}.", hint="Name the file inside it.")
    try:
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, beside) or (
                "" if path.parent.is_dir() else f"The folder {path.parent} is missing too."
            )
            raise DataError(f"There is no file {path}.", hint=hint)
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise DataError(f"Could not read {path}: {error.strerror or error}.") from error
    if empty:
        raise DataError(f"Expected records in {path}, got an empty file.", hint="Write or copy it again.")


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise DataError(
                    f"Expected {path} to hold several named arrays, got a single one.", hint="Save it with numpy.savez."
                )
            with content:
                for key in content.files:
                    arrays[key] = _member_of(content, key, path)
    except DataError:
        raise
    except Exception as error:  # a damaged header is read as Python source, which fails in many ways
        raise DataError(
            f"Expected {path} to be a whole .npz file, but it is damaged or cut short.", hint="Copy or write it again."
        ) from error
    return arrays


def _member_of(content: Any, key: str, path: Path) -> NDArray[Any]:
    try:
        return np.asarray(content[key])
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"Expected arrays of numbers or texts in {path}, but '{key}' holds Python objects, which are not read "
                "because they can run code.",
                hint="Save it with a plain dtype such as float32 or U.",
            ) from error
        raise


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file as load_tensors

    try:
        return dict(load_tensors(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"Expected {path} to be a whole .safetensors file: {str(error).rstrip('.')}.") from error
    except (KeyError, TypeError) as error:
        raise DataError(
            f"Expected tensors of a dtype that numpy knows in {path}, got {error}.", hint="Save them as float32."
        ) from error


def _from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    path: Path,
    label: str,
    id: str | None,
    group: str | None,
    member: str | None,
    prior: str | None,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    def find(role: str, asked: str | None, required: bool) -> NDArray[Any] | None:
        for name in (asked,) if asked else _ALIASES[role]:
            if name in arrays:
                return arrays[name]
        if required or asked:
            wanted = asked or _ALIASES[role][0]
            raise DataError(
                f"There is no array '{wanted}' in {path}; it has {shorten(list(arrays))}.",
                hint=did_you_mean(wanted, list(arrays))
                or "Expected x and y, and where they apply ids, groups and member.",
            )
        return None

    x = find("x", None, True)
    y = find("label", None if label == "label" else label, True)
    known = None if prior is None else find("prior", prior, True)
    return x, y, find("id", id, False), find("group", group, False), find("member", member, False), known


def _from_table(
    table: Table,
    label: str,
    id: str | None,
    group: str | None,
    member: str | None,
    prior: str | None,
    columns: Sequence[str] | None,
    categorical: Categorical,
    standardise: bool,
) -> tuple[Any, Any, Any, Any, Any, Any]:
    table.require(label, "label")
    roles: dict[str, str | None] = {}
    for role, asked in (("id", id), ("group", group), ("member", member)):
        if asked is not None:
            table.require(asked, role)
        by_default = role in table and role not in (columns or ()) and role != label
        roles[role] = asked or (role if by_default else None)
    if prior is not None:
        table.require(prior, "prior")
    taken = {label, prior, *roles.values()}
    for name in columns or ():
        table.require(name, "feature")
        if name in taken:
            raise DataError(
                f"Expected features other than the label, id, group and member, got '{name}' among the columns."
            )
    names = list(columns) if columns is not None else [name for name in table.columns if name not in taken]
    if not names:
        raise DataError(
            f"Expected at least one feature in {table.path} besides {shorten([t for t in taken if t])}, got none."
        )
    keys = {role: None if name is None else table.keys(name) for role, name in roles.items()}
    x = encode(table, names, categorical=categorical, standardise=standardise)
    known = None if prior is None else table.column(prior)
    return x, table.keys(label), keys["id"], keys["group"], keys["member"], known


def _as_members(values: NDArray[Any], count: int, path: Path) -> NDArray[np.bool_]:
    if values.shape != (count,):
        raise DataError(
            f"Expected one member entry per record in {path}, got {count:,} records and shape {values.shape}."
        )
    texts = [str(value).lower() for value in values.tolist()]
    odd = next((row for row, text in enumerate(texts) if text not in _TRUE + _FALSE), None)
    if odd is not None:
        raise DataError(f"Expected member to be 0 or 1 for every record in {path}, got '{texts[odd]}' in row {odd}.")
    return check_both(np.array([text in _TRUE for text in texts], bool), f"the member column of {path}")


def from_torch(dataset: Any, *, name: str = "records", task: Task | None = None) -> Records:
    """Read a map-style torch ``Dataset`` of (features, label) pairs, sample by sample, into records.

    Only its length and its items are used. Raises DataError when an item is not such a pair, or changes from one
    reading to the next.
    """
    try:
        count = len(dataset)
    except TypeError as error:
        raise DataError("Expected a map-style dataset with a length; an iterable one has no stable records.") from error
    if count < 2:
        raise DataError(f"Expected at least 2 records, got a dataset of {count}.")
    pairs = [_pair(dataset[row], row) for row in range(count)]
    shapes = [features.shape for features, _ in pairs]
    odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is not None:
        raise DataError(
            f"Expected samples of one shape, got {shapes[0]} for sample 0 and {shapes[odd]} for sample {odd}."
        )
    if not np.array_equal(_pair(dataset[0], 0)[0], pairs[0][0], equal_nan=pairs[0][0].dtype.kind == "f"):
        raise DataError(
            "Expected the same sample at every reading, but sample 0 changed between two readings.",
            hint="Remove the random augmentation from the dataset and give it to the recipe.",
        )
    return Records.build(np.stack([f for f, _ in pairs]), np.array([y for _, y in pairs]), name=name, task=task)


def _pair(sample: Any, row: int) -> tuple[NDArray[Any], Any]:
    if not isinstance(sample, tuple | list) or len(sample) < 2:
        raise DataError(
            f"Expected every sample to be a pair of features and label, got {type(sample).__name__} for sample {row}."
        )
    features, label = np.asarray(sample[0]), np.asarray(sample[1])
    if label.size != 1:
        raise DataError(f"Expected one label per sample, got shape {label.shape} for sample {row}.")
    return np.atleast_1d(features), label.reshape(()).item()
