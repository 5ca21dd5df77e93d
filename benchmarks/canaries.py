"""Canary audits of real trainings: what they show of undefended models, and that no model with DP exceeds its claim.

    python benchmarks/canaries.py --repeats 20 --out canaries.json
    python benchmarks/canaries.py --datasets location30 --records 1500 --count 500

Logistic regression, XGBoost and a perceptron are trained as they are, with mislabelled canaries among the records, and
scored by their loss. The perceptron is then trained with DP-SGD through Opacus at each ε claimed, and looked at from
outside (the same canaries and score) and from inside (directions planted in the gradients, every step seen).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import machine
from dp_training import Setting, ThroughOpacus, limited
from vestige.backends.function import FunctionRecipe
from vestige.backends.torch import TorchRecipe
from vestige.canary import audit
from vestige.datasets import load_dataset
from vestige.errors import VestigeError
from vestige.records import Records

DATASETS = ("location30", "fashion_mnist")
UNDEFENDED = ("logistic regression", "XGBoost", "perceptron")
FAR = 1.0
"""The bound that every undefended model must exceed."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One audit of one training; ``epsilon``: claimed, None without a defence; ``inside``: every step is seen."""

    dataset: str
    model: str
    epsilon: float | None
    inside: bool
    seed: int
    records: int
    count: int
    steps: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an audit showed: the quoted bound, and the largest of those that count."""

    dataset: str
    model: str
    claimed: float | None
    inside: bool
    seed: int
    quoted: float
    largest: float
    ceiling: float
    auc: float
    refuted: bool
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 4.0, 8.0])
    parser.add_argument("--repeats", type=int, default=1, help="seeds of each training with DP")
    parser.add_argument("--records", type=int, default=3000)
    parser.add_argument("--count", type=int, default=1000, help="canaries")
    parser.add_argument("--steps", type=int, default=200, help="of each training with DP")
    parser.add_argument("--rate", type=float, default=0.02, help="with which a record comes into a batch")
    parser.add_argument("--workers", type=int, default=machine.cores())
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(1), f"{args.workers} processes")
    print(f"{args.records:,} records, {args.count:,} canaries, seeds 0 to {args.repeats - 1}\n", flush=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn"), initializer=limited) as pool:
        found = list(pool.map(run, planned(args)))
    print(render(found))
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if args.out:
        facts = {"machine": machine.facts(1), "audits": [asdict(one) for one in found]}
        args.out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    if any(one.refuted if one.claimed else one.quoted <= FAR for one in found):
        sys.exit(1)


def planned(args: argparse.Namespace) -> list[Task]:
    """Return the audits, those that take longest first."""

    def task(dataset: str, model: str, epsilon: float | None, inside: bool, seed: int) -> Task:
        return Task(
            dataset=dataset,
            model=model,
            epsilon=epsilon,
            inside=inside,
            seed=seed,
            records=args.records,
            count=args.count,
            steps=args.steps,
            rate=args.rate,
        )

    tasks = [task(dataset, model, None, False, 0) for dataset in args.datasets for model in UNDEFENDED]
    for dataset in args.datasets:
        for epsilon in args.epsilons:
            for inside in (False, True):
                tasks += [task(dataset, "perceptron", epsilon, inside, seed) for seed in range(args.repeats)]
    return tasks


def run(task: Task) -> Found:
    """Train once, and bound ε from the coins."""
    start = time.perf_counter()
    shown = flat(load_dataset(task.dataset, limit=task.records))
    claimed: dict[str, Any] = {}
    if task.epsilon is None:
        recipe = undefended(task.model)
    else:
        setting = Setting(
            epsilon=task.epsilon, rate=task.rate, steps=task.steps, hidden=(32,), classes=len(shown.classes)
        )
        recipe = FunctionRecipe(ThroughOpacus(setting=setting))
        claimed = {"claim": setting.claim}
    with tempfile.TemporaryDirectory() as store:
        log = audit(
            recipe,
            shown,
            canaries="gradient" if task.inside else "mislabelled",
            score="gradient" if task.inside else "loss",
            count=task.count,
            seed=task.seed,
            store=store,
            **claimed,
        )
    quoted = next(one for one in log.epsilon if one.primary)
    found = Found(
        dataset=task.dataset,
        model=task.model,
        claimed=task.epsilon,
        inside=task.inside,
        seed=task.seed,
        quoted=float(quoted.value or 0.0),
        largest=max(one.value or 0.0 for one in log.epsilon if one.judged),
        ceiling=float(quoted.ceiling or 0.0),
        auc=float(log.attacks[0].auc.value or 0.0),
        refuted=any(not one.passed for one in log.findings),
        seconds=round(time.perf_counter() - start, 1),
    )
    said = "no claim" if task.epsilon is None else f"claimed {task.epsilon:g}"
    print(
        f"{task.dataset}, {task.model}, {said}, seed {task.seed}: ε ≥ {found.quoted:.2f}, {found.seconds} s",
        file=sys.stderr,
        flush=True,
    )
    return found


def flat(records: Records) -> Records:
    """Return records with one row of fractions each, as every one of the models takes them."""
    x = np.asarray(records.x)
    scale = 255 if x.dtype == np.uint8 and x.max() > 1 else 1
    rows = x.reshape(len(x), -1).astype(np.float32) / np.float32(scale)
    return Records(rows, records.y, records.ids, records.groups, records.classes, records.name)


def undefended(model: str) -> Any:
    """Return how a model is trained by somebody who does not think of privacy."""
    if model == "logistic regression":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=500)
    if model == "XGBoost":
        from xgboost import XGBClassifier

        return XGBClassifier(n_estimators=30, max_depth=6, learning_rate=0.3, tree_method="hist", n_jobs=1)
    return TorchRecipe(model="mlp", hidden=(128,), epochs=60, batch_size=64, lr=0.05, momentum=0.9, schedule="cosine")


def render(found: list[Found]) -> str:
    """Return the tables, in Markdown."""
    plain, private = [one for one in found if one.claimed is None], [one for one in found if one.claimed is not None]
    lines = ["| data | undefended model | AUC | ε ≥ | ceiling | claimed |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.dataset} | {one.model} | {one.auc:.3f} | {one.quoted:.2f} | {one.ceiling:.2f} | nothing |"
        for one in plain
    ]
    lines += [
        "",
        "| data | DP-SGD | seen | trainings | median ε ≥ | largest of any bound | ceiling | claimed | refuted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((one.dataset, one.model, one.claimed, one.inside) for one in private):
        mine = [one for one in private if (one.dataset, one.model, one.claimed, one.inside) == key]
        dataset, model, claimed, inside = key
        lines.append(
            f"| {dataset} | {model} | {'every step' if inside else 'the answers'} | {len(mine)} | "
            f"{np.median([one.quoted for one in mine]):.2f} | {max(one.largest for one in mine):.2f} | "
            f"{mine[0].ceiling:.2f} | {claimed:g} | {sum(one.refuted for one in mine)} |"
        )
    total = sum(one.refuted for one in private)
    lines += ["", f"{total} of {len(private)} audits of models with DP exceeded their claim (none may)."]
    vain = sorted({one.claimed for one in private if one.claimed >= one.ceiling})
    lines += [
        f"With so many canaries a claim of {epsilon:g} could not have been exceeded by any leak." for epsilon in vain
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
