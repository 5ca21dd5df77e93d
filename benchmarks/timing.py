"""What the latency of a multi-exit network gives away, really measured, and what a cache in front of one does.

    python benchmarks/timing.py
    python benchmarks/timing.py --datasets digits --seeds 0 --targets 1

Exits: for every seed a pool of multi-exit networks, of which several take the target's place. Every record is timed
alone, nine times, in random order; exits recovered from the medians, and from the minima, are compared with those that
the networks really took, and each attack is run with and without the clock. Means over seeds and targets with Student
intervals. Cache: a cache in front of such a network is asked about a random third of the records, and then probed about
all: what is found is who was asked about. The AUC for membership is printed beside it to show that it is another thing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student_t

import machine
from vestige.attacks.assemble import Field
from vestige.attacks.timing import Timing
from vestige.backends.caching import CachedTarget
from vestige.backends.torch import TorchRecipe
from vestige.datasets import load_dataset
from vestige.metrics import auc, mean_over_targets, roc, tprs_at
from vestige.probing import Lazy, probe_pool
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.shadow import Demand, gather
from vestige.signals.timing import probe_cache
from vestige.split import Split, draw
from vestige.store import Store
from vestige.target import Access

RATES = (0.01,)
USUAL = TorchRecipe(model="multi_exit", epochs=40, batch_size=32, lr=0.05)
TASKS: dict[str, tuple[int | None, TorchRecipe]] = {
    "digits": (None, replace(USUAL, hidden=(128,) * 4, confidence=0.99)),
    "fashion_mnist": (6_000, replace(USUAL, hidden=(256,) * 4, confidence=0.95)),
}
CLOCKS = {average: Timing(average=average).key for average in ("median", "minimum")}
ATTACKS = {
    f"{rule}, {clock or 'no clock'}": Timing(rule=rule, average=clock) if clock else Timing(rule=rule, timing=False)
    for rule in ("order", "learned", "labels")
    for clock in (*CLOCKS, "")
}
Figures = dict[str, list[list[Any]]]


def model_of(number: int, split: Split, recipe: TorchRecipe, records: Records, store: Store) -> Any:
    seed = seed_for(split.seed, "model", number)
    return Lazy(recipe=recipe, records=records, rows=split.rows(number), seed=seed, store=str(store.root)).target


def true_exits(target: Any, x: Any) -> np.ndarray:
    with torch.no_grad():
        # One at a time, as they are timed: a batch rounds otherwise, and a record may stand at the very threshold.
        return np.array([int(target.module.early(target.prepared(x[k : k + 1]))[1]) for k in range(len(x))])


def pool(dataset: str, seed: int, targets: int, store: Store) -> tuple[Field, list[int], TorchRecipe]:
    limit, recipe = TASKS[dataset]
    records = load_dataset(dataset, limit=limit)
    # Blocks of two: a model and its complement are never each other's references.
    split = draw(len(records), shadows=2 * (targets + 1), seed=seed, population=0.2)
    models = [0, *range(1, 2 * (targets + 1), 2)][: targets + 2]
    demand = Demand(
        keys=("loss", "top_probabilities", "correct"), rows=np.concatenate([split.audited, split.population])
    )
    table = gather(split, recipe, records, demand, store).signals
    table = probe_pool(table, list(CLOCKS.values()), models, split, recipe, records, store, seed=seed)
    return Field(records=records, split=split, table=table, access=Access.SCORE, seed=seed), models[:targets], recipe


def exits(dataset: str, seeds: list[int], targets: int, store: Store) -> dict[str, Any]:
    rows: Figures = {name: [] for name in ATTACKS}
    accuracies, gaps = [], []
    recovered: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for seed in seeds:
        field, models, recipe = pool(dataset, seed, targets, store)
        for number in models:
            target = model_of(number, field.split, recipe, field.records, store)
            x = field.records.rows_of(field.split.audited)
            members = field.membership(number)
            truth = true_exits(target, x)
            for clock, key in CLOCKS.items():
                found = field.table.model(key, number)[: len(truth), 0]
                recovered[clock].append(float((found[:, 0] == np.unique(truth, return_inverse=True)[1]).mean()))
            shares = [np.bincount(truth[side], minlength=4) / side.sum() for side in (members, ~members)]
            correct = field.table.model("correct", number)[: len(truth), 0]
            accuracies.append([float(correct[side].mean()) for side in (members, ~members)])
            steps = [float(np.median(found[truth == k, 1])) for k in np.unique(truth)]
            gaps.append([steps, *(share.round(3).tolist() for share in shares)])
            for name, attack in ATTACKS.items():
                scores = attack.score(field.evidence(number, attack))
                curve = roc(scores[members], scores[~members])
                rows[name].append([auc(curve), *tprs_at(curve, RATES)])
    print(
        f"\n{dataset}: {len(seeds)} seeds, {targets} targets each; accuracy (train, test) {np.mean(accuracies, axis=0)}"
    )
    steps, inside, outside = gaps[0]
    print(f"  first target: µs per exit (minimum) {np.round(steps, 1)}, members' exits {inside}, others' {outside}")
    for clock, rates in recovered.items():
        print(f"  exits recovered from the {clock}: {np.mean(rates):.4f} of the records, worst target {min(rates):.4f}")
    told: dict[str, Any] = {"recovered": recovered, "accuracy": accuracies, "first": gaps[0], "attacks": {}}
    for name, figures in rows.items():
        means = [mean_over_targets([row[k] for row in figures]).mean for k in range(1 + len(RATES))]
        text = ["withheld" if m.withheld else f"{m.value:.4f} [{m.low:.4f}, {m.high:.4f}]" for m in means]
        print(f"  {name:20s} AUC {text[0]}   TPR@1 % {text[1]}", flush=True)
        told["attacks"][name] = [[m.value, m.low, m.high] for m in means]
    for name in (name for name in ATTACKS if "no clock" not in name):
        without = rows[f"{name.partition(',')[0]}, no clock"]
        gain = [one[0].value - other[0].value for one, other in zip(rows[name], without, strict=True)]
        half = np.nan
        if len(gain) > 1:
            half = student_t.ppf(0.975, len(gain) - 1) * np.std(gain, ddof=1) / np.sqrt(len(gain))
        print(f"  {name}: the clock adds {np.mean(gain):+.4f} ± {half:.4f} of AUC, paired")
        told["attacks"][f"{name}, gain"] = [float(np.mean(gain)), float(half)]
    return told


def cache(dataset: str, seeds: list[int], store: Store) -> dict[str, Any]:
    limit, recipe = TASKS[dataset]
    records = load_dataset(dataset, limit=limit)
    split = draw(len(records), shadows=0, seed=0, population=0.2)
    found = []
    for seed in seeds:
        draws = rng(seed, "benchmark", "cache")
        order = draws.permutation(len(records))
        rows, spare = order[:600], order[600:800]
        asked = draws.random(600) < 1 / 3
        target = CachedTarget(model_of(0, split, recipe, records, store), size=4096)
        target.query(records.x[rows[asked]], Access.LABEL)
        reading = probe_cache(target, records.x[rows], records.x[spare], seed=seed)
        members = split.masks[0, rows]
        found.append(
            [
                float(reading.asked_lately[asked].mean()),
                float(reading.asked_lately[~asked].mean()),
                reading.false_alarms,
                auc(roc(-reading.seconds[members], -reading.seconds[~members])).value,
                float(np.median(reading.seconds[asked])) * 1e6,
                float(np.median(reading.seconds[~asked])) * 1e6,
            ]
        )
    names = ("asked, found", "not asked, found", "false alarms it estimates", "AUC for membership", "hit µs", "miss µs")
    print(f"\n{dataset}, a cache: recent queries, not membership; means of {len(seeds)} seeds")
    for name, value in zip(names, np.mean(found, axis=0), strict=True):
        print(f"  {name:26s} {value:.3f}")
    return dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=("exits", "cache"), default=["exits", "cache"])
    parser.add_argument("--datasets", nargs="+", choices=tuple(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--targets", type=int, default=2, help="models that take the target's place, per seed")
    parser.add_argument("--store", type=Path, help="folder that keeps what was trained and timed; by default nothing")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine.describe(1))
    if machine.busy():
        print(machine.busy())
    found: dict[str, Any] = {"machine": machine.facts(1)}
    with tempfile.TemporaryDirectory() as own:
        store = Store(str(options.store or own))
        for dataset in options.datasets:
            if "exits" in options.parts:
                found[f"{dataset}, exits"] = exits(dataset, options.seeds, options.targets, store)
            if "cache" in options.parts:
                found[f"{dataset}, cache"] = cache(dataset, options.seeds, store)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
