"""How long every estimate takes, for as many scores as a large audit has.

    python benchmarks/estimates.py [--records 25000] [--draws 1000] [--repeats 3] [--json FILE]

Times `vestige.metrics.summary`: AUC with DeLong's interval and with a bootstrap, TPR on a grid of false-positive rates,
balanced accuracy, and the whole family of bounds on ε, then each part by itself. The target is 2 s for 25,000 members
and as many non-members.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vestige.metrics import auc, balanced_accuracy, bootstrap_auc, roc, tprs_at
from vestige.metrics.epsilon import coins
from vestige.metrics.summary import FPRS, epsilons, summary
from vestige.seeds import rng

TARGET = 2.0


def best_of(work: Callable[[], Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--records", type=int, default=25_000)
    options.add_argument("--draws", type=int, default=1_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    draw = rng(0, "benchmarks", "estimates")
    members, nonmembers = draw.normal(0.5, 1, chosen.records), draw.normal(0, 1, chosen.records)
    started = time.perf_counter()
    found = summary(members, nonmembers, mechanism="gaussian", draws=chosen.draws)
    first = time.perf_counter() - started
    # A fresh seed each time: nothing may be remembered from the run before.
    seeds = iter(range(1, chosen.repeats + 1))
    whole = best_of(
        lambda: summary(np.roll(members, 1), nonmembers, mechanism="gaussian", draws=chosen.draws, seed=next(seeds)),
        chosen.repeats,
    )
    curve, flipped = roc(members, nonmembers), coins(members, nonmembers)
    parts = {
        "auc, DeLong": best_of(lambda: auc(curve), chosen.repeats),
        f"auc, {chosen.draws:,} bootstraps": best_of(lambda: bootstrap_auc(curve, draws=chosen.draws), chosen.repeats),
        "balanced accuracy": best_of(lambda: balanced_accuracy(curve), chosen.repeats),
        f"tpr at {len(FPRS)} rates": best_of(lambda: tprs_at(curve, FPRS), chosen.repeats),
        "epsilon, all methods": best_of(lambda: epsilons(flipped, mechanism="gaussian"), chosen.repeats),
    }
    print(f"{chosen.records:,} members and {chosen.records:,} non-members")
    for name, seconds in parts.items():
        print(f"  {name:28s} {seconds:8.3f} s")
    print(f"  {'all of it, first time':28s} {first:8.3f} s")
    print(f"  {'all of it':28s} {whole:8.3f} s   (target {TARGET:g} s)")
    for name, bound in found.epsilon.items():
        value = "refused" if bound.value is None else f"{bound.value:.3f}"
        print(f"    {name:18s} {value:>8s}  {bound.kind}, ceiling {bound.ceiling}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"parts": parts, "first": first, "whole": whole}, indent=1))


if __name__ == "__main__":
    main()
