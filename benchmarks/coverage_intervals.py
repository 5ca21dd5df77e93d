"""How often the 95 % intervals contain the truth, on scores whose law is known.

    python benchmarks/coverage_intervals.py [--repeats 2000] [--json FILE]

Every cell draws members and non-members afresh, computes the interval through the public functions and looks whether
the law's own AUC, TPR or balanced accuracy lies inside. A cell is fine between 93 and 97 %.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import integrate, stats

from vestige.metrics import auc, balanced_accuracy, operating_point, roc, tprs_at
from vestige.seeds import rng

SIZES = (500, 2_000, 10_000)
FPRS = (0.001, 0.01, 0.1)
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Law:
    """Two distributions of scores, and what they imply."""

    name: str
    members: Draw
    nonmembers: Draw
    auc: float
    tpr: Callable[[float], float] | None
    accuracy: float


@dataclass(frozen=True)
class Cell:
    """The coverage of one interval."""

    law: str
    size: int
    figure: str
    truth: float
    repeats: int
    coverage: float
    missed_low: float
    missed_high: float
    width: float


def gaussian(shift: float) -> Law:
    return Law(
        f"normal, shift {shift:g}",
        lambda g, n: g.normal(shift, 1, n),
        lambda g, n: g.normal(0, 1, n),
        float(stats.norm.cdf(shift / np.sqrt(2))),
        lambda fpr: float(stats.norm.sf(stats.norm.isf(fpr) - shift)),
        float(stats.norm.cdf(shift / 2)),
    )


def student(freedom: int, shift: float) -> Law:
    law = stats.t(freedom)
    area = integrate.quad(lambda x: law.cdf(x) * law.pdf(x - shift), -np.inf, np.inf, epsabs=1e-10)[0]
    return Law(
        f"Student t{freedom}, shift {shift:g}",
        lambda g, n: g.standard_t(freedom, n) + shift,
        lambda g, n: g.standard_t(freedom, n),
        float(area),
        lambda fpr: float(law.sf(law.isf(fpr) - shift)),
        float(law.cdf(shift / 2)),
    )


def memorised(fraction: float, shift: float) -> Law:
    """A few members stand far out; the others look like non-members."""
    return Law(
        f"{fraction:.0%} memorised",
        lambda g, n: g.normal(0, 1, n) + shift * (g.random(n) < fraction),
        lambda g, n: g.normal(0, 1, n),
        float(fraction * stats.norm.cdf(shift / np.sqrt(2)) + (1 - fraction) / 2),
        lambda fpr: float(fraction * stats.norm.sf(stats.norm.isf(fpr) - shift) + (1 - fraction) * fpr),
        float(0.5 + fraction * (stats.norm.cdf(shift / 2) - 0.5)),
    )


def wide(scale: float) -> Law:
    """Members spread wider: a curve that crosses the diagonal."""
    inner = np.sqrt(2 * np.log(scale) / (1 - scale**-2))
    return Law(
        f"normal, {scale:g} times as wide",
        lambda g, n: g.normal(0, scale, n),
        lambda g, n: g.normal(0, 1, n),
        0.5,
        lambda fpr: float(stats.norm.sf(stats.norm.isf(fpr) / scale)),
        float(0.5 + (stats.norm.sf(inner / scale) - stats.norm.sf(inner)) / 2),
    )


def rounded(shift: float, step: float) -> Law:
    """Scores on a grid, so that members and non-members often tie; TPR at a fixed FPR then jumps and is left out."""
    grid = np.arange(-12, 12 + step, step)
    edges = np.append(grid - step / 2, np.inf)
    inside = np.diff(stats.norm.cdf(edges - shift))
    outside = np.diff(stats.norm.cdf(edges))
    below = np.cumsum(outside) - outside / 2
    return Law(
        f"normal, shift {shift:g}, rounded to {step:g}",
        lambda g, n: np.round(g.normal(shift, 1, n) / step) * step,
        lambda g, n: np.round(g.normal(0, 1, n) / step) * step,
        float(inside @ below),
        None,
        float(0.5 + np.max(np.cumsum(outside - inside)) / 2),
    )


LAWS = (
    gaussian(0.0),
    gaussian(0.5),
    gaussian(1.0),
    gaussian(2.0),
    student(2, 1.0),
    memorised(0.1, 6.0),
    wide(3.0),
    rounded(1.0, 1.0),
)


def cells(law: Law, size: int, repeats: int, seed: int = 0) -> Iterator[Cell]:
    """Yield the coverage of AUC, of TPR at each rate that ``size`` resolves, and of accuracy at a fixed threshold."""
    generator = rng(seed, "coverage", law.name, size)
    rates = [fpr for fpr in FPRS if law.tpr is not None and size * fpr >= 5]
    truths = {"AUC": law.auc} | {f"TPR@{fpr:g}": law.tpr(fpr) for fpr in rates if law.tpr is not None}
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in truths}
    for _ in range(repeats):
        curve = roc(law.members(generator, size), law.nonmembers(generator, size))
        found = [auc(curve), *tprs_at(curve, rates)] if rates else [auc(curve)]
        for name, estimate in zip(truths, found, strict=True):
            ends[name].append((estimate.low or 0.0, estimate.high or 0.0))
    for name, pairs in ends.items():
        yield summary(law, size, name, truths[name], pairs)


def accuracy_cells(law: Law, size: int, repeats: int, seed: int = 0) -> Iterator[Cell]:
    """Yield the coverage of balanced accuracy at the best threshold and at one fixed beforehand."""
    generator = rng(seed, "coverage", "accuracy", law.name, size)
    far = law.members(generator, 200_000), law.nonmembers(generator, 200_000)
    fixed = float((np.mean(far[0] > 0.75) + np.mean(far[1] <= 0.75)) / 2)
    best: list[tuple[float, float]] = []
    given: list[tuple[float, float]] = []
    for _ in range(repeats):
        inside, outside = law.members(generator, size), law.nonmembers(generator, size)
        for pairs, estimate in (
            (best, balanced_accuracy(roc(inside, outside))),
            (given, operating_point(inside, outside, 0.75).balanced_accuracy),
        ):
            pairs.append((estimate.low or 0.0, estimate.high or 0.0))
    yield summary(law, size, "accuracy, best", law.accuracy, best)
    yield summary(law, size, "accuracy, fixed", fixed, given)


def summary(law: Law, size: int, figure: str, truth: float, pairs: list[tuple[float, float]]) -> Cell:
    low, high = np.array(pairs).T
    return Cell(
        law.name,
        size,
        figure,
        truth,
        len(low),
        float(np.mean((low <= truth) & (truth <= high))),
        float(np.mean(truth < low)),
        float(np.mean(truth > high)),
        float(np.mean(high - low)),
    )


def show(cell: Cell, expected: tuple[float, float]) -> str:
    mark = "" if expected[0] <= cell.coverage <= expected[1] else "  <-"
    coarse = " (coarse)" if cell.figure.startswith("TPR") and cell.size * float(cell.figure[4:]) < 10 else ""
    return (
        f"{cell.law:32s} {cell.size:6,d}  {cell.figure:15s} {cell.truth:7.4f}  {cell.coverage:6.1%}"
        f"  ({cell.missed_low:.1%} below, {cell.missed_high:.1%} above)  width {cell.width:.4f}{coarse}{mark}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--repeats", type=int, default=2000)
    options.add_argument("--accuracy-repeats", type=int, default=400)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    started = time.perf_counter()
    done: list[Cell] = []
    print(f"95 % intervals, {chosen.repeats:,} repeats: law, records per side, figure, truth, coverage")
    for law in LAWS:
        for size in SIZES:
            for cell in cells(law, size, chosen.repeats):
                done.append(cell)
                print(show(cell, (0.93, 0.97)), flush=True)
    print(f"\nBalanced accuracy, {chosen.accuracy_repeats:,} repeats (best: conservative by design)")
    for law in LAWS:
        for cell in accuracy_cells(law, 500, chosen.accuracy_repeats):
            done.append(cell)
            print(show(cell, (0.92, 1.0)), flush=True)
    judged = [
        c for c in done if not c.figure.startswith("acc") and (c.figure == "AUC" or c.size * float(c.figure[4:]) >= 10)
    ]
    inside = sum(0.93 <= c.coverage <= 0.97 for c in judged)
    print(
        f"\n{inside} of {len(judged)} AUC and resolved TPR cells within 93–97 %, "
        f"in {time.perf_counter() - started:.0f} s"
    )
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(cell) for cell in done], indent=1))


if __name__ == "__main__":
    main()
