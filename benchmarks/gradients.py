"""How long the gradients of single records take: one pass over many records against a loop over them.

    python benchmarks/gradients.py [--records 10000] [--loop 500] [--models mlp,cnn] [--threads 2] [--rounds 3]

Takes the lengths of every record's gradient, layer by layer, as white-box attacks read them, and compares with one
backward pass per record on ``--loop`` of the same records, scaled to all of them (``--loop 0``: all of them). Both take
turns in every round, each round's ratio is printed, and the medians. The target is 10 times faster. Lengths must agree
to 1e-6 with a loop in double precision, but for those records, one in a hundred at most, of which two answers of one
pooling window, or an answer and zero, are so close that rounding decides where the gradient goes: the loop in single
precision, whose such records are counted too, meets as many. ``attention`` has layers without a rule of their own and
goes through vectorised gradients.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import machine
from vestige.backends.architectures import build
from vestige.backends.torch import TorchTarget
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals.measure import measure

TARGET = 10.0
EXACT, APART = 1e-6, 0.01
KEY = "gradient_norm"


class Attention(nn.Module):
    """A small transformer encoder over rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(28, 32)
        self.inner = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.last = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.last(self.inner(self.first(x[:, 0])).mean(1))


MODELS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "logistic": ((600,), lambda: build("logistic", (600,), 100, {})),
    "mlp": ((600,), lambda: build("mlp", (600,), 100, {"hidden": (256, 128)})),
    "cnn": ((1, 28, 28), lambda: build("cnn", (1, 28, 28), 10, {})),
    "attention": ((1, 28, 28), Attention),
    "resnet18": ((3, 32, 32), lambda: build("resnet18", (3, 32, 32), 10, {})),
}


def by_loop(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return (R,) lengths by one backward pass per record, written as a careful user would."""
    parameters = list(module.parameters())
    lengths = []
    for k in range(len(x)):
        loss = F.cross_entropy(module(x[k : k + 1]), y[k : k + 1])
        found = torch.autograd.grad(loss, parameters)
        lengths.append(torch.stack([g.square().sum() for g in found]).sum().sqrt())
    return torch.stack(lengths).detach().numpy()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def compare(name: str, count: int, loop: int, rounds: int) -> dict[str, Any]:
    shape, factory = MODELS[name]
    draw = rng(0, "benchmarks", "gradients", name)
    torch.manual_seed(0)
    module = factory().eval()
    classes = module(torch.zeros(2, *shape)).shape[1]
    x = draw.standard_normal((count, *shape), np.float32)
    y = draw.integers(0, classes, count)
    y[:classes] = np.arange(classes)
    records = Records.build(x, y)
    target, rows = TorchTarget.wrap(module, classes=classes), np.arange(count)
    few = rows[: loop or count]
    given = torch.from_numpy(x[few]), torch.from_numpy(y[few])
    measure(target, records, rows[:64], [KEY])
    by_loop(module, given[0][:16], given[1][:16])
    fast, slow = [], []
    for _ in range(rounds):
        seconds, found = timed(lambda: measure(target, records, rows, [KEY])[KEY])
        fast.append(seconds)
        seconds, expected = timed(lambda: by_loop(module, *given))
        slow.append(seconds * count / len(few))
    exact = by_loop(copy.deepcopy(module).double(), given[0].double(), given[1])
    off, loop_off = (np.abs(lengths / exact - 1) for lengths in (np.exp(found[: len(few), 0]), expected))
    ratios = [b / a for a, b in zip(fast, slow, strict=True)]
    return {
        "model": name,
        "records": count,
        "looped": len(few),
        "seconds": statistics.median(fast),
        "loop_seconds": statistics.median(slow),
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "difference": float(np.median(off)),
        "apart": int((off > EXACT).sum()),
        "loop_apart": int((loop_off > EXACT).sum()),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--records", type=int, default=10_000)
    options.add_argument("--loop", type=int, default=500)
    options.add_argument("--models", default="mlp,cnn")
    options.add_argument("--threads", type=int, default=machine.cores())
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print(machine.describe(chosen.threads))
    if machine.busy():
        print(machine.busy())
    results = []
    for name in chosen.models.split(","):
        found = compare(name, chosen.records, chosen.loop, chosen.rounds)
        results.append(found)
        ratios = ", ".join(f"{ratio:.1f}" for ratio in found["ratios"])
        print(
            f"{name:10s} {found['records']:,} records: {found['seconds']:.2f} s; loop {found['loop_seconds']:.2f} s "
            f"(from {found['looped']:,}); {found['ratio']:.1f} times faster ({ratios}; target {TARGET:g}); "
            f"lengths differ by {found['difference']:.0e} (median), of {found['apart']} records by more than "
            f"{EXACT:.0e} (the loop's of {found['loop_apart']})"
        )
        if found["apart"] > APART * found["looped"]:
            raise SystemExit(f"{name}: the two do not agree.")
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine.facts(chosen.threads), "results": results}, indent=1))


if __name__ == "__main__":
    main()
