"""The same audits by other tools, each in a process of its own, skipped with a sentence where it is absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechanisms import ASKED, DELTA
from simulation import Cell
from vestige.seeds import seed_for

FOLDER = Path(__file__).resolve().parent / "peer_drivers"
DRIVERS = {
    "TFPrivacy": "tensorflow_privacy_bounds.py",
    "JAXPrivacy": "jax_privacy_bounds.py",
    "opake": "opake_bounds.py",
}
NAMES = {"TFPrivacy": "TF Privacy", "JAXPrivacy": "JAX Privacy", "opake": "opake"}
NOISE_SIZE, NOISE_BLOCKS = 500, 40


@dataclass(frozen=True)
class Peer:
    """A tool, which of its versions, and the folder or wheel it is in."""

    tool: str
    version: str
    path: Path

    @property
    def title(self) -> str:
        """The tool and its version."""
        return f"{NAMES[self.tool]} {self.version}".strip()


def peers(given: Sequence[str]) -> tuple[list[Peer], list[str]]:
    """Return the tools of TOOL[@VERSION]=PATH arguments, and a sentence for each tool that is not there."""
    found, skipped = [], []
    for text in given:
        name, _, path = text.partition("=")
        tool, _, version = name.partition("@")
        if tool not in DRIVERS or not path:
            sys.exit(f"Expected --path {'|'.join(DRIVERS)}[@VERSION]=FOLDER_OR_WHEEL, got '{text}'.")
        if Path(path).exists():
            found.append(Peer(tool, version or _version(tool, Path(path)), Path(path).resolve()))
        else:
            skipped.append(f"{NAMES[tool]}: skipped, there is no '{path}'.")
    absent = set(DRIVERS) - {text.partition("=")[0].partition("@")[0] for text in given}
    skipped += [f"{NAMES[tool]}: skipped, it was not given (--path {tool}=FOLDER_OR_WHEEL)." for tool in sorted(absent)]
    return found, skipped


def _version(tool: str, path: Path) -> str:
    """Return the version that a wheel's name or an installed package's metadata tells."""
    if path.suffix == ".whl":
        return path.name.split("-")[1]
    start = {"TFPrivacy": "tensorflow_", "JAXPrivacy": "jax_privacy", "opake": "opake_auditing"}[tool]
    told = sorted(path.glob(f"{start}*.dist-info"))
    return told[0].stem.rpartition("-")[2] if told else ""


def rows(
    jobs: Sequence[tuple[Peer, int]],
    cells: Sequence[Cell],
    *,
    python: str,
    seconds: float,
    most: int,
    seed: int,
    workers: int,
    timeout: float,
) -> Iterator[tuple[Peer, int, list[dict[str, Any]] | str]]:
    """Yield, for each of the tools and numbers of canaries, the figures of all its bounds, or why there are none."""
    asked = {mechanism.name for mechanism in ASKED}
    chosen = [cell for cell in cells if cell.mechanism in asked and cell.delta == DELTA]
    smallest = min((cell.canaries for cell in chosen), default=0)
    with ThreadPoolExecutor(workers) as pool:
        waiting = {}
        for peer, size in sorted(jobs, key=lambda job: -job[1]):
            request = {
                "canaries": size,
                "delta": DELTA,
                "seconds": seconds,
                "most": most,
                "cells": [
                    {"mechanism": cell.mechanism, "audits": cell.audits, "seeds": cell.seeds(seed)}
                    for cell in chosen
                    if cell.canaries == size
                ],
                "noise": noise(seed) if size == smallest else None,
            }
            waiting[pool.submit(_ask, peer, request, python, timeout)] = (peer, size)
        for job in as_completed(waiting):
            yield (*waiting[job], job.result())


def noise(seed: int, blocks: int = NOISE_BLOCKS) -> dict[str, Any]:
    """Return what to draw for the AUC and the TPR of scores that know nothing."""
    return {"size": NOISE_SIZE, "seeds": [seed_for(seed, "noise", block) for block in range(blocks)]}


def _ask(peer: Peer, request: dict[str, Any], python: str, timeout: float) -> list[dict[str, Any]] | str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        command = [python, str(FOLDER / DRIVERS[peer.tool]), str(file), str(peer.path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=timeout, check=False, cwd=folder
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{peer.title}: skipped at {request['canaries']} canaries, {error}."
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        where = f"{peer.title}: skipped at {request['canaries']} canaries"
        return f"{where}, its driver ended with {done.returncode}: {last}"
    return [
        one if "noise" in one else {"kind": "bound", "canaries": request["canaries"], "refused": 0, "due": True, **one}
        for one in told
    ]
