"""Claims: how processes that share a store avoid training the same models at once; losing one only costs time."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vestige.store.files import TEMPORARY, make_folder, store_error

STALE = 600.0
HEARTBEAT = 30.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Yield whether this process may do the work that the file ``path`` stands for; give it back at the end.

    A claim is void when its process is dead, or when it has not been renewed for ten minutes (a live holder renews it
    from a thread). Raises StoreError when the folder cannot be written.
    """
    token = secrets.token_hex(8)
    if not _take(path, token):
        yield False
        return
    done = threading.Event()
    renewal = threading.Thread(target=_renew, args=(path, done), name="vestige-claim", daemon=True)
    renewal.start()
    try:
        yield True
    finally:
        done.set()
        renewal.join()
        if _holder(path).get("token") == token:
            with suppress(OSError):
                path.unlink()


def _take(path: Path, token: str) -> bool:
    mine = json.dumps({"token": token, "pid": os.getpid(), "machine": machine()}).encode()
    make_folder(path.parent)
    for _ in range(2):
        try:
            with path.open("xb") as file:
                file.write(mine)
            return True
        except FileExistsError:
            if not _void(path):
                return False
            _remove_void(path)
        except OSError as error:
            raise store_error("write", path, error) from error
    return False


def _remove_void(path: Path) -> None:
    # Another process may have done the same and claimed anew since we looked: look again at what was moved away.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    with suppress(OSError):
        path.rename(aside)
        if not _void(aside):
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _void(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    except OSError:
        return False
    holder = _holder(path)
    if holder.get("machine") == machine() and not _alive(holder.get("pid")):
        return True
    return age > STALE


def _holder(path: Path) -> dict[str, object]:
    try:
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _renew(path: Path, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT):
        with suppress(OSError):
            os.utime(path)


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def machine() -> str:
    """Return a name for the processes whose ids compare with ours (one boot, one container), and nothing personal."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8"))
    with suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=8).hexdigest()
