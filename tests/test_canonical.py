from __future__ import annotations

import json
import math
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.canonical import canonical_json, digest
from vestige.errors import UsageError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_"), inner), max_leaves=12)
mappings = st.dictionaries(st.text("abcdef_"), values)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    TWO = 2


def exact(value: Any) -> Any:
    """A second way to say what distinguishes two values: types kept apart, floats by their bits."""
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, dict):
        return ("dict", frozenset((key, exact(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(exact(item) for item in value))
    return (type(value).__name__, value)


@given(mappings, mappings)
@settings(max_examples=50)
def test_keys_are_equal_exactly_when_the_parts_are(one, other):
    assert (digest("k", one) == digest("k", other)) == (exact(one) == exact(other))


@given(mappings)
@settings(max_examples=50)
def test_order_of_keys_does_not_count_and_text_is_json(parts):
    backwards = dict(reversed(parts.items()))
    assert digest("k", backwards) == digest("k", parts)
    assert exact(json.loads(canonical_json(parts))) == exact(parts)


def test_numpy_and_enum_values_stand_for_what_they_hold():
    plain = {"a": 3, "b": 0.1, "c": True, "d": "red", "e": [1, 2], "f": 2}
    fancy = {"a": np.int32(3), "b": np.float64(0.1), "c": np.bool_(True), "d": Colour.RED}
    fancy |= {"e": (np.uint8(1), 2), "f": Level.TWO}
    assert digest("k", fancy) == digest("k", plain)
    assert digest("k", {"b": np.float32(0.1)}) == digest("k", {"b": float(np.float32(0.1))}) != digest("k", {"b": 0.1})


def test_neighbouring_numbers_and_kinds_differ():
    values = (1, 1.0, True, "1", 0.0, -0.0, 0.1, math.nextafter(0.1, 1), math.nan, None, [1])
    keys = [digest("k", {"x": x}) for x in values]
    assert len(set(keys)) == len(keys)
    assert digest("k", {"x": 1}) != digest("other", {"x": 1})


def test_arrays_count_by_dtype_shape_and_contents():
    base = np.arange(6, dtype=np.int64)
    variants = [base, base.astype(np.int32), base.reshape(2, 3), base.reshape(3, 2), base + 1]
    variants += [base.tolist(), base.tobytes()]
    assert len({digest("k", {"x": x}) for x in variants}) == len(variants)
    assert digest("k", {"x": np.asfortranarray(base.reshape(2, 3))}) == digest("k", {"x": base.reshape(2, 3)})


def test_the_key_is_fixed_for_all_time():
    # Whoever changes this key orphans every store in the world.
    assert canonical_json({"b": [1, 0.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,0.5,null]}'
    assert digest("model", {"lr": 0.1}) == "35e6ca1bdaeea2b9d2de4bc905e15618"


@pytest.mark.parametrize(
    "unstable",
    [{1, 2}, object(), lambda: None, Path("/a"), np.longdouble(1), np.array([None]), 1j, np.datetime64("2020")],
)
def test_unstable_values_are_refused_with_their_place(unstable):
    with pytest.raises(UsageError, match=r"parts\.parts\.recipe\[1\]"):
        digest("k", {"recipe": [0, unstable]})


@pytest.mark.parametrize("key", [1, None, "\0array"])
def test_keys_must_be_text(key):
    with pytest.raises(UsageError, match="to be text"):
        digest("k", {"inner": {key: 1}})
