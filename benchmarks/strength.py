"""How well each attack tells members from non-members: AUC and TPR at 1 % and 0.1 % FPR, over datasets and seeds.

    python benchmarks/strength.py --out strength.json
    python benchmarks/strength.py --datasets digits --seeds 0 --quick

Every seed draws its own split, its own target and its own shadow models. Figures are means over seeds (and, inside a
seed, over the models that take the target's place), with Student intervals that hold the spread between seeds. What
was trained stays in the store, so that a run that was stopped goes on where it was, and more attacks cost only scoring.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import machine
from ordering import compare
from tasks import config_of
from vestige.attacks import params_of, resolve
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.errors import VestigeError
from vestige.log import AttackResult, AuditLog, Figure
from vestige.metrics import Estimate, mean_over_targets

DATASETS = ("location30", "digits", "retail600", "fashion_mnist")
RATES = (0.001, 0.01)
SLOW = ("quantile", "shokri")
ASKED = {"location30": {"auc": 0.86, "tpr@0.01": 0.19}}  # of LiRA and RMIA online
ASKED_OF = ("lira", "rmia")
QUICK = {"shadow.count": 8, "recipe.epochs": 5, "audit.targets": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--attacks", nargs="+", default=["full", "confidence"], help="names or batteries")
    parser.add_argument("--shadows", type=int, help="shadow models (64; 16 for fashion_mnist)")
    parser.add_argument("--epochs", type=int, help="epochs of every model")
    parser.add_argument("--targets", type=int, help="models that take the target's place, per seed")
    parser.add_argument(
        "--slow-targets", type=int, default=1, help="the same for attacks that train large models for each target"
    )
    parser.add_argument("--executor", choices=("inline", "processes"), default="processes")
    parser.add_argument("--workers", type=int, default=machine.cores())
    parser.add_argument("--store", type=Path, help="folder of the store (VESTIGE_STORE, or the user's cache)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables there too")
    parser.add_argument("--quick", action="store_true", help=f"small, to see that it works: {QUICK}")
    args = parser.parse_args()
    print(machine.describe(args.workers))
    print(f"seeds {args.seeds}; figures with 95 % intervals\n")
    found: dict[str, Any] = {"machine": machine.facts(args.workers), "seeds": args.seeds, "runs": [], "orderings": []}
    pages = []
    for dataset in args.datasets:
        runs = [run(dataset, seed, args) for seed in args.seeds]
        found["runs"] += runs
        means = mean(runs)
        orderings = [one for fpr in RATES for one in compare(runs, means, fpr)]
        found["orderings"] += [{"dataset": dataset, **one} for one in orderings]
        page = render(dataset, runs, means, orderings)
        pages.append(page)
        print(page, flush=True)
        if args.out:
            args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if args.markdown:
        args.markdown.write_text("\n".join(pages), encoding="utf-8")


def run(dataset: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Audit one dataset with one seed: all attacks on the same models, those that take long on fewer targets."""
    changes: dict[str, Any] = {"seed": seed, "audit.fpr": list(RATES)}
    changes |= QUICK if args.quick else {}
    given = {"shadow.count": args.shadows, "recipe.epochs": args.epochs, "audit.targets": args.targets}
    changes |= {path: value for path, value in given.items() if value is not None}
    changes |= {"shadow.executor": args.executor, "shadow.workers": args.workers}
    changes |= {"store": str(args.store) if args.store else None}
    cheap, dear = by_cost(args.attacks)
    start, logs = time.perf_counter(), []
    for attacks, targets in ((cheap, None), (dear, args.slow_targets)):
        if attacks:
            config = config_of(dataset, {**changes, "audit.attacks": attacks})
            config["audit"]["targets"] = min(targets or config["audit"]["targets"], config["audit"]["targets"])
            config["audit"]["calibration_targets"] = 1  # the operational point is not in these tables
            logs.append(Audit.from_config(AuditConfig.model_validate(config)).run())
    seconds = time.perf_counter() - start
    note = f"{logs[0].shadow.trained} trained, {logs[0].shadow.reused} from the store"
    print(f"{dataset}, seed {seed}: {seconds:.1f} s, {note}", file=sys.stderr, flush=True)
    return told(dataset, seed, seconds, logs)


def by_cost(names: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the attacks that only score, and those that train large models of their own: names and parameters."""
    cheap, dear = [], []
    for label, one in resolve(names):
        entry = {"name": label.partition("[")[0], "params": params_of(one)}
        (dear if getattr(one, "trains", False) or entry["name"] in SLOW else cheap).append(entry)
    return cheap, dear


def told(dataset: str, seed: int, seconds: float, logs: list[AuditLog]) -> dict[str, Any]:
    """Return what is kept of one seed's audits, which share their models."""
    log = logs[0]
    return {
        "dataset": dataset,
        "seed": seed,
        "seconds": round(seconds, 2),
        "members": log.population.members,
        "nonmembers": log.population.nonmembers,
        "shadows": log.shadow.count,
        "trained": log.shadow.trained,
        "accuracy": {
            "target": [log.target.train_accuracy, log.target.test_accuracy],
            "shadow": [log.shadow.train_accuracy, log.shadow.test_accuracy],
        },
        "checks": [check.id for check in log.checks if check.level != "info"],
        "attacks": {result.title: attack(result) for log in logs for result in log.attacks},
    }


def attack(result: AttackResult) -> dict[str, Any]:
    """Return one attack's figures by name; an attack that did not run keeps its reason."""
    figures: dict[str, Figure] = {"auc": result.auc, "balanced_accuracy": result.balanced_accuracy}
    figures |= {f"tpr@{point.fpr:g}": point for point in result.tpr}
    return {
        "status": result.status,
        "targets": len(result.targets),
        "reason": result.reason,
        "seconds": result.seconds,
        "figures": {name: one.model_dump(include={"value", "low", "high", "reason"}) for name, one in figures.items()},
    }


def mean(runs: list[dict[str, Any]]) -> dict[str, dict[str, Estimate]]:
    """Return each attack's figures averaged over seeds; an attack that failed in any seed has none."""
    answer = {}
    for title in runs[0]["attacks"]:
        results = [one["attacks"][title] for one in runs]
        if any(result["status"] != "ok" for result in results):
            continue
        answer[title] = {
            name: mean_over_targets([Estimate(**result["figures"][name]) for result in results]).mean
            for name in results[0]["figures"]
        }
    return answer


def render(
    dataset: str, runs: list[dict[str, Any]], means: dict[str, dict[str, Estimate]], orderings: list[dict[str, Any]]
) -> str:
    """Return a dataset's part of the page, in Markdown."""
    first = runs[0]
    shadow = [sum(one["accuracy"]["shadow"][side] for one in runs) / len(runs) for side in (0, 1)]
    lines = [
        f"## {dataset}",
        "",
        (
            f"{first['members']:,} members and {first['nonmembers']:,} non-members, {first['shadows']} shadow models, "
            f"{len(runs)} seed(s); shadow accuracy {shadow[0]:.3f} on members, "
            f"{shadow[1]:.3f} on others."
        ),
        "",
        "| attack | AUC | TPR at 1 % FPR | TPR at 0.1 % FPR | targets a seed | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for title in sorted(means, key=lambda title: -(means[title]["auc"].value or 0.0)):
        figures = means[title]
        cells = [shown(figures[name]) for name in ("auc", "tpr@0.01", "tpr@0.001")]
        taken = sum(one["attacks"][title]["seconds"] for one in runs) / len(runs)
        targets = max(one["attacks"][title]["targets"] for one in runs)
        lines.append(f"| {title} | {' | '.join(cells)} | {targets} | {taken:.2f} |")
    lines.append("")
    for name in ("tpr@0.01", "tpr@0.001"):
        reasons = {figures[name].reason for figures in means.values() if figures[name].withheld}
        lines += [f"Withheld at {name}: {reason}." for reason in sorted(reasons)]
    for one in runs:
        lost = [f"{title} ({a['reason']})" for title, a in one["attacks"].items() if a["status"] != "ok"]
        lines += [f"Did not run with seed {one['seed']}: {'; '.join(lost)}."] if lost else []
    lines += ["", *asked_of(dataset, means), "Orderings:", "", *(f"- {one['sentence']}" for one in orderings), ""]
    return "\n".join(lines)


def asked_of(dataset: str, means: dict[str, dict[str, Estimate]]) -> list[str]:
    """Return a line for each figure that the project asks of itself on this dataset."""
    lines = []
    for name in ASKED_OF if dataset in ASKED else ():
        for figure, least in ASKED[dataset].items():
            value = means[name][figure].value if name in means else None
            verdict = (
                "not measured" if value is None else f"{value:.3f}, {'reached' if value >= least else 'NOT reached'}"
            )
            lines.append(f"{name}: {figure} of at least {least} asked: {verdict}.\n")
    return lines


def shown(figure: Estimate) -> str:
    """Return a figure with its interval, or the word withheld."""
    if figure.value is None:
        return "withheld"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
