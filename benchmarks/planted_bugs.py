"""Eight planted bugs in DP-SGD, and how many of them a canary audit of one training each refutes the claim of.

    python benchmarks/planted_bugs.py --out planted_bugs.json
    python benchmarks/planted_bugs.py --count 300 --steps 300 --seeds 0

Every training claims the same (ε, δ), which its noise would give it by the accountant were it not for the bug. Canaries
are directions planted in the gradients, or records where the bug is one of the forward pass; the adversary sees every
step, and knows of a bug's kind only what is in its row. The same audits look at trainings without a bug, through Opacus
and by hand, with several seeds: these must not be refuted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import machine
from dp_bugs import Case, cases
from dp_training import ByHand, Setting, ThroughOpacus, limited
from vestige.backends.function import FunctionRecipe
from vestige.canary import audit
from vestige.datasets import load_dataset
from vestige.errors import VestigeError

WANTED = 6
LOOK_EVERY = 10
"""The gradients of a thousand records cost more than a step does."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One audit: a training, what it is looked at with, and with which canaries and seed."""

    name: str
    reading: str
    bug: bool
    training: Any
    canaries: str
    seed: int
    records: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an audit showed: the quoted bound, the largest of those that count, and whether they refute the claim."""

    name: str
    reading: str
    bug: bool
    seed: int
    canaries: str
    quoted: float
    largest: float
    ceiling: float
    claimed: float
    refuted: bool
    auc: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epsilon", type=float, default=1.0, help="what every training claims")
    parser.add_argument("--rate", type=float, default=0.01, help="with which a record comes into a batch")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--records", type=int, default=3200, help="of location30")
    parser.add_argument("--count", type=int, default=1000, help="canaries, at most 5,000")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="of the trainings without a bug")
    parser.add_argument("--bug-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=machine.cores())
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    setting = Setting(epsilon=args.epsilon, rate=args.rate, steps=args.steps)
    print(machine.describe(1), f"{args.workers} processes")
    print(
        f"location30, {args.records:,} records, {args.count:,} canaries; {setting.steps:,} steps at rate "
        f"{setting.rate:g}, noise {setting.sigma:.3f} × the norm: ε = {setting.epsilon:g} at δ = {setting.delta:g}\n"
    )
    start = time.perf_counter()
    tasks = planned(args, setting)
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn"), initializer=limited) as pool:
        found = list(pool.map(run, tasks))
    page = render(found)
    print(page)
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if args.out:
        facts = {"machine": machine.facts(1), "setting": asdict(setting), "audits": [asdict(one) for one in found]}
        args.out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    caught = sum(one.refuted for one in found if one.bug)
    if caught < WANTED or any(one.refuted for one in found if not one.bug):
        sys.exit(1)


def planned(args: argparse.Namespace, setting: Setting) -> list[Task]:
    """Return an audit of each bug, then of what has none by every way of reading."""
    every = cases(setting.rate)

    def task(case: Case, training: Any, seed: int, name: str, reading: str) -> Task:
        return Task(
            name=name,
            reading=reading,
            bug=isinstance(training, case.training),
            training=training,
            canaries=case.canaries,
            seed=seed,
            records=args.records,
            count=args.count,
        )

    tasks = [
        task(
            one,
            one.training(setting=replace(setting, hidden=one.hidden), knows=one.knows),
            args.bug_seed,
            one.name,
            one.reading,
        )
        for one in every
    ]
    for seed in args.seeds:
        plain = every[0]
        tasks.append(task(plain, ThroughOpacus(setting=setting), seed, "none, through Opacus", plain.reading))
        for one in every:
            if "rate" in one.knows or (not one.knows and one is not plain):
                continue
            # Without batch normalisation there are no statistics to read; records are then read by their gradients.
            knows = {"every": LOOK_EVERY} if "shown" in one.knows else one.knows
            reading = "each record's own gradient" if "shown" in one.knows else one.reading
            tasks.append(task(one, ByHand(setting=setting, knows=knows), seed, "none, by hand", reading))
    return tasks


def run(task: Task) -> Found:
    """Train once, and bound ε from the coins."""
    start = time.perf_counter()
    setting = task.training.setting
    with tempfile.TemporaryDirectory() as store:
        log = audit(
            FunctionRecipe(task.training),
            load_dataset("location30", limit=task.records),
            canaries=task.canaries,
            score="gradient",
            count=task.count,
            claim=setting.claim,
            delta=setting.delta,
            seed=task.seed,
            store=store,
        )
    judged = [one.value or 0.0 for one in log.epsilon if one.judged]
    quoted = next(one for one in log.epsilon if one.primary)
    print(f"{task.name}, seed {task.seed}: ε ≥ {quoted.value:.2f}", file=sys.stderr, flush=True)
    return Found(
        name=task.name,
        reading=task.reading,
        bug=task.bug,
        seed=task.seed,
        canaries="directions" if task.canaries == "gradient" else f"{task.canaries} records",
        quoted=float(quoted.value or 0.0),
        largest=max(judged),
        ceiling=float(quoted.ceiling or 0.0),
        claimed=setting.epsilon,
        refuted=any(not one.passed for one in log.findings),
        auc=float(log.attacks[0].auc.value or 0.0),
        seconds=round(time.perf_counter() - start, 1),
    )


def render(found: list[Found]) -> str:
    """Return the two tables, in Markdown."""
    bugs, sound = [one for one in found if one.bug], [one for one in found if not one.bug]
    lines = [
        "| bug | canaries | what is read | AUC | ε ≥ | ceiling | claimed | caught |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.name} | {one.canaries} | {one.reading} | {one.auc:.3f} | {one.quoted:.2f} | {one.ceiling:.2f} | "
        f"{one.claimed:g} | {'yes' if one.refuted else 'NO'} |"
        for one in bugs
    ]
    lines += ["", f"{sum(one.refuted for one in bugs)} of {len(bugs)} bugs caught ({WANTED} asked).", ""]
    lines += [
        "| no bug | canaries | what is read | trainings | largest ε ≥ | claimed | refuted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, canaries, reading in dict.fromkeys((one.name, one.canaries, one.reading) for one in sound):
        mine = [one for one in sound if (one.name, one.canaries, one.reading) == (name, canaries, reading)]
        lines.append(
            f"| {name.removeprefix('none, ')} | {canaries} | {reading} | {len(mine)} | "
            f"{max(one.largest for one in mine):.2f} | {mine[0].claimed:g} | {sum(one.refuted for one in mine)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
