"""Checksums of files, computed once: a file that has not changed since it was verified is not read again."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from vestige.datasets.base import Source
from vestige.datasets.folders import cache_folder

_BLOCK = 1 << 20


def checksum(path: Path, kind: str) -> str:
    """Return the ``kind`` checksum of a file: sha256, md5, or git, the object id that git gives it."""
    if kind == "git":
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def matches(path: Path, source: Source) -> bool:
    """Whether the file has one of the contents that are accepted."""
    return any(
        checksum(path, kind) in source.checksums for kind in sorted({c.partition(":")[0] for c in source.checksums})
    )


def verified(path: Path, source: Source) -> bool:
    """Whether the file is what was published; remembered in the cache folder by its place, size and time of change."""
    facts = path.stat()
    identity = "\n".join([str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns), *source.checksums])
    note = cache_folder() / "verified" / hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
    if note.exists():
        return True
    if not matches(path, source):
        return False
    with contextlib.suppress(OSError):  # a cache that cannot be written to costs time, not the audit
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    return True
