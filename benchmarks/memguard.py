"""MemGuard on Location-30: what it does to the attack it is aimed at, and what others find as before.

    python benchmarks/memguard.py
    python benchmarks/memguard.py --seeds 0 --budgets 0.5

For every seed: a target on 1,000 records; the defender's own 1,000 others; 1,000 non-members to tell from the members;
and the adversary's 2,010, of which each of ``--shadows`` models has another half. Accuracies are over the 1,000 members
and 1,000 non-members, as means over seeds with Student intervals. The network attack was trained on the shadow models'
undefended answers and knows nothing of the defence; its opposite is what an adversary would say who
knew, of each target, that the noise turns more answers than it hides; class thresholds (Song & Mittal) are learnt on
shadow models that are defended likewise, by classifiers that the adversary trained on records of its own; the
label-only attack says member where the answer is right. Published beside it: the accuracies in the readme of the
defence's authors.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t
from sklearn.neural_network import MLPClassifier

import machine
from vestige.attacks.cuts import best_cuts
from vestige.backends.torch import TorchRecipe
from vestige.datasets import load_dataset
from vestige.defend.answers.memguard import NoiseAtClassifier
from vestige.defend.base import Serving, probabilities
from vestige.defend.tickets import Tickets
from vestige.records import Records
from vestige.seeds import rng, seed_for
from vestige.signals import measure_outputs
from vestige.target import Access, IntArray, Outputs, Target

PUBLISHED = {1.0: 0.50, 0.7: 0.52, 0.5: 0.55, 0.3: 0.62, 0.1: 0.69, 0.0: 0.73}
MOST, LEAST, JUDGED = 0.55, 0.65, 0.5
"""At the budget judged: the most that the network attack may find, and the least that the two others must."""
RECIPE = TorchRecipe(model="mlp", hidden=(256, 128), epochs=100, batch_size=64, lr=0.02, weight_decay=5e-4)
Rows = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--budgets", nargs="+", type=float, default=list(PUBLISHED))
    parser.add_argument("--shadows", type=int, default=4)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(1))
    records = load_dataset("location30")
    found: dict[float, Rows] = {budget: {} for budget in args.budgets}
    for seed in args.seeds:
        for budget, figures in one_seed(records, seed, args.budgets, args.shadows).items():
            for name, value in figures.items():
                found[budget].setdefault(name, []).append(value)
        print(f"seed {seed} done", file=sys.stderr)
        if args.out:
            done = args.seeds[: args.seeds.index(seed) + 1]
            args.out.write_text(json.dumps({"machine": machine.facts(1), "seeds": done, "budgets": found}, indent=1))
    print(table(found))
    if JUDGED in found and not sound(found):
        sys.exit(f"Expected, at a budget of {JUDGED}, what the summary's last line says.")


def one_seed(records: Records, seed: int, budgets: list[float], shadows: int) -> dict[float, dict[str, float]]:
    order = rng(seed, "memguard").permutation(len(records)).astype(np.int64)
    members, own, others, pool = np.split(order, [1000, 2000, 3000])
    halves = [rng(seed, "memguard", "shadow", k).permutation(pool) for k in range(shadows)]
    trained = [members, *(half[:1000] for half in halves)]
    target, *models = RECIPE.fit_many(records, trained, [seed_for(seed, "model", k) for k in range(len(trained))])
    attack = network(
        [(ask(m, records, h[:1000]), ask(m, records, h[1000:])) for m, h in zip(models, halves, strict=True)], seed
    )
    defence = NoiseAtClassifier()
    guard = defence.prepare(Serving(target=target, records=records, rows=members, reserve=own, seed=seed))
    # The adversary's defended models: half of its non-members aim the noise, and the other half set the thresholds.
    copies = [
        defence.prepare(Serving(target=m, records=records, rows=h[:1000], reserve=h[1000:1500], seed=seed_for(seed, k)))
        for k, (m, h) in enumerate(zip(models, halves, strict=True))
    ]
    judged = np.concatenate([members, others])
    truth = np.arange(len(judged)) < len(members)
    plain = ask(target, records, judged)
    scores = probabilities(plain)
    figures = {}
    for budget in budgets:
        guard.budget = budget
        answers = guard.apply(plain, Tickets(records.rows_of(judged), b"target"))
        distances = np.abs(answers.values - scores).sum(1)
        sets = [(m, np.concatenate([h[:1000], h[1500:]]), c) for m, h, c in zip(models, halves, copies, strict=True)]
        thresholds = learnt(sets, records, budget)
        for_class = values(answers, records.y[judged]) >= thresholds[records.y[judged]]
        right = answers.values.argmax(1) == records.y[judged]
        aimed_at = accuracy(attack.predict(ordered(answers.values)), truth)
        figures[budget] = {
            "network": aimed_at,
            "network or its opposite": max(aimed_at, 1 - aimed_at),
            "class thresholds": accuracy(for_class, truth),
            "label-only": accuracy(right, truth),
            "mean L1": float(distances.mean()),
            "allowed L1": budget + 3 * float(distances.std()) / np.sqrt(len(distances)),
            "labels changed": float((answers.values.argmax(1) != scores.argmax(1)).sum()),
            "train accuracy": float(right[truth].mean()),
            "test accuracy": float(right[~truth].mean()),
        }
    return figures


def ask(target: Target, records: Records, rows: IntArray) -> Outputs:
    return target.query(records.rows_of(rows), Access.SCORE)


def ordered(scores: np.ndarray) -> np.ndarray:
    return -np.sort(-scores, axis=1)


def network(answers: list[tuple[Outputs, Outputs]], seed: int) -> MLPClassifier:
    """Return the attack: wider than the defender's classifier, and trained on undefended shadow models."""
    inside, outside = (np.concatenate([ordered(probabilities(pair[k])) for pair in answers]) for k in (0, 1))
    net = MLPClassifier((512, 256, 128), batch_size=64, max_iter=200, random_state=seed, early_stopping=True)
    return net.fit(np.concatenate([inside, outside]), np.arange(len(inside) + len(outside)) < len(inside))


def learnt(sets: list[Any], records: Records, budget: float) -> np.ndarray:
    """Return the threshold of each class on the confidence that tells defended shadow models' members best."""
    seen, labels, members = [], [], []
    for k, (model, rows, copy) in enumerate(sets):
        copy.budget = budget
        answers = copy.apply(ask(model, records, rows), Tickets(records.rows_of(rows), f"shadow{k}".encode()))
        seen.append(values(answers, records.y[rows]))
        labels.append(records.y[rows])
        members.append(np.arange(len(rows)) < 1000)
    scores, y, inside = np.concatenate(seen), np.concatenate(labels), np.concatenate(members)
    return best_cuts(scores, inside, y, len(records.classes))


def values(answers: Outputs, labels: IntArray) -> np.ndarray:
    return measure_outputs(answers, labels, ["log_probability"])["log_probability"][:, 0]


def accuracy(said: np.ndarray, truth: np.ndarray) -> float:
    return float(said[truth].mean() + (~said[~truth]).mean()) / 2


def sound(found: dict[float, Rows]) -> bool:
    own = {name: float(np.mean(rows)) for name, rows in found[JUDGED].items()}
    quiet = all(max(rows["labels changed"]) == 0 for rows in found.values())
    within = all(
        l1 <= most for rows in found.values() for l1, most in zip(rows["mean L1"], rows["allowed L1"], strict=True)
    )
    return quiet and within and own["network"] <= MOST and min(own["class thresholds"], own["label-only"]) >= LEAST


def table(found: dict[float, Rows]) -> str:
    names = ["network", "network or its opposite", "class thresholds", "label-only", "mean L1", "labels changed"]
    lines = ["| budget | published network | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for budget, rows in found.items():
        cells = " | ".join(shown(rows[name]) for name in names)
        lines.append(f"| {budget:g} | {PUBLISHED.get(budget, float('nan')):.2f} | {cells} |")
    some = next(iter(found.values()))
    lines.append(f"\ntarget: train accuracy {shown(some['train accuracy'])}, test {shown(some['test accuracy'])}")
    lines.append(
        f"asked: at {JUDGED:g} network ≤ {MOST}, the two others ≥ {LEAST}; everywhere no label changed and a mean L1 "
        "within the budget and three standard errors"
    )
    return "\n".join(lines)


def shown(values: list[float]) -> str:
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
