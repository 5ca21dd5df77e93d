"""What every driver of another tool's ε bounds does: draw the benchmark's audits, ask, count, print JSON lines.

The tool's process gets the request as one file: canaries, cells of one mechanism each, and how many processor seconds
a method may take per cell. It needs numpy and scipy, and not Vestige.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mechanisms

TOLERANCE = 1e-6
Bound = Callable[[np.ndarray, np.ndarray, float], float]
Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Bounds:
    """A tool's bounds by name, each (member scores, non-member scores, δ) → ε; ``pure``: what always means δ = 0."""

    bounds: dict[str, Bound]
    pure: bool = False
    noise: Callable[[np.ndarray, np.ndarray], tuple[float, float]] | None = None
    whole: dict[str, Callable[[Pairs, float, float], dict]] | None = None
    """Bounds that judge all audits of a cell together: (audits, δ, truth) → figures."""


def serve(load: Callable[[Path], Bounds]) -> None:
    """Answer the request named on the command line with one line of JSON per cell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("request", type=Path)
    parser.add_argument("tool", type=Path, help="folder or wheel of the tool")
    options = parser.parse_args()
    request = json.loads(options.request.read_text(encoding="utf-8"))
    tool = load(options.tool)
    for cell in request["cells"]:
        mechanism, delta = mechanisms.MECHANISMS[cell["mechanism"]], 0.0 if tool.pure else request["delta"]
        truth = mechanism.epsilon(delta)

        def drawn(cell=cell, mechanism=mechanism) -> Pairs:
            for scores, included in itertools.islice(
                mechanisms.audits(mechanism, request["canaries"], cell["seeds"]), cell["audits"]
            ):
                yield scores[included], scores[~included]

        for name, bound in tool.bounds.items():
            tell(cell, name, delta, truth, one_by_one(bound, drawn(), delta, truth, request["seconds"]))
        for name, together in (tool.whole or {}).items():
            if request["canaries"] <= request["most"]:
                tell(cell, name, delta, truth, together(drawn(), delta, truth))
    if tool.noise and request["noise"]:
        tell_line({"noise": _noise(tool.noise, request["noise"])})


def one_by_one(bound: Bound, pairs: Pairs, delta: float, truth: float, seconds: float, fewest: int = 20) -> dict:
    """Ask about one audit after the other until the seconds are spent."""
    values, taken, crashes, first = [], [], 0, ""
    for inside, outside in pairs:
        if len(taken) >= fewest and math.fsum(taken) > seconds:
            break
        start = time.process_time()
        try:
            values.append(float(bound(inside, outside, delta)))
        except Exception as error:  # whatever it raises is what is being counted
            crashes, first = crashes + 1, first or f"{type(error).__name__}: {error}"
        taken.append(time.process_time() - start)
    exceeded = sum(value > truth + TOLERANCE for value in values) if math.isfinite(truth) else None
    return {
        "audits": len(values),
        "crashes": crashes,
        "first_crash": first,
        "exceeded": exceeded,
        "median": statistics.median(values) if values else None,
        "seconds": statistics.median(taken),
    }


def _noise(figures: Callable[[np.ndarray, np.ndarray], tuple[float, float]], asked: dict) -> dict:
    found = []
    for seed in asked["seeds"]:
        draw = np.random.Generator(np.random.PCG64(seed))
        for _ in range(mechanisms.BLOCK):
            pair = draw.normal(size=asked["size"]), draw.normal(size=asked["size"])
            found.append(figures(*pair))
    area, rate = np.array(found).T
    return {
        "size": asked["size"],
        "repeats": len(found),
        "auc": float(area.mean()),
        "auc_error": float(area.std() / math.sqrt(len(found))),
        "tpr": float(rate.mean()),
        "tpr_error": float(rate.std() / math.sqrt(len(found))),
    }


def tell(cell: dict, name: str, delta: float, truth: float, figures: dict) -> None:
    known = truth if math.isfinite(truth) else None
    tell_line({"mechanism": cell["mechanism"], "method": name, "delta": delta, "truth": known, **figures})


def tell_line(found: dict) -> None:
    """Print the line, past whatever the tool has done to stdout."""
    os.write(1, f"\n{json.dumps(found)}\n".encode())


def bare_package(name: str, *folders: Path) -> None:
    """Make a package importable without running its ``__init__``, which may want far more than the module asked for."""
    package = ModuleType(name)
    package.__path__ = [str(folder) for folder in folders]
    sys.modules[name] = package


def stand_in(name: str, **contents: object) -> None:
    """Put a module of our own where one cannot be imported."""
    try:
        __import__(name)
    except ImportError:
        module = ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module
