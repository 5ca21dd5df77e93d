"""The log as JSON, and statements that say where in it their words stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vestige.log import AuditLog
from vestige.report.compliance.schema import Section, Statement

ABSENT = object()
EMPTY: tuple[Any, ...] = (None, "", [], {})


def resolve(plain: Any, pointer: str) -> Any:
    """Return what a JSON Pointer leads to, or `ABSENT`.

    >>> resolve({"a": [{"b/c": 3}]}, "/a/0/b~1c")
    3
    """
    for raw in pointer.split("/")[1:]:
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(plain, Mapping) and key in plain:
            plain = plain[key]
        elif isinstance(plain, list) and key.isdecimal() and int(key) < len(plain):
            plain = plain[int(key)]
        else:
            return ABSENT
    return plain


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A log and its JSON."""

    log: AuditLog
    plain: dict[str, Any]

    @classmethod
    def of(cls, log: AuditLog) -> Reader:
        """Return the reader of a log."""
        drawn = {"__all__": {"roc", "histogram"}}
        return cls(log=log, plain=log.model_dump(mode="json", exclude={"attacks": drawn}))

    def at(self, pointer: str) -> Any:
        """Return what stands there, None where nothing does."""
        value = resolve(self.plain, pointer)
        return None if value is ABSENT else value

    @property
    def confidence(self) -> float | None:
        """The confidence of every interval, None where the log does not say."""
        level = self.at("/config/audit/confidence")
        return float(level) if isinstance(level, float) and 0 < level < 1 else None

    def has(self, pointer: str) -> bool:
        """Whether something is recorded there; a zero is, an empty text or list is not."""
        return resolve(self.plain, pointer) not in (ABSENT, *EMPTY)

    def text(self, pointer: str) -> str:
        """Return the text or number there as text, empty where there is neither."""
        value = self.at(pointer)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return ""
        return str(value)

    def table(self, pointer: str) -> dict[str, Any]:
        """Return the table there, empty where there is none."""
        value = self.at(pointer)
        return dict(value) if isinstance(value, Mapping) else {}


def recorded(id: str, topic: str, text: str, *sources: str) -> Statement:
    """Return what the log says, with where it says so."""
    return Statement(id=id, topic=topic, standing="recorded", text=text, sources=list(sources))


def missing(id: str, topic: str, text: str = "") -> Statement:
    """Return a field that the log could have filled and does not."""
    return Statement(id=id, topic=topic, standing="not_recorded", text=text)


def person(id: str, topic: str, asked: str) -> Statement:
    """Return a field that only a person can fill."""
    return Statement(id=id, topic=topic, standing="person", text=asked)


def quoted(reader: Reader, id: str, topic: str, *pointers: str, before: str = "") -> Statement:
    """Return the value that stands at the first of these places which has one."""
    for pointer in pointers:
        if text := reader.text(pointer):
            return recorded(id, topic, f"{before}{text}", pointer)
    return missing(id, topic)


def section(id: str, title: str, statements: list[Statement | None], *basis: str) -> Section:
    """Return a section of what there is."""
    return Section(id=id, title=title, basis=list(basis), statements=[one for one in statements if one is not None])
