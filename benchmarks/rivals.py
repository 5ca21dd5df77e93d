"""Defences that train in a way of their own, on Location-30: what each costs in accuracy and time, and what is left.

    python benchmarks/rivals.py
    python benchmarks/rivals.py --seeds 0 --shadows 8 --only selena dmp

A sanity table, not a verdict: few shadow models, and one or two settings of each defence. Every seed draws its own
split: 1,000 members and 1,000 others are audited, and the 3,010 records left are the defender's own and the
adversary's, half each. The recipe trains until the undefended model knows its members by heart; shadow models are
trained under the same defence; several models take the target's place in turn. Figures are means over seeds; ``x`` is
the training's time over that of the undefended models, which is rough on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import machine
import whole
from tasks import config_of
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.log import AuditLog

CHAINS: dict[str, list[dict[str, Any]]] = {
    "undefended": [],
    "adversarial_regularization": [{"kind": "adversarial_regularization"}],
    "adversarial_regularization, strength 3": [{"kind": "adversarial_regularization", "strength": 3.0}],
    "adversarial_training": [{"kind": "adversarial_training"}],
    "mixup_mmd": [{"kind": "mixup_mmd"}],
    "mixup_mmd, no blends": [{"kind": "mixup_mmd", "spread": 0.0}],
    "mixup_mmd, no blends, strength 3": [{"kind": "mixup_mmd", "spread": 0.0, "strength": 3.0}],
    "stacking": [{"kind": "stacking"}],
    "selena": [{"kind": "selena"}],
    "dmp": [{"kind": "dmp"}],
    "dmp, half kept": [{"kind": "dmp", "kept": 0.5}],
}
ATTACKS = ("gap", "loss", "lira", "rmia")
FPR = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--targets", type=int, default=2, help="models that take the target's place, per seed")
    parser.add_argument("--only", nargs="+", help="chains whose names hold one of these words; undefended always runs")
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline")
    parser.add_argument("--store", type=Path, help="folder that keeps the models (a temporary one)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(1))
    # Compiles what is not compiled yet, in another process, so that no figure holds a compiler's time.
    whole.warm_up(1)
    print(f"seeds {args.seeds}, {args.shadows} shadow models, {args.targets} targets a seed\n")
    wanted = [n for n in CHAINS if not args.only or n == "undefended" or any(word in n for word in args.only)]
    found: dict[str, list[dict[str, float]]] = {}
    print(head())
    with tempfile.TemporaryDirectory() as temporary:
        for name in wanted:
            found[name] = [figures(run(name, seed, args, args.store or Path(temporary))) for seed in args.seeds]
            print(line(name, found[name], found["undefended"]), flush=True)
    if args.out:
        args.out.write_text(json.dumps({"machine": machine.facts(1), "seeds": args.seeds, "runs": found}, indent=1))


def run(name: str, seed: int, args: argparse.Namespace, store: Path) -> AuditLog:
    """Audit one chain with one seed."""
    changes: dict[str, Any] = {
        "seed": seed, "data.population": 3010 / 5010, "shadow.count": args.shadows, "shadow.executor": args.executor,
        "recipe.lr": 0.05, "recipe.epochs": 60,
        "audit.targets": args.targets, "audit.calibration_targets": 1, "audit.fpr": [FPR], "store": str(store),
    }  # fmt: skip
    config = config_of("location30", changes)
    config["audit"]["attacks"] = list(ATTACKS)
    config["defences"] = CHAINS[name]
    return Audit.from_config(AuditConfig.model_validate(config)).run()


def figures(log: AuditLog) -> dict[str, float]:
    """Return what the table shows of one audit."""
    found = {"train": log.target.train_accuracy, "test": log.target.test_accuracy, "seconds": log.shadow.seconds}
    for attack in log.attacks:
        found[attack.name] = attack.auc.value
        if attack.name == "lira":
            found["tpr"] = attack.tpr[0].value
    return {key: float("nan") if value is None else float(value) for key, value in found.items()}


def head() -> str:
    return f"{'defence':<42}{'train':>7}{'test':>7}" + "".join(f"{a:>7}" for a in ATTACKS) + f"{'tpr@1%':>8}{'x':>7}"


def line(name: str, runs: list[dict[str, float]], plain: list[dict[str, float]]) -> str:
    """Return a chain's means: accuracies, AUC of each attack, TPR at 1 % of LiRA, time."""
    mean = {key: float(np.mean([one[key] for one in runs])) for key in runs[0]}
    times = mean["seconds"] / float(np.mean([one["seconds"] for one in plain]))
    cells = "".join(f"{mean[key]:7.3f}" for key in ("train", "test", *ATTACKS))
    return f"{name:<42}{cells}{mean['tpr']:8.3f}{times:7.1f}"


if __name__ == "__main__":
    main()
