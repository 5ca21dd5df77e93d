"""One artefact in one file: a safetensors file that any reader opens, and that proves itself whole.

The file's metadata begins with a BLAKE2b hash of the entire file, taken with that hash's own characters as zeros, so
that a change to any byte, header or length shows. The data starts at a multiple of 64 bytes and larger items come
first, so that every array can be used where it lies in a memory map.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vestige.errors import UsageError
from vestige.store.files import atomic_file

FORMAT = "vestige.artifact/1"
ALIGNMENT = 64
CHUNK = 1 << 22
# A memory map costs an open file for as long as it lives; small artefacts are cheaper held in memory.
SMALL = 1 << 20
MAX_HEADER = 100_000_000

_DTYPES = {
    "BOOL": "?",
    "U8": "u1", "I8": "i1",
    "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4",
    "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}
_OPENING = b'{"__metadata__":{"checksum":"'
_HEX = 64
_BLANK = b"0" * _HEX

Arrays = Mapping[str, NDArray[Any]]


class Damaged(Exception):
    """A file is not, or no longer, the artefact it should be."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """What was stored: ``arrays`` by name, read-only, large ones read from disk when touched; and their ``meta``."""

    kind: str
    key: str
    arrays: Arrays
    meta: Mapping[str, Any]


def write(path: Path, kind: str, key: str, arrays: Arrays, meta: Mapping[str, Any]) -> int:
    """Write an artefact to ``path`` in one step and return its size in bytes; equal contents make equal files."""
    ready = dict(sorted(((name, _storable(name, array)) for name, array in arrays.items()), key=_place))
    header = _header(kind, key, ready, meta)
    checksum = hashlib.blake2b(header, digest_size=_HEX // 2)
    at = 8 + len(_OPENING)
    with atomic_file(path) as file:
        file.write(header)
        for array in ready.values():
            for piece in _pieces(array):
                checksum.update(piece)
                file.write(piece)
        size = file.tell()
        file.seek(at)
        file.write(checksum.hexdigest().encode())
    return size


def _place(item: tuple[str, NDArray[Any]]) -> tuple[int, str]:
    return -item[1].itemsize, item[0]


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(array)
    little = values.dtype.newbyteorder("<")
    if little not in _NAMES:
        raise UsageError(
            f"Expected the array '{name}' to hold booleans, integers or floats of up to 64 bits, got {values.dtype}.",
            hint="Text belongs in the metadata.",
        )
    if name == "__metadata__":
        raise UsageError("Expected an array's name other than '__metadata__', which the file format keeps for itself.")
    return values.astype(little, copy=False)


def _pieces(array: NDArray[Any]) -> Iterator[memoryview]:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, CHUNK):
        yield flat[start : start + CHUNK].data


def _header(kind: str, key: str, arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(meta, sort_keys=True, default=_scalar)
    except (TypeError, ValueError) as error:
        raise UsageError(f"Expected metadata that JSON can hold, got something else: {error}.") from error
    entries: dict[str, Any] = {
        "__metadata__": {"checksum": _BLANK.decode(), "format": FORMAT, "kind": kind, "key": key, "meta": text}
    }
    offset = 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        entries[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    body = json.dumps(entries, separators=(",", ":")).encode()
    if len(body) > MAX_HEADER:
        raise UsageError(f"Expected metadata of less than {MAX_HEADER} bytes, got {len(body)}.", hint="Store an array.")
    body += b" " * (-(len(body) + 8) % ALIGNMENT)
    return len(body).to_bytes(8, "little") + body


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def read(file: BinaryIO, kind: str, key: str, *, verify: bool) -> Artifact:
    """Open an artefact; raises Damaged when it is not whole or not this one, OSError when it cannot be read.

    ``verify``: read every byte and compare the checksum, and not only the header.
    """
    header = _raw_header(file)
    if verify:
        _compare(file, header)
    file.seek(0)
    small = os.fstat(file.fileno()).st_size <= SMALL
    whole = np.fromfile(file, np.uint8) if small else np.memmap(file, np.uint8, mode="r").view(np.ndarray)
    whole.flags.writeable = False
    entries, found = _parse(header)
    if (found["kind"], found["key"]) != (kind, key):
        raise Damaged(f"it is {found['kind']} {found['key']}")
    data = whole[8 + len(header) :]
    arrays = {name: _view(data, entry) for name, entry in entries.items()}
    return Artifact(kind, key, arrays, found["meta"])


def read_meta(path: Path) -> tuple[str, str, dict[str, Any]]:
    """Return the kind, key and metadata of a file from its header alone, unverified; raises as `read` does."""
    with path.open("rb") as file:
        _, found = _parse(_raw_header(file))
    return found["kind"], found["key"], found["meta"]


def _raw_header(file: BinaryIO) -> bytes:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not len(_OPENING) + _HEX <= length <= min(size - 8, MAX_HEADER):
        raise Damaged("it is cut short")
    header = file.read(length)
    if len(header) != length or not header.startswith(_OPENING):
        raise Damaged("its header is altered")
    return header


def _compare(file: BinaryIO, header: bytes) -> None:
    start, end = len(_OPENING), len(_OPENING) + _HEX
    checksum = hashlib.blake2b(len(header).to_bytes(8, "little"), digest_size=_HEX // 2)
    checksum.update(header[:start] + _BLANK + header[end:])
    # Read, not mapped: pages that only the check touched then do not count as this process's memory.
    while chunk := file.read(CHUNK):
        checksum.update(chunk)
    if checksum.hexdigest().encode() != header[start:end]:
        raise Damaged("its contents do not match its checksum")


def _parse(header: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        entries = json.loads(header)
        found = entries.pop("__metadata__")
        found["meta"] = json.loads(found["meta"])
        if found["format"] != FORMAT:
            raise Damaged(f"its format is {found['format']}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged("its header cannot be read") from error
    return entries, found


def _view(data: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    try:
        start, end = entry["data_offsets"]
        return data[start:end].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("its header does not fit its data") from error
