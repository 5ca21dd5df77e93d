"""How fast shadow models train, against the loop that everybody writes: ``python benchmarks/training.py --help``.

Both are measured in turns in one process with one thread each, in seconds of that thread's processor time, best of
several rounds, so that other work on the machine disturbs neither side alone. ``--wall`` adds wall-clock figures with
all cores.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vestige.backends.ensemble.gemm import onednn
from vestige.backends.torch import TorchRecipe
from vestige.records import Records
from vestige.target import Access


class OwnModule(nn.Module):
    """What a user might bring: a residual network with normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.entry, self.norm = nn.Linear(446, 256), nn.LayerNorm(256)
        self.inner, self.head = nn.Linear(256, 256), nn.Linear(256, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        h = torch.relu(self.norm(self.entry(x)))
        return self.head(h + torch.relu(self.inner(h)))


class UnreadableModule(nn.Module):
    """A module whose control flow depends on values, so that it runs as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(446, 256), nn.Linear(256, 128), nn.Linear(128, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        h = torch.relu(self.a(x))
        return self.c(torch.relu(self.b(h)) if h.sum() >= 0 else h[:, :128])


@dataclass(frozen=True)
class Task:
    """Records, a recipe, how many rows a model trains on, and multiply-adds per record of one pass (0: not counted)."""

    name: str
    records: Records
    recipe: TorchRecipe
    rows: int
    models: int
    products: int


def location30(folder: Path) -> Records:
    data = np.load(folder / "location30" / "location30.npz")
    order = np.random.default_rng(0).permutation(len(data["y"]))[:4000]
    y = data["y"][order].astype(np.int64)
    y -= y.min()
    return Records(data["x"][order], y, order, None, tuple(map(str, range(30))), "location30")


def fashion_mnist(folder: Path) -> Records:
    def read(name: str, offset: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((folder / "fashion_mnist" / name).read_bytes()), np.uint8, offset=offset)

    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:10_000]
    y = read("train-labels-idx1-ubyte.gz", 8)[:10_000].astype(np.int64)
    return Records(x, y, np.arange(len(y)), None, tuple(map(str, range(10))), "fashion_mnist")


def tasks(folder: Path, wanted: list[str], quick: bool) -> list[Task]:
    found = []
    if {"location30", "own", "unreadable"} & set(wanted):
        records = location30(folder)
        common = {"epochs": 10 if quick else 50, "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 64}
        layers = 446 * 256 + 256 * 128 + 128 * 30
        if "location30" in wanted:
            found.append(Task("location30 mlp", records, TorchRecipe(**common), 2000, 8, 3 * layers - 446 * 256))
        if "own" in wanted:
            found.append(Task("own module", records, TorchRecipe(model=OwnModule, **common), 2000, 8, 0))
        if "unreadable" in wanted:
            found.append(Task("unreadable module", records, TorchRecipe(model=UnreadableModule, **common), 2000, 2, 0))
    if "fashion_mnist" in wanted:
        recipe = TorchRecipe(model="cnn", epochs=1 if quick else 5, lr=0.01, batch_size=64)
        found.append(Task("fashion_mnist cnn", fashion_mnist(folder), recipe, 5000, 1, 0))
    return found


def yardstick(task: Task, rows: np.ndarray) -> nn.Module:
    """Train one model with a DataLoader, automatic differentiation, an optimiser step and ``.item()`` per batch."""
    recipe, plan = task.recipe, task.recipe._setup(task.records).plan
    module = plan.build()
    optimiser = torch.optim.SGD(
        module.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs)
    judge = nn.CrossEntropyLoss()
    index = torch.from_numpy(rows)
    loader = DataLoader(TensorDataset(plan.batch(index), plan.y[index]), batch_size=recipe.batch_size, shuffle=True)
    module.train()
    for _ in range(recipe.epochs):
        for x, y in loader:
            optimiser.zero_grad()
            loss = judge(module(x), y)
            loss.backward()
            optimiser.step()
            loss.item()
        schedule.step()
    return module.eval()


def gemm_peaks(size: int = 1024, calls: int = 4) -> dict[str, float]:
    """Return the rate of large float32 products in Gflop/s, of this thread's processor time."""
    a = torch.randn(size, size)
    operator = onednn()
    ways: dict[str, Callable[[], object]] = {"mm": lambda: torch.mm(a, a)}
    if operator is not None:
        ways["oneDNN"] = lambda: operator(a, a, None, "none", [], "")
    found = {}
    for name, way in ways.items():
        seconds = min(timed(way, time.thread_time)[0] for _ in range(calls))
        found[name] = 2 * size**3 / seconds / 1e9
    return found


def timed(function: Callable[[], object], clock: Callable[[], float]) -> tuple[float, object]:
    start = clock()
    value = function()
    return clock() - start, value


def accuracy(answers: np.ndarray, records: Records, rows: np.ndarray) -> tuple[float, float]:
    right = answers == records.y
    inside = np.zeros(len(records), bool)
    inside[rows] = True
    return float(right[inside].mean()), float(right[~inside].mean())


def measure(task: Task, rounds: int) -> None:
    total, per_model = len(task.records), task.rows * task.recipe.epochs
    chunk = min(task.models, task.recipe.chunk_size(task.records))
    best = {"yardstick": math.inf, "vestige": math.inf}
    peaks: dict[str, float] = {}
    scores: dict[str, list[tuple[float, float]]] = {"yardstick": [], "vestige": []}
    plan = task.recipe._setup(task.records).plan
    for turn in range(rounds):
        rows = [np.random.default_rng([turn, m]).permutation(total)[: task.rows] for m in range(chunk)]
        torch.manual_seed(turn)
        seconds, module = timed(lambda rows=rows: yardstick(task, rows[0]), time.thread_time)
        best["yardstick"] = min(best["yardstick"], seconds)
        with torch.no_grad():
            answers = module(plan.batch(torch.arange(total))).argmax(1).numpy()
        scores["yardstick"].append(accuracy(answers, task.records, rows[0]))
        seeds = [turn * chunk + m for m in range(chunk)]
        seconds, targets = timed(
            lambda rows=rows, seeds=seeds: task.recipe.fit_many(task.records, rows, seeds), time.thread_time
        )
        best["vestige"] = min(best["vestige"], seconds / chunk)
        for target, own in zip(targets, rows, strict=True):
            answers = target.query(task.records.x, Access.LABEL).values
            scores["vestige"].append(accuracy(answers, task.records, own))
        for name, rate in gemm_peaks().items():
            peaks[name] = max(peaks.get(name, 0.0), rate)
    print(f"\n{task.name}: batch {task.recipe.batch_size}, {task.recipe.epochs} epochs, {chunk} models at a time")
    for name in best:
        train, test = np.mean(scores[name], axis=0)
        rate = per_model / best[name]
        line = f"  {name:10s} {rate:11,.0f} model·samples/s per core   train {train:.3f}  test {test:.3f}"
        if task.products:
            share = rate * 2 * task.products / 1e9 / max(peaks.values())
            line += f"   {100 * share:.0f} % of GEMM peak"
        print(line)
    print(f"  ratio      {best['yardstick'] / best['vestige']:11.2f} x per core")
    print("  GEMM peak  " + ", ".join(f"{name} {rate:.0f} Gflop/s" for name, rate in peaks.items()) + " per core")


def _work(task: Task, rows: list[np.ndarray]) -> None:
    """Train in a process of its own."""
    torch.set_num_threads(1)
    task.recipe.fit_many(task.records, rows, list(range(len(rows))))


def wall(task: Task, rounds: int) -> None:
    """Compare wall-clock rates on the whole machine: threads inside operations there, a process per core here."""
    cores, chunk = os.cpu_count() or 1, min(task.models, task.recipe.chunk_size(task.records))
    short = replace(task, recipe=replace(task.recipe, epochs=2))
    rows = [np.random.default_rng(m).permutation(len(task.records))[: task.rows] for m in range(chunk)]
    theirs = ours = math.inf
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_work, [short] * cores, [rows] * cores))
        for _ in range(rounds):
            torch.set_num_threads(cores)
            seconds, _ = timed(lambda: yardstick(short, rows[0]), time.perf_counter)
            theirs = min(theirs, seconds / short.recipe.epochs)
            torch.set_num_threads(1)
            seconds, _ = timed(lambda: list(pool.map(_work, [task] * cores, [rows] * cores)), time.perf_counter)
            ours = min(ours, seconds / (chunk * cores * task.recipe.epochs))
    print(
        f"  wall clock yardstick with {cores} threads {task.rows / theirs:,.0f}, vestige with {cores} processes "
        f"{task.rows / ours:,.0f} model·samples/s: {theirs / ours:.2f} x"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = ["location30", "own", "unreadable", "fashion_mnist"]
    parser.add_argument("--tasks", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side; the best counts (default 3)")
    parser.add_argument("--quick", action="store_true", help="fewer epochs: rates only, accuracies mean little")
    parser.add_argument("--wall", action="store_true", help="also compare wall-clock rates with all cores")
    options = parser.parse_args()
    folders = [Path(part) for part in os.environ.get("VESTIGE_DATA", "").split(os.pathsep) if part]
    folder = next((f for f in folders if (f / "location30").is_dir()), None)
    if folder is None:
        print("Set VESTIGE_DATA to the folder that has location30/ and fashion_mnist/.", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, {time.ctime()}"
    )
    for task in tasks(folder, options.tasks, options.quick):
        measure(task, options.rounds)
        if options.wall:
            wall(task, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
