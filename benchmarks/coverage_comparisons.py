"""Do the audit's comparisons hold what they promise? Coverage of differences, of means over targets and of slices.

    python benchmarks/coverage_comparisons.py [--repeats 2000] [--only PART] [--json FILE]

noise: AUC and TPR of scores that know nothing, beside what chance gives exactly, over ten times as many repeats.
bootstrap: the bootstrap's interval of the AUC beside DeLong's. paired: two attacks, or two models, on the same records.
targets: means over models that are judged on the same records, some of which every model memorises, while the models
differ in strength. slices: all slices alike, so that every one called different is wrong.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from vestige.metrics import (
    area,
    auc,
    bootstrap_auc,
    judged,
    mean_over_targets,
    paired_auc,
    paired_tpr,
    roc,
    slices,
    tprs_at,
)
from vestige.metrics.targets import record_variances
from vestige.seeds import rng

Row = dict[str, float | int | str]


def noise(repeats: int) -> Iterator[Row]:
    """Mean AUC and TPR at 1 % where members and non-members have one law.

    The TPR is the largest over thresholds whose empirical FPR is at most α, so on noise it is on average
    (⌊αn₀⌋ + 1)/(n₀ + 1): the next non-member's rank.
    """
    for size in (500, 1_000, 5_000):
        draw = rng(0, "coverage", "noise", size)
        areas, rates = np.empty(10 * repeats), np.empty(10 * repeats)
        for k in range(10 * repeats):
            inside, outside = draw.normal(size=size), draw.normal(size=size)
            curve = roc(inside, outside)
            areas[k] = area(curve)
            rates[k] = curve.tpr[curve.vertex_at(0.01)]
        yield {"records": size, "figure": "AUC", "mean": areas.mean(), "exact": 0.5, "error": _error(areas)}
        exact = (int(0.01 * size + 1e-9) + 1) / (size + 1)
        yield {"records": size, "figure": "TPR@1%", "mean": rates.mean(), "exact": exact, "error": _error(rates)}


def bootstraps(repeats: int) -> Iterator[Row]:
    for size in (200, 1_000):
        for shift in (0.0, 1.0, 2.0):
            draw, truth = rng(0, "coverage", "bootstrap", size, str(shift)), stats.norm.cdf(shift / np.sqrt(2))
            hits, alike = np.zeros(2), []
            for k in range(repeats):
                curve = roc(draw.normal(shift, 1, size), draw.normal(0, 1, size))
                ends = auc(curve), bootstrap_auc(curve, seed=k, draws=400)
                hits += [each.low <= truth <= each.high for each in ends]
                alike.append(ends[1].half_width / ends[0].half_width)
            yield {
                "records": size,
                "shift": shift,
                "DeLong": hits[0] / repeats,
                "bootstrap": hits[1] / repeats,
                "width ratio": float(np.mean(alike)),
            }


def paired(repeats: int) -> Iterator[Row]:
    for size, fpr in ((500, 0.1), (2_000, 0.01)):
        for share in (0.0, 0.5, 0.9):
            for shifts in ((1.0, 1.3), (0.0, 0.5), (2.0, 2.0)):
                for same in (True, False):
                    yield _pair(size, fpr, share, shifts, same, repeats)


def _pair(size: int, fpr: float, share: float, shifts: tuple[float, float], same: bool, repeats: int) -> Row:
    draw = rng(0, "coverage", "paired", size, str(share), str(shifts), str(same))
    member = np.arange(2 * size) < size
    areas = [stats.norm.cdf(shift / np.sqrt(2)) for shift in shifts]
    rates = [stats.norm.sf(stats.norm.isf(fpr) - shift) for shift in shifts]
    hits = np.zeros(2)
    for _ in range(repeats):
        common = draw.normal(size=2 * size)
        truths = member, member if same else draw.permutation(member)
        one, other = (
            judged(np.sqrt(share) * common + np.sqrt(1 - share) * draw.normal(size=2 * size) + shift * truth, truth)
            for shift, truth in zip(shifts, truths, strict=True)
        )
        found = paired_auc(one, other), paired_tpr(one, other, fpr, draws=200)
        true = areas[1] - areas[0], rates[1] - rates[0]
        hits += [each.low <= value <= each.high for each, value in zip(found, true, strict=True)]
    return {
        "records": size,
        "fpr": fpr,
        "in common": share,
        "shifts": f"{shifts[0]:g}, {shifts[1]:g}",
        "members": "same" if same else "other",
        "AUC": hits[0] / repeats,
        "TPR": hits[1] / repeats,
    }


def targets(repeats: int) -> Iterator[Row]:
    for number in (2, 4, 8):
        for between in (0.0, 0.1):
            for memorised in (0.0, 0.1):
                yield _mean(1_000, number, between, memorised, 0.02, repeats)


def _mean(records: int, number: int, between: float, memorised: float, fpr: float, repeats: int) -> Row:
    draw = rng(0, "coverage", "targets", records, number, str(between), str(memorised))
    strengths = 0.5 + between * stats.norm.ppf((np.arange(400) + 0.5) / 400)
    cut = stats.norm.isf(fpr)
    true = [
        np.mean((1 - memorised) * law(strengths) + memorised * law(strengths + 4))
        for law in (lambda s: stats.norm.cdf(s / np.sqrt(2)), lambda s: stats.norm.sf(cut - s))
    ]
    hits = np.zeros(2)
    for _ in range(repeats):
        common, stuck = draw.normal(size=records), 4.0 * (draw.random(records) < memorised)
        scores, truths = [], []
        for _ in range(number):
            member = draw.random(records) < 0.5
            shift = 0.5 + between * draw.normal() + stuck
            scores.append(np.sqrt(0.8) * common + np.sqrt(0.2) * draw.normal(size=records) + shift * member)
            truths.append(member)
        spread = record_variances(scores, truths, lambda c: [area(c), float(c.tpr[c.vertex_at(fpr)])])
        curves = [roc(s[t], s[~t]) for s, t in zip(scores, truths, strict=True)]
        figures = [auc(c) for c in curves], [tprs_at(c, [fpr])[0] for c in curves]
        for place, estimates in enumerate(figures):
            mean = mean_over_targets(estimates, record_variance=float(spread[place])).mean
            hits[place] += mean.low <= true[place] <= mean.high
    return {
        "records": records,
        "targets": number,
        "between": between,
        "memorised": memorised,
        "AUC": hits[0] / repeats,
        "TPR": hits[1] / repeats,
    }


def sliced(repeats: int) -> Iterator[Row]:
    for kinds, records in ((10, 1_000), (30, 3_000)):
        for shift in (0.0, 0.7, 2.0):
            draw, truth = rng(0, "coverage", "slices", kinds, str(shift)), stats.norm.cdf(shift / np.sqrt(2))
            wrong, leaky, held = 0, 0, 0
            for _ in range(repeats):
                code, member = draw.integers(0, kinds, records), draw.random(records) < 0.5
                found = [each.standing for each in slices(code, draw.normal(size=records) + shift * member, member)]
                standings = [each for each in found if each is not None]
                wrong += min(each.p_rest for each in standings) <= 0.05
                leaky += min(each.p_chance for each in standings) <= 0.05
                held += all(each.together.low <= truth <= each.together.high for each in standings)
            yield {
                "slices": kinds,
                "records": records,
                "shift": shift,
                "any called unlike the rest": wrong / repeats,
                "any called leaking": leaky / repeats,
                "all covered": held / repeats,
            }


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "noise": noise,
    "bootstrap": bootstraps,
    "paired": paired,
    "targets": targets,
    "slices": sliced,
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--repeats", type=int, default=2000)
    options.add_argument("--only", choices=list(PARTS))
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    done: dict[str, list[Row]] = {}
    for name in [chosen.only] if chosen.only else list(PARTS):
        started = time.perf_counter()
        print(f"\n{name}, {chosen.repeats:,} repeats")
        done[name] = []
        for row in PARTS[name](chosen.repeats):
            done[name].append(row)
            each = row.items()
            cells = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in each)
            print("  " + "  ".join(cells), flush=True)
        print(f"  in {time.perf_counter() - started:.0f} s")
    if chosen.json:
        chosen.json.write_text(json.dumps(done, indent=1, default=float))


if __name__ == "__main__":
    main()
