"""The ledger of a private run: dp-accounting's events as JSON, so that whoever reads a claim can account anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vestige.errors import DataError, MissingDependency

Entry = dict[str, Any]
BY_GROUP = "ByGroup"
"""An entry whose ``groups`` each have a budget ``epsilon`` and see the training as another ``event``."""
_ENDING = "DpEvent"


def library() -> Any:
    """Return dp_accounting; raises MissingDependency without it."""
    try:
        import dp_accounting
    except ImportError as error:
        raise MissingDependency("dp-accounting", extra="dp", purpose="Privacy accounting") from error
    return dp_accounting


def entry(event: Any) -> Entry:
    """Return one event of dp_accounting as JSON: its class, and its fields, events within events."""
    kind = type(event)
    if not kind.__name__.endswith(_ENDING) or not hasattr(kind, "__attrs_attrs__"):
        raise DataError(f"Expected an event of dp_accounting, got a {kind.__name__}.")
    fields = {field.name: _plain(getattr(event, field.name)) for field in kind.__attrs_attrs__}
    return {"kind": kind.__name__.removesuffix(_ENDING), **fields}


def entries(event: Any) -> tuple[Entry, ...]:
    """Return a ledger: one entry per part of a composition."""
    parts = event.events if type(event).__name__ == f"Composed{_ENDING}" else [event]
    return tuple(entry(part) for part in parts)


def event_of(found: Mapping[str, Any]) -> Any:
    """Return the event that an entry stands for; raises DataError for one that dp_accounting does not know.

    Of groups with budgets of their own it is the one of the largest budget, which holds for every record.
    """
    values = dict(found)
    name = values.pop("kind", None)
    if name == BY_GROUP:
        return event_of(max(values["groups"], key=lambda group: group["epsilon"])["event"])
    kind = getattr(library(), f"{name}{_ENDING}", None)
    kind = kind or getattr(library().dp_event, f"{name}{_ENDING}", None)
    if kind is None:
        raise DataError(f"There is no privacy event called {name!r}.", hint="Was the ledger written by Vestige?")
    try:
        return kind(**{key: _event(value) for key, value in values.items()})
    except TypeError as error:
        raise DataError(f"The ledger's entry {name!r} cannot be read: {error}.") from error


def composed(ledger: Iterable[Mapping[str, Any]]) -> Any:
    """Return the one event that a whole ledger stands for."""
    events = [event_of(found) for found in ledger]
    return events[0] if len(events) == 1 else library().ComposedDpEvent(events)


def steps(ledger: Iterable[Mapping[str, Any]]) -> int:
    """Return how many releases a ledger counts."""
    return sum(_count(found) for found in ledger)


def _count(found: Mapping[str, Any]) -> int:
    if found["kind"] == "SelfComposed":
        return int(found["count"]) * _count(found["event"])
    if found["kind"] == BY_GROUP:
        return max(_count(group["event"]) for group in found["groups"])
    if found["kind"] == "Composed":
        return sum(_count(part) for part in found["events"])
    return 0 if found["kind"] == "NoOp" else 1


def _plain(value: Any) -> Any:
    if hasattr(type(value), "__attrs_attrs__"):
        return entry(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def _event(value: Any) -> Any:
    if isinstance(value, Mapping):
        return event_of(value)
    return [_event(part) for part in value] if isinstance(value, list) else value
