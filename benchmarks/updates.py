"""Who was added to a model, who was removed, and when: attacks that compare snapshots, beside those that see one.

    python benchmarks/updates.py
    python benchmarks/updates.py --kinds unlearn --seeds 0 --shadows 16

Each seed draws its own base, update and shadow models; half of the records are the base, of which every model draws
half. Figures are means over seeds with Student intervals of 95 %. An attack that sees the last model alone shows what
comparing adds: against unlearning it stands for the promise that what was removed is forgotten. The last part deals
the update to several and counts how often the largest jump of a member is at the update that added it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import machine
from tasks import config_of
from vestige.auditing.run import Audit
from vestige.backends.updating import UpdateRecipe
from vestige.config_files import load_config
from vestige.metrics import auc, mean_over_targets, roc, tprs_at
from vestige.seeds import seed_for

KINDS = ("fine_tune", "retrain", "unlearn")
RATES = (0.001, 0.01)
TUNING = {"epochs": 20}
LEARNED = {"rule": "learned"}
ATTACKS: list[Any] = [
    "loss",
    "lira",
    "model_update",
    {"name": "model_update", "params": {"signal": "loss"}},
    {"name": "model_update", "params": {"rule": "ratio"}},
    {"name": "model_update", "params": {"rule": "lira"}},
    *({"name": "model_update", "params": LEARNED | {"features": features}}
      for features in ("direct_concat", "sorted_concat", "direct_diff", "sorted_diff", "euclidean")),
]  # fmt: skip


def audit(dataset: str, update: dict[str, Any], seed: int, shadows: int, attacks: Sequence[Any], store: Path) -> Audit:
    config = config_of(dataset, {"seed": seed, "shadow": {"count": shadows}, "update": update, "store": str(store)})
    config["audit"] = {"attacks": list(attacks), "targets": 1, "fpr": list(RATES)}
    return Audit.from_config(load_config(config, environ={}))


def strength(dataset: str, kind: str, seeds: Sequence[int], shadows: int, store: Path) -> list[dict[str, Any]]:
    """Return each attack's AUC and TPRs over the seeds, and print them."""
    update = {"kind": kind, **(TUNING if kind == "fine_tune" else {})}
    found: dict[str, list[list[Any]]] = {}
    for seed in seeds:
        log = audit(dataset, update, seed, shadows, ATTACKS, store).run()
        truth = np.array([row.member for row in log.record_table])
        for result in log.attacks:
            scores = np.array([row.scores[result.title] for row in log.record_table])
            curve = roc(scores[truth], scores[~truth])
            found.setdefault(result.title, []).append([auc(curve), *tprs_at(curve, RATES)])
    print(f"\n{dataset}, {kind}: {len(seeds)} seeds, {shadows} shadow models, {int(truth.sum()):,} members")
    rows = []
    for name, figures in found.items():
        means = [mean_over_targets([one[k] for one in figures]).mean for k in range(1 + len(RATES))]
        told = ["withheld" if m.withheld else f"{m.value:.4f} [{m.low:.4f}, {m.high:.4f}]" for m in means]
        print(f"  {name:36s} AUC {told[0]}  TPR@0.1 % {told[1]}  TPR@1 % {told[2]}", flush=True)
        keys = ("auc", *map(str, RATES))
        rows.append(
            {"kind": kind, "attack": name} | {k: [m.value, m.low, m.high] for k, m in zip(keys, means, strict=True)}
        )
    return rows


def timing(dataset: str, kind: str, seeds: Sequence[int], steps: int, store: Path) -> dict[str, Any]:
    """Return how often the largest jump of a member is at its own update, by chance 1 / ``steps``."""
    update = {"kind": kind, "steps": steps, **(TUNING if kind == "fine_tune" else {})}
    shares = []
    for seed in seeds:
        run = audit(dataset, update, seed, 0, ["model_update"], store)
        split, recipe = run.split(), run.inputs.recipe
        assert isinstance(recipe, UpdateRecipe)
        truth = np.zeros(len(run.inputs.records), np.int64)
        for step, part in enumerate(recipe.parts(split.rows(0), seed_for(split.seed, "model", 0)), start=1):
            truth[part] = step
        truth = truth[split.audited]
        said = np.array([row.scores["model_update when"] for row in run.run().record_table])
        shares.append(float(np.mean(said[truth > 0] == truth[truth > 0])))
    print(f"  {kind:10s} {steps} updates: told when for {np.mean(shares):.3f} of members ({min(shares):.3f} to "
          f"{max(shares):.3f}; chance {1 / steps:.3f})", flush=True)  # fmt: skip
    return {"kind": kind, "steps": steps, "told": shares}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", default="location30", choices=("location30", "digits", "retail600"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="updates of the part that asks when")
    parser.add_argument("--store", type=Path, help="folder that keeps what was trained; by default nothing is kept")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if options.dataset != "digits" and not os.environ.get("VESTIGE_DATA"):
        print("Set VESTIGE_DATA to the folder that has location30/ and retail600/.", file=sys.stderr)
        return 2
    print(machine.describe(1))
    found: dict[str, Any] = {"machine": machine.facts(1), "strength": [], "when": []}
    with tempfile.TemporaryDirectory() as own:
        store = options.store or Path(own)
        for kind in options.kinds:
            found["strength"] += strength(options.dataset, kind, options.seeds, options.shadows, store)
        print("\nWhen")
        for kind in options.kinds:
            found["when"].append(timing(options.dataset, kind, options.seeds, options.steps, store))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
