"""Provenance: what a result was made with. Versions, processor, revision and command; never a host or user name."""

from __future__ import annotations

import getpass
import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "xgboost", "lightgbm")
_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HOME = re.compile(r"(?:/home|/Users|[A-Za-z]:[/\\]Users)[/\\][^/\\\s'\"]+")


def provenance() -> dict[str, Any]:
    """Return what this process runs on and with; quick, and importing none of the packages it names."""
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    return {
        "vestige": _version("vestige") or "unknown",
        "python": platform.python_version(),
        "packages": packages,
        "platform": platform.platform(),
        "cpu": {"model": cpu_model(), "count": os.cpu_count() or 1, "usable": _usable_cpus()},
        "revision": git_revision(Path.cwd()),
        "command": command(sys.argv),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or the architecture where the system does not say."""
    with suppress(OSError, UnicodeDecodeError):
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model") and value.strip():
                return " ".join(value.split())
    return platform.machine() or "unknown"


def _usable_cpus() -> int:
    # A container or a batch system may allow fewer processors than there are.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def git_revision(folder: Path) -> str | None:
    """Return the commit that ``folder``'s repository is at, read from its files; None outside a repository."""
    with suppress(OSError, UnicodeDecodeError):
        for place in (folder, *folder.parents):
            git = place / ".git"
            if git.is_file():
                # A linked work tree or submodule: the file says where the repository is.
                git = place / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            if git.is_dir():
                return _head(git)
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head if _REVISION.fullmatch(head) else None
    reference = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    folders = [git, git / shared.read_text(encoding="utf-8").strip()] if shared.is_file() else [git]
    for folder in folders:
        if (folder / reference).is_file():
            found = (folder / reference).read_text(encoding="utf-8").strip()
            return found if _REVISION.fullmatch(found) else None
        if (folder / "packed-refs").is_file():
            for line in (folder / "packed-refs").read_text(encoding="utf-8").splitlines():
                revision, _, name = line.partition(" ")
                if name == reference and _REVISION.fullmatch(revision):
                    return revision
    return None


def command(argv: Sequence[str]) -> str:
    """Return the command line with the program's bare name, and with home folders and the user's name taken out.

    >>> command(["/usr/bin/vestige", "audit", "/home/someone/my audit.toml"])
    "vestige audit '~/my audit.toml'"
    """
    program, *rest = list(argv) or [""]
    text = shlex.join([re.split(r"[/\\]", program)[-1], *(_anonymous(word) for word in rest)])
    return text.replace("\n", " ")


def _anonymous(word: str) -> str:
    with suppress(RuntimeError):
        home = str(Path.home())
        if len(home) > 1:
            word = re.sub(rf"{re.escape(home)}(?=[/\\]|$)", "~", word)
    word = _HOME.sub("~", word)
    # Names as short as a common word stay, or they would be cut out of other words; as a folder they go.
    with suppress(KeyError, OSError, ImportError):
        user = re.escape(getpass.getuser())
        word = re.sub(rf"(?<=[/\\]){user}(?=[/\\]|$)", "~", word)
    return word
