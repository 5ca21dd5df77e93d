"""Single keys of a config, set from outside its file: ``--set a.b=c`` and ``VESTIGE_A__B=c``."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from vestige.config import AuditConfig
from vestige.config.gate import GateRule
from vestige.config_errors import Path, dotted, sections
from vestige.errors import ConfigError

PREFIX = "VESTIGE_"
RESERVED = {"data", "store", "cache"}
_SEGMENT = re.compile(r""""([^"]+)"|'([^']+)'|\[(\d+)\]|([^.\[\]"'=@\s]+(?:@[0-9.eE+-]*[0-9])?)""")


class ConfigWarning(UserWarning):
    """A VESTIGE_* variable looks like a mistyped setting and was ignored."""


class Change(NamedTuple):
    """One key to set: where, to what, the text it was written as, and who asked."""

    path: Path
    value: Any
    raw: str
    origin: str


def from_option(text: str) -> Change:
    """Read ``key=value``: values as in TOML, or else plain text; raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"Expected --set key=value, got '{text}'.", hint="For example: --set shadow.count=64")
    return Change(_path(key.strip()), value_of(value), value.strip(), f"--set {text}")


def from_environment(environ: Mapping[str, str]) -> list[Change]:
    """Return the settings among VESTIGE_* variables, sorted by name; warn of those that look mistyped.

    ``__`` separates levels; between a section and its key one ``_`` does too. Empty variables count as unset.
    """
    changes = []
    for name in sorted(environ):
        rest = name.removeprefix(PREFIX).lower()
        if rest == name.lower() or rest in RESERVED or not environ[name]:
            continue
        path = _setting(rest)
        if path is None:
            _warn_if_mistyped(name, rest)
        else:
            changes.append(Change(path, value_of(environ[name]), environ[name], name))
    return changes


def apply(data: dict[str, Any], change: Change) -> None:
    """Set one key in a config's plain data, making the tables and lists on the way; raises ConfigError."""
    place: Any = data
    for depth, step in enumerate(change.path):
        last = depth + 1 == len(change.path)
        inner = change.value if last else [] if isinstance(change.path[depth + 1], int) else {}
        if isinstance(place, list) and isinstance(step, int) and step <= len(place):
            if step == len(place):
                place.append(inner)
            elif last:
                place[step] = inner
            place = place[step]
        elif isinstance(place, dict):
            key = str(step)
            if last or place.get(key) is None:
                place[key] = inner
            place = place[key]
        else:
            what = f"a list of {len(place)}" if isinstance(place, list) else "neither a table nor a list"
            above = dotted(change.path[:depth])
            raise ConfigError(f"'{dotted(change.path)}' cannot be set (from {change.origin}): '{above}' is {what}.")


def value_of(text: str) -> Any:
    """Return the TOML value that ``text`` is, or else the text; a list may hold bare words.

    >>> value_of("8"), value_of("[lira, rmia]"), value_of("mlp")
    (8, ['lira', 'rmia'], 'mlp')
    """
    text = text.strip()
    try:
        table = tomllib.loads(f"v = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        if re.fullmatch(r"\[[^\[\]{}]*\]", text):
            return [value_of(item) for item in text[1:-1].split(",") if item.strip()]
        return {"True": True, "False": False}.get(text, text)
    # No key of a config is a date, and text with line breaks can hold more than one value.
    dated = isinstance(table["v"], datetime.date | datetime.time)
    return text if dated or len(table) > 1 else table["v"]


def _path(key: str) -> Path:
    steps: list[str | int] = []
    at = 0
    while at < len(key):
        found = _SEGMENT.match(key, at)
        if found is None:
            raise ConfigError(f"Could not understand the key '{key}'.", hint="Write it like a.b, a[0].b or a.'b.c'.")
        double, single, index, plain = found.groups()
        step = double or single or plain
        steps.append(int(index or step) if step is None or (plain and plain.isascii() and plain.isdigit()) else step)
        at = found.end()
        if key[at : at + 1] == "." and at + 1 < len(key):
            at += 1
        elif at < len(key) and key[at] != "[":
            raise ConfigError(f"Could not understand the key '{key}'.", hint="Write it like a.b, a[0].b or a.'b.c'.")
    return _gate_path(tuple(steps))


def _gate_path(path: Path) -> Path:
    # A figure's name may hold dots (lira.tpr@0.01), and only a rule's own keys may follow it.
    if path[0] != "gate" or len(path) < 3:
        return path
    tail = path[-1:] if path[-1] in GateRule.model_fields else ()
    return ("gate", ".".join(map(str, path[1 : len(path) - len(tail)])), *tail)


def _setting(rest: str) -> Path | None:
    if "__" in rest:
        parts = rest.split("__")
        steps = tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)
        return _gate_path(steps) if parts[0] in AuditConfig.model_fields and all(parts) else None
    for name, section in sections().items():
        key = rest.removeprefix(f"{name}_")
        if key != rest and (key in section.model_fields or section.model_config.get("extra") == "allow"):
            return name, key
    plain = AuditConfig.model_fields.keys() - sections().keys() - {"gate", "defences"}
    return (rest,) if rest in plain else None


def _warn_if_mistyped(name: str, rest: str) -> None:
    known = list(AuditConfig.model_fields)
    known += [f"{table}__{key}" for table, section in sections().items() for key in section.model_fields]
    words = {key.replace("__", "_"): key for key in known}
    close = difflib.get_close_matches(rest.replace("__", "_"), words, n=1, cutoff=0.86)
    if close:
        meant = PREFIX + words[close[0]].upper()
        warnings.warn(f"{name} is no setting and was ignored. Did you mean {meant}?", ConfigWarning, stacklevel=4)
