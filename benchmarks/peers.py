"""The same location30 audit by Vestige and by its peers, in turns on one machine.

    python benchmarks/peers.py --python PYTHON --path LeakPro=CHECKOUT --path PrivacyGuard=CHECKOUT --out peers.json

Each tool runs in a process of its own on the same 4,000 records, with its own split. `total` starts after the imports
and before the first model; `process` is the whole process. A peer whose checkout is not given, or which does not run
here, is skipped with a sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import machine
import whole
from tasks import config_of
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.errors import VestigeError
from vestige.log import AttackResult

DRIVERS = {"LeakPro": "leakpro_location30.py", "PrivacyGuard": "privacyguard_location30.py"}
FOLDER = Path(__file__).resolve().parent / "peer_drivers"
ASKED = 6.0
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter that has what the peers need")
    parser.add_argument(
        "--path", action="append", default=[], metavar="PEER=FOLDER", help="a peer's checkout; repeatable"
    )
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=machine.cores(), help="of the peers; our workers")
    parser.add_argument("--executor", choices=("inline", "processes"), default="processes", help="of ours")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds after which a peer is given up")
    parser.add_argument("--out", type=Path, help="write the figures as JSON, which speed.py reads")
    args = parser.parse_args()
    print(machine.describe(args.threads))
    print(f"location30, {args.shadows} shadow models, {args.epochs} epochs, {args.rounds} round(s), seed {args.seed}")
    print(machine.busy())
    runs, skipped = measure(args)
    medians = {name: _median(each) for name, each in runs.items() if each}
    print(table(medians))
    for sentence in skipped.values():
        print(sentence)
    compare(medians)
    if args.out:
        found = {"machine": machine.facts(args.threads), "shadows": args.shadows, "epochs": args.epochs}
        found |= {"seed": args.seed, "runs": runs, "medians": medians, "skipped": skipped}
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def measure(args: argparse.Namespace) -> tuple[dict[str, list[Found]], dict[str, str]]:
    """Run every tool once a round, after a tiny untimed one; return what each found, and why any was skipped."""
    checkouts = dict(_checkout(text) for text in args.path)
    runs: dict[str, list[Found]] = {name: [] for name in ("Vestige", *DRIVERS)}
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "location30.npz"
        write_data(data, args)
        whole.warm_up(args.threads)
        small = argparse.Namespace(**{**vars(args), "shadows": 2, "epochs": 1})
        for name in DRIVERS:
            try:
                peer(name, checkouts.get(name), data, small, args.seed)
            except Skipped as reason:
                skipped[name] = f"{name}: skipped, {reason}."
        for turn in range(args.rounds):
            for name in runs:
                if name in skipped:
                    continue
                seed = args.seed + turn
                try:
                    one = ours(args, seed) if name == "Vestige" else peer(name, checkouts.get(name), data, args, seed)
                except Skipped as reason:
                    skipped[name] = f"{name}: skipped, {reason}."
                    continue
                runs[name].append(one)
                print(f"round {turn + 1}, {name}: {one['total']:.1f} s, {one['process']:.1f} s the process", flush=True)
    print()
    return runs, skipped


class Skipped(Exception):
    """A tool cannot be measured here; the message says why."""


def write_data(path: Path, args: argparse.Namespace) -> None:
    """Write the records of the audit, and those held out from every model, for the drivers to read."""
    audit = Audit.from_config(AuditConfig.model_validate(config_of("location30", {"seed": args.seed})))
    records, split = audit.inputs.records, audit.split()
    x, y = np.asarray(records.x, np.float32), np.asarray(records.y, np.int64)
    audited, held_out = split.audited, split.population
    np.savez(path, audit_x=x[audited], audit_y=y[audited], population_x=x[held_out], population_y=y[held_out])


def ours(args: argparse.Namespace, seed: int) -> Found:
    """Run `vestige audit` with a fresh store, and report it as the drivers report theirs."""
    changes = {"seed": seed, "audit.targets": 1, "audit.attacks": ["loss", "lira", "rmia"]}
    changes |= {"shadow.count": args.shadows, "recipe.epochs": args.epochs}
    changes |= {"shadow.executor": args.executor, "shadow.workers": args.threads}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            run = whole.audit(config_of("location30", changes), root, store=root / "store", threads=args.threads)
        except whole.Unfinished as error:
            sys.exit(str(error))
    return {
        "peer": "Vestige",
        "process": run.wall,
        "cpu": run.cpu,
        "total": run.inside,
        "training": run.log.cost.seconds.shadow,
        "models": run.log.shadow.trained,
        **{name: _figures(run.log.attack(name)) for name in ("lira", "rmia")},
        "train_accuracy": run.log.shadow.train_accuracy,
        "test_accuracy": run.log.shadow.test_accuracy,
    }


def _figures(result: AttackResult) -> dict[str, float | None]:
    return {"auc": result.auc.value, **{f"tpr@{point.fpr:g}": point.value for point in result.tpr}}


def peer(name: str, checkout: Path | None, data: Path, args: argparse.Namespace, seed: int) -> Found:
    """Run a peer's driver; raises Skipped when it is not here, or fails."""
    if checkout is None:
        raise Skipped(f"its checkout was not given (--path {name}=FOLDER)")
    if not checkout.is_dir():
        raise Skipped(f"there is no folder '{checkout}'")
    paths = [str(checkout), os.environ.get("PYTHONPATH", "")]
    environment = {
        **whole.pinned(args.threads),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MPLBACKEND": "agg",
    }
    options = ["--shadows", str(args.shadows), "--epochs", str(args.epochs), "--seed", str(seed)]
    command = [args.python, str(FOLDER / DRIVERS[name]), str(data), *options]
    start, before = time.perf_counter(), whole.children()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=args.timeout, check=False, cwd=data.parent
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Skipped(str(error)) from error
    process, cpu = time.perf_counter() - start, whole.children() - before
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"peer"')]
    if done.returncode or not lines:
        raise Skipped(f"its driver ended with {done.returncode}: {whole.last_line(done.stderr)}")
    return {"process": process, "cpu": cpu, **json.loads(lines[-1])}


def table(medians: dict[str, Found]) -> str:
    """Return one row per tool."""
    lines = [
        "| tool | process s | after imports s | training s | cpu s | models | LiRA | RMIA | train / test |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in medians.items():
        attacks = [
            " / ".join(_shown(one[attack][key]) for key in ("auc", "tpr@0.01", "tpr@0.001"))
            for attack in ("lira", "rmia")
        ]
        accuracy = f"{one['train_accuracy']:.3f} / {one['test_accuracy']:.3f}"
        cells = [
            name,
            *(f"{one[key]:.1f}" for key in ("process", "total", "training", "cpu")),
            str(one["models"]),
            *attacks,
            accuracy,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    notes = (
        "LiRA and RMIA: AUC / TPR at 1 % FPR / TPR at 0.1 % FPR, of one target a round. train / test: accuracy of the\n"
        "models on their own records and on the others. Vestige's training includes measuring and storing each model."
    )
    return "\n".join([*lines, "", notes, ""])


def compare(medians: dict[str, Found]) -> None:
    """Print how many times faster ours is than the faster of the peers, and how much less processor time it takes."""
    peers = {name: one for name, one in medians.items() if name != "Vestige"}
    if not peers:
        print("No peer ran, so there is nothing to compare with.")
        return
    mine = medians["Vestige"]
    for key, what in (
        ("total", "after imports"),
        ("process", "whole process"),
        ("cpu", "processor seconds, whole process"),
    ):
        best = min(peers, key=lambda name: peers[name][key])
        ratio = peers[best][key] / mine[key]
        asked = f" (asked: {ASKED:g})" if key == "total" else ""
        print(f"{what}: {best} {peers[best][key]:.1f} s, Vestige {mine[key]:.1f} s: {ratio:.2f} times{asked}")
    crossed = peers[min(peers, key=lambda name: peers[name]["total"])]["total"] / mine["process"]
    print(f"the fastest peer after its imports against our whole process: {crossed:.2f} times")


def _median(runs: list[Found]) -> Found:
    """Return the run of median total, with the median of each of the seconds and the mean of each figure."""
    answer = dict(sorted(runs, key=lambda run: run["total"])[len(runs) // 2])
    answer |= {key: statistics.median(run[key] for run in runs) for key in ("process", "total", "training", "cpu")}
    answer |= {key: statistics.fmean(run[key] for run in runs) for key in ("train_accuracy", "test_accuracy")}
    for attack in ("lira", "rmia"):
        answer[attack] = {key: _mean([run[attack][key] for run in runs]) for key in answer[attack]}
    return answer


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _shown(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.3f}"


def _checkout(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if name not in DRIVERS or not folder:
        sys.exit(f"Expected --path {'|'.join(DRIVERS)}=FOLDER, got '{text}'.")
    return name, Path(folder)


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
