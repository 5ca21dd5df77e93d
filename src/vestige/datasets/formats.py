"""File formats that public datasets use: idx images, fixed-length binary rows, 0/1 text tables, large npz arrays."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vestige.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 4096


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a dataset's file is read into one sentence that names the file."""
    try:
        yield
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        IndexError,
    ) as error:
        raise DataError(f"Could not read {path}: {error}.", hint="Remove it to have it fetched again.") from error


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a gzipped idx file in the shape that its header states."""
    with reading(path):
        raw = gzip.decompress(path.read_bytes())
        if len(raw) < 4 or raw[:3] != b"\0\0\x08":
            raise DataError(f"Expected {path} to be an idx file of bytes.")
        shape = np.frombuffer(raw, ">u4", raw[3], 4).astype(int)
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
        if values.size != int(shape.prod()):
            raise DataError(f"Expected {int(shape.prod()):,} values in {path}, got {values.size:,}.")
        return values.reshape(shape)


def tar_bytes(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of these files of a gzipped tar archive."""
    wanted = set(names)
    found: dict[str, bytes] = {}
    with reading(path), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in wanted and (file := archive.extractfile(member)) is not None:
                found[name] = file.read()
            if len(found) == len(wanted):
                break
        if missing := sorted(wanted - set(found)):
            raise DataError(f"Expected {missing[0]} in {path}, which does not hold it.")
    return found


def read_binary_table(lines: Iterable[bytes], features: int) -> tuple[NDArray[np.uint8], list[bytes]]:
    """Return the last ``features`` columns of comma-separated zeros and ones, (N, features).

    And what stood before them in each line.
    """
    width = 2 * features - 1
    cells = bytearray()
    before: list[bytes] = []
    for line in lines:
        row = line.rstrip()
        if not row:
            continue
        if len(row) < width:
            raise DataError(
                f"Expected {features} features of 0 or 1 in line {len(before) + 1}, got {len(row)} characters."
            )
        cells += row[-width::2]
        before.append(row[:-width].rstrip(b",").strip(b'"'))
    x = np.frombuffer(cells, np.uint8).reshape(-1, features) - ord("0")
    if x.max(initial=0) > 1:
        raise DataError(
            f"Expected features of 0 or 1, got other values in row {int(np.argmax((x > 1).any(axis=1))) + 1}."
        )
    return x, before


def read_small(path: Path, key: str) -> NDArray[np.uint8]:
    """Return an integer array of an npz file as bytes, a few rows at a time, so that it is never whole in 64 bits."""
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        version = npy.read_magic(file)
        header: Any = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        shape, by_column, dtype = header
        if by_column or dtype.kind not in "biuf" or len(shape) != 2:
            raise DataError(
                f"Expected a table of numbers under '{key}' in {path}, got dtype {dtype} and shape {shape}."
            )
        result = np.empty(shape, np.uint8)
        for start in range(0, shape[0], _ROWS):
            count = min(_ROWS, shape[0] - start)
            size = count * shape[1] * dtype.itemsize
            raw = file.read(size)
            if len(raw) < size:
                raise DataError(f"Expected {shape[0]:,} rows under '{key}' in {path}, but the file is cut short.")
            result[start : start + count] = np.frombuffer(raw, dtype).reshape(count, shape[1])
        return result
