"""A file that only grows: one line of JSON per entry, each sealed with a hash of itself and of the line before it.

Whoever writes holds a lock, so that processes take turns. A line without its end was never acknowledged and is cut off
with the next write; any other line that does not fit is damage, and is refused.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vestige.canonical import digest
from vestige.errors import StoreError
from vestige.store.files import make_folder, store_error

Line = dict[str, Any]
SEAL = "seal"


def create(path: Path, first: Line) -> None:
    """Make the file with its first line, or leave it as it is where another process was faster."""
    make_folder(path.parent)
    append(path, lambda lines: None if lines else first)


def read(path: Path) -> list[Line]:
    """Return the lines; raises StoreError for a file that is not whole, or not there."""
    try:
        return _parsed(path, path.read_bytes())[0]
    except OSError as error:
        raise error if isinstance(error, StoreError) else store_error("read", path, error) from error


def append(path: Path, decide: Callable[[list[Line]], Line | None]) -> Line | None:
    """Append what ``decide`` makes of the lines so far, and return it once it is on the disk; None appends nothing.

    No other process reads or writes between the two, and whatever ``decide`` raises leaves the file as it was.
    """
    try:
        with path.open("a+b") as file, locked(file):
            file.seek(0)
            lines, whole = _parsed(path, file.read())
            found = decide(lines)
            if found is None:
                return None
            file.truncate(whole)
            sealed = {**found, SEAL: _seal(found, lines)}
            file.write(json.dumps(sealed, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            return found
    except OSError as error:
        raise error if isinstance(error, StoreError) else store_error("write", path, error) from error


def _parsed(path: Path, data: bytes) -> tuple[list[Line], int]:
    """Return the lines, and how many bytes the whole ones take."""
    whole = data.rfind(b"\n") + 1
    lines: list[Line] = []
    for place, text in enumerate(data[:whole].splitlines()):
        try:
            line = json.loads(text)
            fits = line[SEAL] == _seal({key: value for key, value in line.items() if key != SEAL}, lines)
        except (ValueError, KeyError, TypeError, AttributeError):
            fits = False
        if not fits:
            raise StoreError(
                f"Line {place + 1} of '{path}' is damaged, or was changed by hand.",
                hint="Restore the file from a copy: what was spent cannot be known without it.",
            )
        lines.append(line)
    return lines, whole


def _seal(line: Line, before: list[Line]) -> str:
    return digest("budget", {"line": json.dumps(line, sort_keys=True), "before": before[-1][SEAL] if before else ""})


@contextmanager
def locked(file: BinaryIO) -> Iterator[None]:
    """Hold a file for oneself, among processes and threads, until the block ends or the process does."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
