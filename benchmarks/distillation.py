"""What a distilled trajectory costs beside the training of its student, and what the attacks that read it find.

    python benchmarks/distillation.py
    python benchmarks/distillation.py --parts cost --tasks location30 --rounds 1
    python benchmarks/distillation.py --parts strength --datasets location30 --seeds 0 1 2

Cost: a student is trained on as many records as are measured, alone; with every record measured after every epoch in
five metrics; and with every epoch's snapshot asked as a finished model is asked. The three take turns in one process
with one thread, in seconds of that thread's processor time, best of several rounds. Strength: for every seed a pool of
its own, of which several models take the target's place; figures are means over all of them with Student intervals.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import machine
from tasks import config_of
from training import Task
from training import tasks as training_tasks
from vestige.attacks.assemble import Field
from vestige.attacks.seqmia import SeqMIA
from vestige.attacks.trajectory import Trajectory
from vestige.backends.ensemble import train_many
from vestige.backends.following import distil
from vestige.backends.torch import TorchRecipe
from vestige.datasets import load_dataset
from vestige.metrics import auc, mean_over_targets, roc, tprs_at
from vestige.probing import probe_pool
from vestige.signals.base import SignalTable
from vestige.signals.process.metrics import metrics_of
from vestige.split import draw
from vestige.store import Store
from vestige.target import Access

TASKS = ("location30", "own", "unreadable", "fashion_mnist")
DATASETS = ("location30", "digits", "retail600", "fashion_mnist")
RATES = (0.001, 0.01)
ASKED = 1.3


def measured(task: Task, epochs: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of the student alone, followed, and asked snapshot by snapshot."""
    records, recipe = task.records, replace(task.recipe, epochs=epochs)
    rows = np.arange(len(records))
    soft = np.random.default_rng(0).dirichlet(np.ones(len(records.classes)), len(records))
    setup = recipe._setup(records)
    steps: list[np.ndarray] = []

    def student(visit: Callable[[Any], None] | None) -> None:
        distil(recipe, records, records.x, soft, 0, rows, visit)

    def plainly() -> None:
        def on_epoch(_: int, __: int, state: dict[str, torch.Tensor]) -> None:
            steps.append(metrics_of(setup.target(state).query(records.x, Access.SCORE), records, rows))

        train_many(setup.plan, setup.graph, [rows], [0], on_epoch=on_epoch)

    ways: dict[str, Callable[[], None]] = {
        "alone": lambda: student(None),
        "followed": lambda: student(lambda outputs: steps.append(metrics_of(outputs, records, rows))),
        "asked": plainly,
    }
    best = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):
        for name, way in ways.items():
            steps.clear()
            start = time.thread_time()
            way()
            best[name] = min(best[name], time.thread_time() - start)
    return {
        "task": task.name,
        "records": len(records),
        "epochs": epochs,
        **best,
        "ratio": best["followed"] / best["alone"],
        "plain_ratio": best["asked"] / best["alone"],
    }


def cost(folder: Path, wanted: list[str], epochs: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    found = []
    print(f"A student's {epochs} epochs, measured on as many records as it learns from (asked: at most {ASKED} x)")
    for task in training_tasks(folder, wanted, quick=False):
        found.append(row := measured(task, epochs, rounds))
        print(
            f"  {row['task']:20s} {row['records']:6,d} records   alone {row['alone']:6.1f} s   followed "
            f"{row['followed']:6.1f} s = {row['ratio']:.2f} x   asked as finished models {row['plain_ratio']:.2f} x",
            flush=True,
        )
    return found


def attacks(epochs: int) -> dict[str, Trajectory]:
    own = {"process": "snapshots", "epochs": epochs}
    return {
        "loss": Trajectory(epochs=0),
        "trajectory": Trajectory(epochs=epochs),
        "trajectory, boosting": Trajectory(epochs=epochs, model="boosting"),
        "seqmia": SeqMIA(epochs=epochs),
        "seqmia, boosting": SeqMIA(epochs=epochs, model="boosting"),
        "seqmia, logistic": SeqMIA(epochs=epochs, model="logistic"),
        "trajectory, snapshots": Trajectory(**own),
        "seqmia, snapshots": SeqMIA(**own),
    }


def pool(dataset: str, seed: int, targets: int, epochs: int, limit: int | None, store: Store) -> Field:
    """Return models of one pool with their sequences; the first ``targets`` take the target's place."""
    config = config_of(dataset)
    options = {k: v for k, v in config["recipe"].items() if k != "kind"}
    recipe = TorchRecipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})
    records = load_dataset(config["data"]["source"], limit=limit or config["data"].get("limit"))
    # Blocks of two: a model and its complement are never each other's references.
    split = draw(len(records), shadows=2 * (targets + 1), seed=seed, population=config["data"]["population"])
    models = [0, *range(1, 2 * (targets + 1), 2)][: targets + 2]
    keys = list(dict.fromkeys(one.key for one in attacks(epochs).values()))
    table = SignalTable({}, len(records), 1 + split.shadows)
    table = probe_pool(table, keys, models, split, recipe, records, store, seed=seed)
    return Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=seed)


def strength(
    datasets: list[str], seeds: list[int], targets: int, epochs: int, limit: int | None, folder: Path
) -> list[dict[str, Any]]:
    found = []
    for dataset in datasets:
        print(f"\n{dataset}: {len(seeds)} seeds, {targets} targets each, {epochs} epochs; means with 95 % intervals")
        rows: dict[str, list[list[Any]]] = {name: [] for name in attacks(epochs)}
        seconds = dict.fromkeys(rows, 0.0)
        for seed in seeds:
            field = pool(dataset, seed, targets, epochs, limit, Store(str(folder)))
            for name, attack in attacks(epochs).items():
                for model in [0, *range(1, 2 * targets, 2)][:targets]:
                    start = time.thread_time()
                    scores = attack.score(field.evidence(model, attack))
                    seconds[name] += time.thread_time() - start
                    truth = field.membership(model)
                    curve = roc(scores[truth], scores[~truth])
                    rows[name].append([auc(curve), *tprs_at(curve, RATES)])
        for name, figures in rows.items():
            means = [mean_over_targets([row[k] for row in figures]).mean for k in range(1 + len(RATES))]
            told = ["withheld" if m.withheld else f"{m.value:.4f} [{m.low:.4f}, {m.high:.4f}]" for m in means]
            each = seconds[name] / (len(seeds) * targets)
            print(f"  {name:22s} AUC {told[0]}  TPR@0.1 % {told[1]}  TPR@1 % {told[2]}  {each:5.1f} s", flush=True)
            found.append(
                {"dataset": dataset, "attack": name, "seconds": each}
                | {key: [m.value, m.low, m.high] for key, m in zip(("auc", *map(str, RATES)), means, strict=True)}
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=("cost", "strength"), default=["cost", "strength"])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=["location30", "retail600"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--targets", type=int, default=2, help="models that take the target's place, per seed")
    parser.add_argument("--epochs", type=int, default=50, help="of every student")
    parser.add_argument("--limit", type=int, help="records of a dataset, at most")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way; the best counts (default 3)")
    parser.add_argument("--store", type=Path, help="folder that keeps what was trained; by default nothing is kept")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    folders = [Path(part) for part in os.environ.get("VESTIGE_DATA", "").split(os.pathsep) if part]
    folder = next((f for f in folders if (f / "location30").is_dir()), None)
    if folder is None:
        print("Set VESTIGE_DATA to the folder that has location30/ and fashion_mnist/.", file=sys.stderr)
        return 2
    print(machine.describe(1))
    found: dict[str, Any] = {"machine": machine.facts(1)}
    if "cost" in options.parts:
        found["cost"] = cost(folder, options.tasks, options.epochs, options.rounds)
    if "strength" in options.parts:
        with tempfile.TemporaryDirectory() as own:
            found["strength"] = strength(
                options.datasets,
                options.seeds,
                options.targets,
                options.epochs,
                options.limit,
                options.store or Path(own),
            )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
