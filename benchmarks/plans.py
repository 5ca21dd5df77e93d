"""What `vestige plan` predicts against what the run then takes: seconds, disk, trainings, queries.

    python benchmarks/plans.py
    python benchmarks/plans.py --tasks digits --shadows 8 --epochs 10

Both are commands of their own: the plan with an empty store, then the audit with the same one. Seconds asked for are
those of the whole command; a prediction should be within a factor of two of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import whole
from tasks import config_of
from vestige.errors import VestigeError
from vestige.store import Store

SHADOWS = {"digits": 64, "location30": 16, "digits_forest": 16}
EPOCHS = {"digits", "location30"}  # the others have none
FACTOR = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(SHADOWS), default=list(SHADOWS))
    parser.add_argument("--rounds", type=int, default=1, help="medians are compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shadows", type=int, help=f"shadow models ({SHADOWS})")
    parser.add_argument("--epochs", type=int, help="epochs of every network")
    parser.add_argument("--attacks", nargs="+", default=["standard"], help="a battery, or names")
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(args.threads))
    print(f"seed {args.seed}, {args.executor}, attacks {' '.join(args.attacks)}, {args.rounds} round(s)")
    print(machine.busy())
    whole.warm_up(args.threads)
    found = {"machine": machine.facts(args.threads), "seed": args.seed, "tasks": {}}
    missed = 0
    for task in args.tasks:
        rounds = [compare(task, args) for _ in range(args.rounds)]
        rows = [
            (name, *(statistics.median(one[name][side] for one in rounds) for side in (0, 1))) for name in rounds[0]
        ]
        print(f"{task}, {args.shadows or SHADOWS[task]} shadow models")
        for name, predicted, took in rows:
            ratio = predicted / took if took else float("nan")
            near = 1 / FACTOR <= ratio <= FACTOR
            missed += not near
            print(
                f"  {name:26} predicted {predicted:12,.2f}, took {took:12,.2f}, ratio {ratio:5.2f}"
                f"{'' if near else f'  NOT within a factor of {FACTOR:g}'}"
            )
        print(flush=True)
        found["tasks"][task] = {name: {"predicted": predicted, "took": took} for name, predicted, took in rows}
    print(f"{missed} prediction(s) outside a factor of {FACTOR:g}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def compare(task: str, args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return what was predicted and what was taken, by name."""
    changes: dict[str, Any] = {"seed": args.seed, "audit.targets": 1, "shadow.count": args.shadows or SHADOWS[task]}
    changes |= {"audit.attacks": args.attacks, "shadow.executor": args.executor, "shadow.workers": args.threads}
    changes |= {"recipe.epochs": args.epochs if task in EPOCHS else None}
    config = config_of(task, changes)
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), Path(folder) / "store"
        plan, planning = whole.plan(config, root / "plan", store=store, threads=args.threads)
        run = whole.audit(config, root / "run", store=store, threads=args.threads)
        disk, asked = Store(store).size() / 1e6, answers(store)
    log = run.log
    print(
        f"{task}: planned in {planning:.1f} s; audited in {run.wall:.1f} s, {run.inside:.1f} s inside", file=sys.stderr
    )
    return {
        "seconds, whole command": (plan["seconds"], run.wall),
        "disk, MB": (plan["disk_mb"], disk),
        "trainings": (plan["trainings"], log.shadow.trained),
        "queries to the target": (plan["target_queries"], log.cost.target_queries),
        "queries to shadow models": (plan["shadow_queries"], asked - log.cost.target_queries),
    }


def answers(folder: Path) -> int:
    """Return how many answers the stored signals came from: all signals of a model share one query of each record."""
    store, total = Store(folder), 0
    for key in store.keys("signals"):
        found = store.get("signals", key)
        if found is not None and "correct" in found.arrays:
            records, queries = found.arrays["correct"].shape[:2]
            total += records * queries
    return total


if __name__ == "__main__":
    try:
        main()
    except (VestigeError, whole.Unfinished) as error:
        sys.exit(str(error))
