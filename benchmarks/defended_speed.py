"""What the whole location30 audit costs when every model is trained under a defence, beside the undefended audit.

    python benchmarks/defended_speed.py --out defended.json
    python benchmarks/defended_speed.py --rounds 1 --shadows 16 --defences dropout mixup

Each run is `vestige audit` in a process of its own with a fresh store. The undefended audit and the defended ones take
turns, and medians are compared. A defended audit also runs the attacks that aim at its defence, and early stopping and
augmentation leave the adversary half of the held-out records.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import machine
import whole
from tasks import Config, config_of
from vestige.backends import compiled
from vestige.backends.torch import TorchRecipe
from vestige.defend import DEFENCES
from vestige.errors import VestigeError

ASKED = 2.0
DEFENCES_ASKED = ("dropout", "l2", "label_smoothing", "mixup", "relaxloss", "early_stopping")
OTHERS = ("confidence_penalty", "hamp", "augment")
ATTACKS = ["loss", "lira", "rmia"]
PLAIN = "undefended"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defences", nargs="+", choices=(*DEFENCES_ASKED, *OTHERS), default=[*DEFENCES_ASKED, *OTHERS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=machine.cores(), help="workers")
    parser.add_argument("--shadows", type=int, help="shadow models (64)")
    parser.add_argument("--epochs", type=int, help="epochs of every model (50)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(args.threads))
    print(f"seed {args.seed}, {args.rounds} round(s), threads pinned to {args.threads}")
    print(machine.busy())
    whole.warm_up(args.threads)
    runs: dict[str, list[whole.Run]] = {name: [] for name in (PLAIN, *args.defences)}
    for _ in range(args.rounds):
        for name, own in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                own.append(whole.audit(config(name, args), place, store=place / "store", threads=args.threads))
    told = [told_of(name, own, runs[PLAIN], engine(name, args)) for name, own in runs.items()]
    show(told)
    if args.out:
        found = {"machine": machine.facts(args.threads), "seed": args.seed, "rounds": args.rounds, "defences": told}
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def config(name: str, args: argparse.Namespace) -> Config:
    """Return the audit under a defence with its defaults."""
    changes = {
        "seed": args.seed, "shadow.count": args.shadows, "recipe.epochs": args.epochs, "audit.targets": 1,
        "audit.attacks": ATTACKS,
    }  # fmt: skip
    found = config_of("location30", changes)
    if name != PLAIN:
        found["defences"] = [{"kind": name}]
    return found


def engine(name: str, args: argparse.Namespace) -> str:
    """Return which of the two engines trains the models."""
    options = {key: value for key, value in config(name, args)["recipe"].items() if key != "kind"}
    recipe: Any = TorchRecipe(**options)
    if name != PLAIN:
        recipe = DEFENCES.create(name, {}).wrap(recipe, np.arange(500))
    return "compiled" if compiled.takes(recipe) else "stacked"


def told_of(name: str, runs: list[whole.Run], plain: list[whole.Run], engine: str) -> dict[str, Any]:
    """Return a defence's medians, what they are to the undefended ones, and what the best attack found."""
    log = runs[-1].log
    ran = [attack for attack in log.attacks if attack.auc is not None]
    if not ran:
        raise VestigeError(f"No attack ran under {name}.")
    wall, cpu = (statistics.median(getattr(run, kind) for run in runs) for kind in ("wall", "cpu"))
    return {
        "name": name, "engine": engine, "wall": wall, "cpu": cpu,
        "wall_ratio": wall / statistics.median(run.wall for run in plain),
        "cpu_ratio": cpu / statistics.median(run.cpu for run in plain),
        "train": log.target.train_accuracy, "test": log.target.test_accuracy,
        "auc": max(attack.auc.value for attack in ran),
    }  # fmt: skip


def show(told: list[dict[str, Any]]) -> None:
    """Print one line for each."""
    print(f"{'defence':20} {'engine':9} {'wall s':>7} {'×':>5} {'cpu s':>7} {'×':>5}  train  test   best AUC")
    for one in told:
        late = "  above what was asked" if one["name"] in DEFENCES_ASKED and one["wall_ratio"] > ASKED else ""
        print(
            f"{one['name']:20} {one['engine']:9} {one['wall']:7.2f} {one['wall_ratio']:5.2f} {one['cpu']:7.2f} "
            f"{one['cpu_ratio']:5.2f}  {one['train']:.3f}  {one['test']:.3f}  {one['auc']:.3f}{late}"
        )


if __name__ == "__main__":
    main()
