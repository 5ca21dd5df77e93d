"""Values that a config leaves open: lists that are swept, ranges that are tuned."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.errors import ConfigError

RANGE = {"low", "high", "log"}
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Range:
    """What a value is tuned over: ``choices``, or all between ``low`` and ``high``, whole where both are."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def middle(self) -> Any:
        """Where it starts when nothing was tried: the first choice, or the middle, in logarithms where asked."""
        if self.choices:
            return self.choices[0]
        value = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(value) if self.whole else value

    def draw(self, random: np.random.Generator) -> Any:
        """Return a value evenly at random, in logarithms where asked."""
        if self.choices:
            return self.choices[int(random.integers(len(self.choices)))]
        if self.whole and not self.log:
            return int(random.integers(int(self.low), int(self.high) + 1))
        share = float(random.random())
        value = self.low * (self.high / self.low) ** share if self.log else self.low + share * (self.high - self.low)
        return min(max(round(value), int(self.low)), int(self.high)) if self.whole else value


def is_range(value: Any) -> bool:
    """Whether a value of a config is a range such as { low = 0.01, high = 0.1, log = true }."""
    return isinstance(value, Mapping) and bool(set(value) & RANGE)


def range_of(value: Mapping[str, Any], where: str) -> Range:
    """Return the range that a table says; raises ConfigError for one that is none."""
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if set(value) - RANGE or not numbers or not isinstance(log, bool) or low > high or (log and low <= 0):  # type: ignore[operator]
        raise ConfigError(
            f"Expected {where} to be a range such as {{ low = 0.01, high = 0.1, log = true }}, got {dict(value)!r}.",
            hint="low is at most high, and above 0 with log.",
        )
    assert low is not None and high is not None  # noqa: PT018
    return Range(float(low), float(high), log, isinstance(low, int) and isinstance(high, int))


def open_values(
    table: Mapping[str, Any], where: str, path: Path = ()
) -> tuple[dict[Path, list[Any]], dict[Path, Range]]:
    """Return the lists and the ranges in a table and in the tables inside it, by where they are."""
    lists: dict[Path, list[Any]] = {}
    ranges: dict[Path, Range] = {}
    for key, value in table.items():
        place = f"{where}.{key}"
        if is_range(value):
            ranges[*path, key] = range_of(value, place)
        elif isinstance(value, Mapping):
            inner = open_values(value, place, (*path, key))
            lists.update(inner[0])
            ranges.update(inner[1])
        elif isinstance(value, list):
            if not value:
                raise ConfigError(f"Expected {place} to list at least one value, got an empty list.")
            lists[*path, key] = value
    return lists, ranges


def swept(lists: Mapping[Path, list[Any]]) -> Iterator[dict[Path, Any]]:
    """Yield every combination of the lists' values."""
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def put(table: Any, path: Path, value: Any) -> Any:
    """Return a copy of nested tables and lists with one value set."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(table, list):
        return [put(one, rest, value) if k == first else one for k, one in enumerate(table)]
    told: dict[str | int, Any] = dict(table or {})
    told[first] = put(told.get(first), rest, value)
    return told


def said(path: Path, value: Any) -> str:
    """Write one setting in a few words: ``lr 0.05``."""
    name = str(path[-1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} {value if isinstance(value, str) else json.dumps(value)}"
    return f"{name} {value:.4g}"
