"""Store: a folder of artefacts, each in a file of its own under ``kind/key``; safe to share, and to be killed in."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from vestige.errors import UsageError
from vestige.store import artifact, claims
from vestige.store.artifact import Arrays, Artifact, Damaged
from vestige.store.files import CLAIM, DAMAGED, HOUR, atomic_file, make_folder, store_error, sweep

SUFFIX = ".safetensors"
TOUCH = 600.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_CLAIMS = "claims"
# Nothing is wrong with the file when these are met, so it must not be set aside.
_NOT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class StoreWarning(UserWarning):
    """A stored file was damaged and has been set aside; it will be made again."""


class Entry(NamedTuple):
    """One artefact in a listing; times in seconds since 1970."""

    kind: str
    key: str
    bytes: int
    created: float
    last_used: float
    meta: Mapping[str, Any]


class Usage(NamedTuple):
    """How many artefacts of one kind there are, and what they take on disk."""

    artefacts: int
    bytes: int


class _File(NamedTuple):
    kind: str
    key: str
    path: Path
    stat: os.stat_result

    @property
    def last_used(self) -> float:
        return max(self.stat.st_atime, self.stat.st_mtime)


class Store:
    """Artefacts by content: ``kind`` says what one is, ``key`` (see `digest`) what it was made from.

    Processes may share the folder, on one machine or on a network: each artefact is one file that appears whole or not
    at all. Raises StoreError, in one sentence, when the folder cannot be used.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        make_folder(self.root)
        self._verified: dict[Path, tuple[int, int, int]] = {}
        self._stuck: set[Path] = set()
        self._swept: set[str] = set()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @classmethod
    def default(cls, override: str | Path | None = None) -> Store:
        """Open the store at ``override``, or else at VESTIGE_STORE, or else in the user's cache folder."""
        return cls(override or os.environ.get("VESTIGE_STORE") or user_cache() / "store")

    def path(self, kind: str, key: str) -> Path:
        """Return where an artefact is, or would be."""
        if not (_NAME.fullmatch(kind) and _NAME.fullmatch(key)) or kind == _CLAIMS:
            raise UsageError(f"Expected an artefact named with letters, digits, '_', '-' and '.', got '{kind}/{key}'.")
        return self.root / kind / f"{key}{SUFFIX}"

    def put(self, kind: str, key: str, arrays: Arrays, meta: Mapping[str, Any] | None = None) -> None:
        """Keep named arrays and JSON metadata; the same again changes nothing, and several processes may do it at once.

        Raises StoreError when the disk is full or not writable (what was there is unharmed), UsageError for arrays of
        objects or text.
        """
        path = self.path(kind, key)
        make_folder(path.parent)
        if kind not in self._swept:
            self._swept.add(kind)
            sweep(path.parent)
        artifact.write(path, kind, key, arrays, meta or {})
        self._stuck.discard(path)

    def get(self, kind: str, key: str) -> Artifact | None:
        """Return an artefact, or None when there is none that is whole.

        The first time that this store object meets a file it reads every byte and compares the checksum; a file that is
        cut short, altered or unreadable is set aside with a StoreWarning, so that the caller makes it again.
        """
        path = self.path(kind, key)
        inode = None
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                inode = stat.st_ino
                identity = (inode, stat.st_size, stat.st_mtime_ns)
                found = artifact.read(file, kind, key, verify=self._verified.get(path) != identity)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged as damage:
            self._set_aside(path, str(damage), inode)
            return None
        except OSError as error:
            if error.errno in _NOT_THE_FILE:
                raise store_error("read", path, error) from error
            self._set_aside(path, error.strerror or str(error), inode)
            return None
        self._verified[path] = identity
        self._touch(path, stat)
        return found

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is such an artefact, without opening it."""
        path = self.path(kind, key)
        try:
            return path not in self._stuck and path.is_file()
        except OSError:
            return False

    def keys(self, kind: str) -> list[str]:
        """Return the keys of one kind, sorted."""
        return sorted(file.key for file in self._files(kind))

    def size(self) -> int:
        """Return the bytes that all artefacts take."""
        return sum(file.stat.st_size for file in self._files())

    def usage(self) -> dict[str, Usage]:
        """Return count and bytes by kind."""
        total: dict[str, Usage] = {}
        for file in self._files():
            artefacts, size = total.get(file.kind, Usage(0, 0))
            total[file.kind] = Usage(artefacts + 1, size + file.stat.st_size)
        return dict(sorted(total.items()))

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return every artefact with its metadata, most recently used first; contents are not verified."""
        files = {(file.kind, file.key): file for file in self._files()}
        metas = self._metas(files)
        found = [
            Entry(f.kind, f.key, f.stat.st_size, f.stat.st_mtime, f.last_used, metas[name])
            for name, f in files.items()
            if name in metas and kind in (None, f.kind)
        ]
        return sorted(found, key=lambda entry: (-entry.last_used, entry.kind, entry.key))

    def collect(self, max_bytes: int | None = None, older_than_days: float | None = None) -> int:
        """Remove artefacts unused for so many days, then the longest unused ones until at most ``max_bytes`` remain.

        Also removes what killed processes left. Nothing that was made or used within the last hour is touched. Returns
        the bytes freed.
        """
        now = time.time()
        freed = sum(sweep(folder) for folder in [self.root, *self._folders(), self.root / _CLAIMS])
        files = sorted(self._files(), key=lambda file: file.last_used)
        remaining = sum(file.stat.st_size for file in files)
        for file in files:
            idle = now - file.last_used
            old = older_than_days is not None and idle > older_than_days * 86400
            surplus = max_bytes is not None and remaining > max_bytes
            if idle < HOUR or not (old or surplus):
                continue
            try:
                file.path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise store_error("remove", file.path, error) from error
            remaining -= file.stat.st_size
            freed += file.stat.st_size
        return freed

    def claim(self, kind: str, key: str) -> AbstractContextManager[bool]:
        """Yield True when this process may make the artefact now, False when another one is at it.

        Look with `has` once more after a True: the other process may just have finished.
        """
        self.path(kind, key)
        return claims.claim(self.root / _CLAIMS / f"{kind}-{key}{CLAIM}")

    def check_writable(self) -> None:
        """Raise StoreError now, rather than after an hour of training, when nothing can be written here."""
        probe = self.root / f".probe-{os.getpid()}"
        with atomic_file(probe) as file:
            file.write(b"\0" * 4096)
        with suppress(OSError):
            probe.unlink()

    def _metas(self, files: Mapping[tuple[str, str], _File]) -> dict[tuple[str, str], dict[str, Any]]:
        try:
            from vestige.store import index
        except ImportError:
            # A Python that was built without sqlite3.
            return {name: meta for name, file in files.items() if (meta := _meta(file)) is not None}
        rows = [index.Row(f.kind, f.key, f.stat.st_size, f.stat.st_mtime_ns) for f in files.values()]
        return index.metas(self.root / "index.sqlite", rows, lambda row: _meta(files[row.kind, row.key]))

    def _folders(self) -> list[Path]:
        found = [e for e in _listing(self.root) if e.is_dir() and _NAME.fullmatch(e.name) and e.name != _CLAIMS]
        return [Path(entry.path) for entry in found]

    def _files(self, kind: str | None = None) -> list[_File]:
        folders = self._folders() if kind is None else [self.path(kind, "x").parent]
        files = []
        for folder in folders:
            for entry in _listing(folder):
                key = entry.name.removesuffix(SUFFIX)
                if key != entry.name and _NAME.fullmatch(key):
                    with suppress(OSError):
                        files.append(_File(folder.name, key, Path(entry.path), entry.stat()))
        return files

    def _touch(self, path: Path, stat: os.stat_result) -> None:
        # The access time says when an artefact was last used, for `collect`; the modification time, when it was made.
        now = time.time()
        if now - max(stat.st_atime, stat.st_mtime) > TOUCH:
            with suppress(OSError):
                os.utime(path, ns=(int(now * 1e9), stat.st_mtime_ns))

    def _set_aside(self, path: Path, reason: str, inode: int | None = None) -> None:
        try:
            if inode in (None, path.stat().st_ino):
                path.replace(path.with_name(f".{path.name}{DAMAGED}"))
        except OSError:
            # It stays where it is, in a store that may only be read: to this object it is absent.
            self._stuck.add(path)
        message = f"The stored file '{path}' is damaged ({reason}); it is set aside and will be made again."
        warnings.warn(message, StoreWarning, stacklevel=3)


def _meta(file: _File) -> dict[str, Any] | None:
    try:
        kind, key, meta = artifact.read_meta(file.path)
    except (OSError, Damaged):
        return None
    # To list an artefact is not to use it.
    with suppress(OSError):
        os.utime(file.path, ns=(file.stat.st_atime_ns, file.stat.st_mtime_ns))
    return meta if (kind, key) == (file.kind, file.key) else None


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error("read", folder, error) from error


def user_cache() -> Path:
    """Return Vestige's folder in the place where this system keeps a user's caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vestige"
