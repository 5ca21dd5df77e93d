"""The index: a table of what artefacts' headers say, so that listing a large store opens no files.

Only a memory of the headers: the folders are the truth. Rows of files that changed or vanished are replaced, and when
the table is lost, locked, corrupt or on a disk that cannot lock, the headers are read instead.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

_SCHEMA = """CREATE TABLE IF NOT EXISTS artefacts
    (kind TEXT, key TEXT, bytes INTEGER, created INTEGER, meta TEXT, PRIMARY KEY (kind, key))"""
_DELETE = "DELETE FROM artefacts WHERE kind = ? AND key = ?"
_INSERT = "INSERT OR REPLACE INTO artefacts VALUES (?, ?, ?, ?, ?)"


class Row(NamedTuple):
    """One file of the store as the folder lists it; ``created`` in nanoseconds."""

    kind: str
    key: str
    bytes: int
    created: int


Metas = dict[tuple[str, str], dict[str, Any]]


def metas(path: Path, rows: Iterable[Row], header: Callable[[Row], dict[str, Any] | None]) -> Metas:
    """Return the metadata of every row, from the table at ``path`` where it knows the file and else from ``header``."""
    rows = list(rows)
    known: dict[Row, dict[str, Any]] = {}
    with suppress(sqlite3.Error, ValueError, TypeError):
        known = _load(path)
    fresh: dict[Row, dict[str, Any]] = {}
    for row in rows:
        if row not in known and (meta := header(row)) is not None:
            fresh[row] = meta
    gone = known.keys() - set(rows)
    if fresh or gone:
        _save(path, fresh, gone)
    return {(row.kind, row.key): meta for row in rows if (meta := known.get(row, fresh.get(row))) is not None}


def _connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, timeout=0.5, isolation_level=None))


def _load(path: Path) -> dict[Row, dict[str, Any]]:
    if not path.exists():
        return {}
    with _connect(path) as table:
        found = table.execute("SELECT kind, key, bytes, created, meta FROM artefacts").fetchall()
    return {Row(*row[:4]): json.loads(row[4]) for row in found}


def _save(path: Path, fresh: Mapping[Row, dict[str, Any]], gone: Iterable[Row]) -> None:
    for _ in range(2):
        try:
            with _connect(path) as table:
                table.execute("PRAGMA synchronous = OFF")
                table.execute("BEGIN IMMEDIATE")
                table.execute(_SCHEMA)
                table.executemany(_DELETE, [(row.kind, row.key) for row in gone])
                table.executemany(_INSERT, [(*row, json.dumps(meta)) for row, meta in fresh.items()])
                table.execute("COMMIT")
            return
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            # Not a database any more: the next attempt starts a new one.
            with suppress(OSError):
                path.unlink()
