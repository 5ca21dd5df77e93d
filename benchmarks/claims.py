"""Does what a formal defence claims hold? Canary audits of real trainings: no bound on ε may exceed the claim.

    python benchmarks/claims.py --repeats 20 --out claims.json
    python benchmarks/claims.py --defences dp_sgd_1 --repeats 2

Each training flips a coin for every one of its mislabelled canaries (or chooses one of two, where the claim is for
exchanging records), and the coins are guessed from the losses. Every repeat has coins, weights and noise of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import machine
from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchRecipe
from vestige.canary import audit
from vestige.datasets import load_dataset
from vestige.defend import DEFENCES
from vestige.errors import VestigeError
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records

DEFENDED: dict[str, tuple[str, dict[str, Any]]] = {
    "dp_sgd_1": ("dp_sgd", {"epsilon": 1.0, "delta": 1e-5}),
    "dp_sgd_4": ("dp_sgd", {"epsilon": 4.0, "delta": 1e-5}),
    "adaptive_clipping_1": ("adaptive_clipping", {"epsilon": 1.0, "delta": 1e-5}),
    "dp_erm_output_1": ("dp_erm_output", {"epsilon": 1.0}),
    "dp_erm_objective_1": ("dp_erm_objective", {"epsilon": 1.0}),
    "dp_erm_objective_gaussian_1": ("dp_erm_objective", {"epsilon": 1.0, "delta": 1e-5}),
    "amp_1": ("amp", {"epsilon": 1.0, "delta": 1e-5}),
    "frank_wolfe_1": ("frank_wolfe", {"epsilon": 1.0, "delta": 1e-5}),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One audit: the quoted bound, and the largest of those that count."""

    defence: str
    seed: int
    claimed: float
    quoted: float
    largest: float
    ceiling: float
    auc: float
    accuracy: float | None
    refuted: bool
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defences", nargs="+", choices=list(DEFENDED), default=list(DEFENDED))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--count", type=int, default=500, help="canaries")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(1), flush=True)
    records = load_dataset(args.dataset)
    records = scaled(records)
    found = [run(name, records, seed, args.count) for name in args.defences for seed in range(args.repeats)]
    print(render(found))
    if args.out:
        facts = {"machine": machine.facts(1), "audits": [asdict(one) for one in found]}
        args.out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    if any(one.refuted for one in found):
        sys.exit(1)


def scaled(records: Records) -> Records:
    """Return records of fractions in one row each, by the largest value that the data's format allows."""
    x = np.asarray(records.x)
    rows = x.reshape(len(x), -1).astype(np.float32) / np.float32(16.0 if x.max() > 1 else 1.0)
    return Records(rows, records.y, records.ids, records.groups, records.classes, records.name)


def plain(kind: str) -> Any:
    """Return the recipe that a defence changes."""
    if kind in ("dp_sgd", "adaptive_clipping"):
        return TorchRecipe(
            model="mlp", hidden=(32,), epochs=20, batch_size=64, lr=0.5, momentum=0.0, weight_decay=0.0,
            schedule="constant", normalize="none",
        )  # fmt: skip
    from sklearn.linear_model import LogisticRegression

    return SklearnRecipe(estimator=LogisticRegression(), preprocess="none")


def run(name: str, records: Records, seed: int, count: int) -> Found:
    """Train once, and bound ε from the coins."""
    start = time.perf_counter()
    kind, options = DEFENDED[name]
    defence, recipe = DEFENCES.create(kind, options), plain(kind)
    # Coins leave about half of the canaries out; the claim of a budget does not hang on how many.
    claim: PrivacyClaim = defence.claim(recipe, len(records) - count // 2)
    with tempfile.TemporaryDirectory() as store:
        log = audit(
            defence.wrap(recipe, np.zeros(0, np.int64)), records, canaries="mislabelled", score="loss", count=count,
            seed=seed, store=store, claim=claim,
        )  # fmt: skip
    quoted = next(one for one in log.epsilon if one.primary)
    found = Found(
        defence=name,
        seed=seed,
        claimed=claim.epsilon,
        quoted=float(quoted.value or 0.0),
        largest=max(one.value or 0.0 for one in log.epsilon if one.judged),
        ceiling=float(quoted.ceiling or 0.0),
        auc=float(log.attacks[0].auc.value or 0.0),
        accuracy=log.target.test_accuracy,
        refuted=any(not one.passed for one in log.findings),
        seconds=round(time.perf_counter() - start, 1),
    )
    print(f"{name}, seed {seed}: ε ≥ {found.quoted:.2f}, {found.seconds} s", file=sys.stderr, flush=True)
    return found


def render(found: list[Found]) -> str:
    """Return the table, in Markdown."""
    titles = ("defence", "trainings", "median ε ≥", "largest of any bound", "claimed", "ceiling", "mean AUC", "refuted")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in dict.fromkeys(one.defence for one in found):
        mine = [one for one in found if one.defence == name]
        lines.append(
            f"| {name} | {len(mine)} | {np.median([one.quoted for one in mine]):.2f} | "
            f"{max(one.largest for one in mine):.2f} | {mine[0].claimed:g} | {mine[0].ceiling:.2f} | "
            f"{np.mean([one.auc for one in mine]):.3f} | {sum(one.refuted for one in mine)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
