"""Every defence of training beside no defence and beside DP-SGD: accuracy, what is left for attacks, and the cost.

    python benchmarks/defences.py --out defences.json
    python benchmarks/defences.py --datasets location30 --seeds 0 --only hamp "DP-SGD, little noise"

One cell is one audit: models of one method on one dataset with one seed. The shadow models are trained under the same
defence, with the same settings; the battery of score attacks is fitted to those, and so are the attacks that aim at the
defence. Several models take the target's place in turn.

Settings are chosen before the audit and without its records: of the records that nobody is audited on, half train one
model for each of four settings, a quarter are the defender's own, and the last quarter judge. Chosen is what has the
largest accuracy less the advantage of the best threshold on the loss (members of the trial against its judges). The
settings that are tried are the published ones where there are any. SELENA has nothing to choose.

Cells are written to ``--out`` as they come, and those that are there are not run again: a run that was stopped goes on.
Seeds come first, so that one seed is complete before the next begins. ``x`` is the CPU time of one training over that
of the undefended model. ``beaten by`` counts, over seeds, who dominates a method beyond noise: no less accurate, and no
leakier at the smallest rate that all figures have.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import machine
import whole
from defence_choices import BATTERY, METHODS, PLAIN, Chain, Method, chain_of
from tasks import Config, config_of
from vestige.auditing.defending import under
from vestige.auditing.drawing import draw_target
from vestige.auditing.inputs import Inputs, from_config
from vestige.auditing.results import write_log
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.defend import layers_of
from vestige.defend.recipes import defended
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.store import write_atomically
from vestige.target import Access, IntArray, Recipe
from vestige.tradeoff.exposed import most_exposed
from vestige.tradeoff.judge import judged
from vestige.tradeoff.pareto import Box, front
from vestige.tradeoff.points import point_of
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint
from vestige.tradeoff.tuning import Tuning

SIZES: dict[str, Config] = {
    "location30": {
        "data.population": 2010 / 5010, "recipe.lr": 0.05, "recipe.epochs": 30, "shadow.count": 16, "audit.targets": 8,
    },
    "retail600": {
        "data.limit": 6000, "data.population": 1 / 3, "recipe.lr": 0.1, "recipe.epochs": 30, "shadow.count": 8,
        "audit.targets": 5,
    },
    "fashion_mnist": {
        "data.limit": 6000, "data.population": 1 / 3, "recipe.model": "mlp", "recipe.hidden": [128],
        "recipe.epochs": 20, "shadow.count": 8, "audit.targets": 5,
    },
}  # fmt: skip
FPR = (0.001, 0.01)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "tables" / "defences.md"
QUICK = {"shadow.count": 4, "audit.targets": 2, "recipe.epochs": 3}


@dataclass(frozen=True)
class Cell:
    """One method on one dataset with one seed."""

    seed: int
    dataset: str
    method: str

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.seed}/{self.dataset}/{self.method}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="methods whose names hold one of these; undefended always runs")
    parser.add_argument("--shadows", type=int, help="shadow models (16 for location30, 8 for the others)")
    parser.add_argument("--show", action="store_true", help="run nothing: print the table of what --out has")
    parser.add_argument("--quick", action="store_true", help=f"small, to see that it works: {QUICK}")
    parser.add_argument("--out", type=Path, default=Path("defences.json"), help="where results are kept")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name} for the documentation")
    parser.add_argument("--add", type=Path, nargs="+", default=[], help="results of other sittings, which join")
    args = parser.parse_args()
    found = read(args.out)
    for path in args.add:
        found["cells"] |= read(path)["cells"]
    if not args.show:
        print(machine.describe(1), flush=True)
        # Compiles what is not compiled yet, in another process, so that no figure holds a compiler's time.
        whole.warm_up(1)
        found["machine"] = machine.facts(1)
        for cell in [cell for cell in cells(args) if cell.key not in found["cells"]]:
            found["cells"][cell.key] = run(cell, args)
            write_atomically(args.out, json.dumps(found, indent=1).encode())
    page = table(found["cells"], args.datasets)
    print(page)
    if args.docs:
        DOCS.write_text(page.lstrip("\n") + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Return what an earlier run left."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"cells": {}}
    return found


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    """Yield the cells in their order, seeds outermost."""
    for seed in args.seeds:
        for dataset in args.datasets:
            for method in METHODS:
                if not args.only or method == PLAIN or any(word in method for word in args.only):
                    yield Cell(seed, dataset, method)


def run(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Choose the settings of a cell, audit it, and return what the table needs."""
    start, cpu, method = time.perf_counter(), time.process_time(), METHODS[cell.method]
    base = config(cell, [], args)
    inputs = from_config(AuditConfig.model_validate(base))
    settings, trials = settled(method, cell, AuditConfig.model_validate(base), inputs)
    chain = chain_of(method, settings)
    with tempfile.TemporaryDirectory() as store:
        full = config(cell, chain, args) | {"store": store}
        audit = Audit.from_config(AuditConfig.model_validate(full))
        outcome = audit.outcome()
        log = write_log(outcome)
        exposed = most_exposed(outcome)
        point = point_of(
            TradeoffPoint(id=cell.method, method=cell.method, settings=settings, status="complete"),
            outcome, log, layers=audit.inputs.defences, tuning=Tuning(), trials=0, exposed=exposed[:2], planted=None,
            seconds=seconds(audit), where="", took=time.perf_counter() - start,
        )  # fmt: skip
    told = {
        "point": point.model_dump(mode="json"), "trials": trials, "train": log.target.train_accuracy,
        "test": log.target.test_accuracy, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
    }  # fmt: skip
    print(
        f"{cell.key:46} {said(settings):44} accuracy {point.utility.accuracy.value:.3f}  AUC {best(point):.3f}  "
        + "  ".join(f"TPR@{fpr:.1%} {text(most(point, fpr))}" for fpr in FPR)
        + f"  {told['cpu']:.0f} s of CPU, {told['seconds']:.0f} s",
        flush=True,
    )
    return told


def config(cell: Cell, chain: Chain, args: argparse.Namespace) -> Config:
    """Return the audit of a chain: the score battery, and what aims at the chain's own mechanisms."""
    changes = {
        "seed": cell.seed, **SIZES[cell.dataset], **(QUICK if args.quick else {}), "audit.fpr": list(FPR),
        "shadow.executor": "inline",
    }  # fmt: skip
    if args.shadows:
        changes["shadow.count"] = args.shadows
    found = config_of(cell.dataset, changes)
    if found["recipe"]["model"] == "mlp":
        found["recipe"].pop("channels", None)
    attacks: list[Any] = list(BATTERY)
    attacks += [attack for attack in layers_of(chain).adaptive if attack not in attacks]
    found["audit"]["attacks"] = attacks
    found["defences"] = chain
    return found


def settled(
    method: Method, cell: Cell, config: AuditConfig, inputs: Inputs
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings to audit, and how each that was tried did on records that nobody is audited on."""
    if len(method.choices) < 2:
        return (dict(method.choices[0]) if method.choices else {}), []
    population = draw_target(config, inputs).population
    order = rng(cell.seed, "defences", "trials").permutation(population)
    half = len(order) // 2
    learnt, kept, judges = (np.sort(part) for part in np.split(order, [half, half + (len(order) - half) // 2]))
    trials = []
    for choice in method.choices:
        recipe = defended(inputs.recipe, layers_of(chain_of(method, choice)), kept)
        accuracy, advantage = tried(recipe, inputs.records, learnt, judges, seed_for(cell.seed, "defences", "trial"))
        trials.append({"settings": choice, "accuracy": accuracy, "advantage": advantage})
    chosen = max(trials, key=lambda one: one["accuracy"] - one["advantage"])
    return dict(chosen["settings"]), trials


def tried(recipe: Recipe, records: Records, learnt: IntArray, judges: IntArray, seed: int) -> tuple[float, float]:
    """Train a model; return its accuracy on the judges, and how far one threshold on the loss tells both apart."""
    target = recipe.fit(records, learnt, seed)
    losses, right = [], []
    for rows in (learnt, judges):
        values = target.query(records.rows_of(rows), Access.SCORE)
        scores = np.asarray(values.values, np.float64)
        if values.kind == "logits":
            scores = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        losses.append(-scores[np.arange(len(rows)), records.y[rows]])
        right.append(scores.argmax(1) == records.y[rows])
    places = np.concatenate(losses)
    shares = [np.searchsorted(np.sort(own), places, side="right") / len(own) for own in losses]
    return float(right[1].mean()), float(np.max(shares[0] - shares[1]).clip(0))


def seconds(audit: Audit) -> float:
    """Return the CPU time of one training as the defender does it: alone, on the target's records."""
    recipe = under(audit.inputs.recipe, audit.inputs.defences, audit.reserve)
    assert recipe is not None
    taken = []
    for _ in range(2):
        start = time.process_time()
        recipe.fit(audit.inputs.records, audit.split().rows(0), seed_for(audit.config.seed, "timing"))
        taken.append(time.process_time() - start)
    return min(taken)


def best(point: TradeoffPoint) -> float:
    """Return the largest AUC of all attacks."""
    return max((r.auc.value for r in point.results if r.auc.value is not None), default=math.nan)


def most(point: TradeoffPoint, fpr: float, *, exposed: bool = False) -> float:
    """Return the largest true-positive rate of all attacks, of all members or of the most exposed ones."""
    rates = [rate for r in point.results for rate in (r.exposed if exposed else r.tpr)]
    return max((r.value for r in rates if r.value is not None and math.isclose(r.fpr, fpr)), default=math.nan)


COLUMNS = ("train", "accuracy", "AUC", "TPR@1%", "TPR@0.1%", "exposed@1%", "exposed@0.1%", "x")


def row(told: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one cell; ``plain``: the undefended cell of its dataset and seed."""
    point = TradeoffPoint.model_validate(told["point"])
    return {
        "train": told["train"], "accuracy": point.utility.accuracy.value or math.nan, "AUC": best(point),
        "TPR@1%": most(point, 0.01), "TPR@0.1%": most(point, 0.001), "exposed@1%": most(point, 0.01, exposed=True),
        "exposed@0.1%": most(point, 0.001, exposed=True), "x": told["point"]["seconds"] / plain["point"]["seconds"],
    }  # fmt: skip


def table(found: dict[str, Any], datasets: list[str]) -> str:
    """Return the means over seeds of every dataset as Markdown, and who beats whom."""
    lines: list[str] = []
    for dataset in datasets:
        seeds = sorted({int(key.split("/")[0]) for key in found if key.endswith(f"/{dataset}/{PLAIN}")})
        if not seeds:
            continue
        beaten = {seed: dominated(found, dataset, seed) for seed in seeds}
        rows = {}
        for method in METHODS:
            own = [seed for seed in seeds if f"{seed}/{dataset}/{method}" in found]
            if own:
                each = [row(found[f"{s}/{dataset}/{method}"], found[f"{s}/{dataset}/{PLAIN}"]) for s in own]
                rows[method] = (own, {name: statistics.fmean(one[name] for one in each) for name in COLUMNS})
        leads = dict(zip(rows, front([_box(figures) for _, figures in rows.values()]), strict=True))
        lines += ["", f"**{dataset}**", "", "| method | seeds | " + " | ".join(COLUMNS) + " | front | beaten by |"]
        lines.append("|---|" + "---:|" * (len(COLUMNS) + 1) + "---|---|")
        for method, (own, figures) in rows.items():
            by = [who for seed in own for who in beaten[seed].get(method, [])]
            counted = ", ".join(f"{who} ({by.count(who)}/{len(own)})" for who in METHODS if who in by)
            shown = " | ".join(text(figures[name], name) for name in COLUMNS)
            lines.append(f"| {method} | {len(own)} | {shown} | {'yes' if leads[method] else ''} | {counted} |")
    return "\n".join(lines)


def dominated(found: dict[str, Any], dataset: str, seed: int) -> dict[str, list[str]]:
    """Return, for one seed, by whom each method is dominated beyond noise."""
    keys = [key for key in (f"{seed}/{dataset}/{method}" for method in METHODS) if key in found]
    points = [TradeoffPoint.model_validate(found[key]["point"]) for key in keys]
    return {point.method: point.dominated_by for point in judged(TradeoffLog(points=points)).points}


def _box(figures: dict[str, float]) -> Box:
    accuracy, leakage = figures["accuracy"], figures["TPR@1%"]
    return Box(utility=(accuracy,) * 3, leakage=(leakage,) * 3)


def said(settings: dict[str, Any]) -> str:
    """Return settings in a few words."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def text(value: float, name: str = "") -> str:
    """Return a figure as the table shows it."""
    return "–" if math.isnan(value) else f"{value:.1f}" if name == "x" else f"{value:.3f}"


if __name__ == "__main__":
    main()
