"""One whole audit as a user runs it: `vestige audit` in a process of its own, from data to the written report."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import Config, config_of, to_toml
from vestige.log import AuditLog

RAN = (0, 1, 3, 4)  # every exit code with which an audit leaves a log


class Unfinished(RuntimeError):
    """The command ended without a log; the message is what it said."""


@dataclass(frozen=True)
class Run:
    """What a run took and found.

    ``wall``: seconds from the start of the process to its end, imports and report included; ``cpu``: on all cores.
    """

    wall: float
    cpu: float
    log: AuditLog
    report_bytes: int

    @property
    def inside(self) -> float:
        """Seconds of the audit itself: the process without its start, its reading of the data and the report."""
        return self.log.cost.seconds.total


def audit(config: Config, folder: Path, *, store: Path, threads: int) -> Run:
    """Run an audit into ``folder`` and return what it took and found."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "out"
    start, before = time.perf_counter(), children()
    _vestige("audit", config, folder, store, threads, "--out", str(out), "--quiet")
    wall, cpu = time.perf_counter() - start, children() - before
    return Run(wall, cpu, AuditLog.load(out), (out / "report.html").stat().st_size)


def plan(config: Config, folder: Path, *, store: Path, threads: int) -> tuple[dict[str, Any], float]:
    """Return what `vestige plan` says of a config, and the seconds it took to say it."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    said = _vestige("plan", config, folder, store, threads, "--json")
    return json.loads(said), time.perf_counter() - start


def children() -> float:
    """Return the processor seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm_up(threads: int) -> None:
    """Run a tiny audit untimed, so that the first one that is timed finds the libraries in memory like every other."""
    changes = {"shadow.count": 2, "recipe.epochs": 1, "audit.targets": 1, "audit.attacks": ["loss"]}
    with tempfile.TemporaryDirectory() as folder:
        audit(config_of("digits", changes), Path(folder), store=Path(folder) / "store", threads=threads)


def _vestige(verb: str, config: Config, folder: Path, store: Path, threads: int, *options: str) -> str:
    file = folder / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    command = [sys.executable, "-m", "vestige", verb, str(file), "--set", f"store={store}", *options]
    done = subprocess.run(command, env=pinned(threads), capture_output=True, text=True, check=False)
    if done.returncode not in RAN:
        raise Unfinished(f"vestige {verb} ended with {done.returncode}: {last_line(done.stderr)}")
    return done.stdout


def pinned(threads: int) -> dict[str, str]:
    """Return this process's environment with the number of threads set for every library that reads it."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


def last_line(text: str) -> str:
    """Return the last line that says something, which for an error is what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
