"""Files that are either whole or absent: written beside their place, flushed to the disk, then renamed into it."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vestige.errors import StoreError

TEMPORARY = ".tmp"
DAMAGED = ".damaged"
CLAIM = ".claim"
HOUR = 3600.0

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
_MISPLACED = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


def store_error(action: str, path: Path, error: OSError) -> StoreError:
    """Return the sentence for an operating-system error met while doing ``action`` at ``path``."""
    hint = "Choose another folder, or make this one usable."
    if error.errno in _FULL:
        reason = "the disk or quota is full"
        hint = "Free some space, or choose another folder; what was stored is unharmed."
    elif error.errno in _FORBIDDEN:
        reason = "permission was denied"
    elif error.errno in _MISPLACED:
        reason = "a file is where a folder should be, or the reverse"
    elif error.errno in _MANY_OPEN:
        reason = "too many files are open"
        hint = "Raise the limit with `ulimit -n 65536`."
    else:
        reason = error.strerror or str(error) or type(error).__name__
    return StoreError(f"Could not {action} '{path}': {reason}.", hint=hint)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes ``path``'s place once the block ends well, and vanishes if it does not.

    Raises StoreError when the disk is full or not writable; what was at ``path`` is then still there, unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        # Not tempfile: its files are private to one user, and a store may be shared by several.
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        _discard(temporary)
        if isinstance(error, StoreError):
            raise
        raise store_error("write", path, error) from error
    except BaseException:  # also on Ctrl-C nothing half written stays
        _discard(temporary)
        raise


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path``, making folders as needed; readers see the old file or the new one, never a part.

    Raises StoreError, in one sentence, when it cannot; the old file is then still there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            # A device or pipe, such as /dev/stdout, must be written to and not replaced.
            path.write_bytes(data)
            return
    except OSError as error:
        raise store_error("write", path, error) from error
    with atomic_file(path) as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; raises StoreError when something else is there or it may not be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error("use", path, error) from error


def sweep(folder: Path, *, older_than: float = HOUR) -> int:
    """Remove what killed processes left in ``folder``; damaged files too; return the bytes freed."""
    freed = 0
    with suppress(OSError), os.scandir(folder) as listing:
        for entry in listing:
            if not entry.name.endswith((TEMPORARY, DAMAGED, CLAIM)):
                continue
            with suppress(OSError):
                stat = entry.stat(follow_symlinks=False)
                if time.time() - max(stat.st_mtime, stat.st_ctime) > older_than:
                    Path(entry.path).unlink()
                    freed += stat.st_size
    return freed
