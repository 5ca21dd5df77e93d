"""One text for one meaning: values written canonically, and the hash of that text, which names what they produced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vestige.errors import UsageError

_TAG = "\0"


def digest(kind: str, parts: Mapping[str, Any]) -> str:
    """Return the 32-character key of ``parts``, the same in every process and on every machine.

    Parts may be None, booleans, numbers, text, bytes, numpy scalars and arrays, and lists and mappings of these.
    Numbers count exactly, and 1 differs from 1.0. Raises UsageError for anything whose text is not stable: sets,
    functions, other objects.

    >>> digest("model", {"lr": 0.1, "rows": [1, 2]}) == digest("model", {"rows": (1, 2), "lr": 0.1})
    True
    """
    return hashlib.blake2b(canonical_json({"kind": kind, "parts": parts}).encode(), digest_size=16).hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON text with sorted keys and exact numbers; arrays and bytes stand as hashes of their contents."""
    return json.dumps(_plain(value, "parts"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _plain(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    # The built-in constructors strip subclasses (IntEnum, StrEnum, np.float64) whose repr is not the number's own.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU" and value.dtype.char != "g":
        return _plain(value.item(), path)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).hexdigest()
        return {_TAG + "array": [value.dtype.str, list(value.shape), content]}
    if isinstance(value, bytes | bytearray | memoryview):
        return {_TAG + "bytes": hashlib.blake2b(value, digest_size=16).hexdigest()}
    if isinstance(value, Mapping):
        return {_name(key, path): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{place}]") for place, item in enumerate(value)]
    raise UsageError(
        f"Expected {path} to be numbers, text, arrays, or lists and mappings of them, got a {type(value).__name__}.",
        hint="Its text could differ from run to run; give the values that it stands for.",
    )


def _name(key: Any, path: str) -> str:
    if not isinstance(key, str) or key.startswith(_TAG):
        raise UsageError(f"Expected the keys of {path} to be text, got {key!r}.")
    return str.__str__(key)
