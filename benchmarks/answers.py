"""How fast answers are defended: answers a second of every answer defence, and MemGuard beside its published procedure.

    python benchmarks/answers.py
    python benchmarks/answers.py --records 100000 --classes 100 --features 600

Every defence turns the same logits into what is answered, hashing of the queries and random draws included where it
uses them, the model's own work not; one thread; the best of several runs, as wall time and as processor time.
MemGuard's search is timed on the scores of 30 classes that an imagined model gives its members and others, and the
published procedure, one record at a time with automatic differentiation, on some of the same: milliseconds a record,
and the mean distortion of both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import machine
from vestige.defend import DEFENCES
from vestige.defend.answers.memguard import NoiseAtClassifier, NoisedAnswers
from vestige.defend.base import Serving, probabilities
from vestige.defend.tickets import Tickets
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Outputs

WANTED, TIMES_FASTER = 300_000, 20
PARAMS: dict[str, dict[str, Any]] = {
    "temperature": {}, "noise": {}, "noise, laplace": {"law": "laplace"}, "rank_release": {}, "top_k": {}, "round": {},
    "label_only": {}, "private_prediction": {},
}  # fmt: skip


class Answering:
    """A model whose features decide its logits."""

    access = Access.SCORE

    def __init__(self, features: int, classes: int) -> None:
        self.weights = rng(0, "answers", "weights").standard_normal((features, classes)).astype(np.float32)

    def query(self, x: np.ndarray, want: Access) -> Outputs:  # noqa: ARG002, D102
        return Outputs("logits", 4 * np.asarray(x, np.float32) @ self.weights / np.float32(np.sqrt(len(self.weights))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--features", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine.describe(1))
    print(machine.busy())
    x = (rng(0, "answers").random((args.records, args.features)) < 0.5).astype(np.float32)
    model = Answering(args.features, args.classes)
    outputs = model.query(x, Access.SCORE)
    rows = np.arange(args.records, dtype=np.int64)
    half = args.records // 2
    records = Records(x, np.zeros(args.records, np.int64), rows)
    serving = Serving(target=model, records=records, rows=rows[:half], reserve=rows[half:], seed=0)
    found: dict[str, Any] = {}
    print(f"\n| defence | answers a second | by processor time | ({args.classes} classes, {args.features} features)")
    print("|---|---|---|")
    for name, params in PARAMS.items():
        defence = DEFENCES.create(name.split(",")[0], params)
        wall, busy = best(lambda defence=defence: answer(defence.prepare(serving), outputs, x), args.repeats)
        found[name] = {"wall": args.records / wall, "processor": args.records / busy}
        print(f"| {name} | {args.records / wall:,.0f} | {args.records / busy:,.0f} |")
    found["memguard"] = searched(30)
    if args.out:
        args.out.write_text(json.dumps({"machine": machine.facts(1), "arguments": vars(args), **found}, default=str))
    slow = [name for name in PARAMS if found[name]["wall"] < WANTED]
    if slow or found["memguard"]["times"] < TIMES_FASTER:
        sys.exit(f"Expected {WANTED:,} answers a second of each and a ratio of {TIMES_FASTER}: {slow}")


def answer(answerer: Any, outputs: Outputs, x: np.ndarray) -> Callable[[], Any]:
    return lambda: answerer.apply(outputs, Tickets(x, b"key"))


def best(prepared: Callable[[], Callable[[], Any]], repeats: int) -> tuple[float, float]:
    walls, busies = [], []
    for _ in range(repeats):
        act = prepared()
        wall, busy = time.perf_counter(), time.process_time()
        act()
        walls.append(time.perf_counter() - wall)
        busies.append(time.process_time() - busy)
    return min(walls), min(busies)


def searched(some: int) -> dict[str, float]:
    """Print and return how long a record takes, batched and as published, and how far the scores move."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from reference.slow_memguard import module_of, slow_phase_one

    draw = rng(0, "answers", "memguard")
    values = draw.standard_normal((2_000, 30))
    values[np.arange(2_000), values.argmax(1)] += np.where(np.arange(2_000) < 1_000, 5.0, 2.0) + draw.standard_normal(
        2_000
    )
    records = Records(values, np.zeros(2_000, np.int64), np.arange(2_000))

    class Given(Answering):
        def query(self, x: np.ndarray, want: Access) -> Outputs:  # noqa: ARG002
            return Outputs("logits", x)

    rows = np.arange(2_000, dtype=np.int64)
    guard: NoisedAnswers = NoiseAtClassifier().prepare(
        Serving(target=Given(1, 1), records=records, rows=rows[:1_000], reserve=rows[1_000:], seed=0)
    )
    asked = Outputs("logits", values)
    scores = probabilities(asked)
    start = time.perf_counter()
    noised = guard.noised(asked, scores)
    fast = (time.perf_counter() - start) / len(values)
    chosen = np.linspace(0, len(values) - 1, some).astype(np.int64)
    module = module_of(guard.net)
    start = time.perf_counter()
    slow = np.array([slow_phase_one(values[row], module) for row in chosen])
    each = (time.perf_counter() - start) / some
    start = time.perf_counter()
    for row in chosen:
        guard.noised(Outputs("logits", values[row : row + 1]), scores[row : row + 1])
    alone = (time.perf_counter() - start) / some
    moved = [float(np.abs(one - scores[chosen]).sum(1).mean()) for one in (noised[chosen], slow)]
    print(
        f"\nmemguard's search: {1e3 * fast:.3f} ms a record in a batch of {len(values):,}, {1e3 * alone:.1f} ms alone; "
        f"as published {1e3 * each:.1f} ms: {each / fast:.0f} times; mean L1 {moved[0]:.4f} and {moved[1]:.4f}"
    )
    return {
        "batched": fast,
        "alone": alone,
        "published": each,
        "times": each / fast,
        "l1": moved[0],
        "slow_l1": moved[1],
    }


if __name__ == "__main__":
    main()
