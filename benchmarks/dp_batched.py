"""Many private models at once against the same trained one after another through Opacus: time, and accuracy.

    python benchmarks/dp_batched.py --out dp_batched.json
    python benchmarks/dp_batched.py --models 16 --ghost 1 --seeds 0

On both sides a perceptron is trained on halves of location30 at the same ε, with the same noise, norm, expected batch,
number of steps and optimiser. Opacus does it as its documentation says (`make_private` with Poisson sampling), timed
on a few of the models and scaled to all; its two ways to a record's gradient are timed, hooks, which is its usual one,
and ghost clipping. Their models differ in nothing but rounding, so more of the faster way's are compared in accuracy.
The two sides take turns: a chunk of batched models, then Opacus' next one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import machine
from dp_training import built, endless
from vestige.backends.torch import TorchRecipe
from vestige.datasets import load_dataset
from vestige.defend.private.accounting import gaussian_steps
from vestige.defend.private.calibration import noise_for
from vestige.defend.private.dp_sgd import DPSGD
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access

FASTER = 5.0
CLOSE = 0.01
MODES = ("hooks", "ghost")


@dataclass(frozen=True, kw_only=True)
class Round:
    """One seed: seconds for all models, and mean accuracy on the records that a model did not see."""

    seed: int
    models: int
    noise: float
    batched_seconds: float
    opacus_seconds: dict[str, float]
    opacus_noise: float
    batched_accuracies: list[float]
    opacus_accuracies: dict[str, list[float]]

    @property
    def gain(self) -> float:
        """How many times faster than Opacus with hooks, its usual way."""
        return self.opacus_seconds["hooks"] / self.batched_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--hooks", type=int, default=1, help="models trained through Opacus with hooks, per seed")
    parser.add_argument("--ghost", type=int, default=6, help="models trained through Opacus with ghost clipping")
    parser.add_argument("--hidden", nargs="+", type=int, default=[256, 128])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine.describe(1), flush=True)
    records = load_dataset("location30")
    recipe = TorchRecipe(
        model="mlp", hidden=tuple(args.hidden), epochs=args.epochs, batch_size=args.batch, lr=args.lr, momentum=0.0,
        weight_decay=0.0, schedule="constant",
    )  # fmt: skip
    found: list[Round] = []
    for seed in args.seeds:
        found.append(compared(records, recipe, seed, args))
        if args.out:
            facts = {"machine": machine.facts(1), "rounds": [asdict(one) for one in found]}
            args.out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(render(found, args))
    if min(one.gain for one in found) < FASTER or abs(apart(found)[0]) > CLOSE:
        sys.exit(1)


def apart(found: list[Round]) -> tuple[float, float]:
    """Return how much more accurate batched models are than Opacus' of the same rows, and its standard error."""
    pairs = [
        ours - theirs
        for one in found
        for mode in one.opacus_accuracies
        for ours, theirs in zip(one.batched_accuracies, one.opacus_accuracies[mode], strict=False)
    ]
    return float(np.mean(pairs)), float(np.std(pairs) / np.sqrt(len(pairs)))


def compared(records: Records, recipe: TorchRecipe, seed: int, args: argparse.Namespace) -> Round:
    """Train all models in chunks, then a few of them through Opacus."""
    order = [rng(seed, "half", m).permutation(len(records)) for m in range(args.models)]
    half = len(records) // 2
    rows, others = [own[:half] for own in order], [own[half:] for own in order]
    defence = DPSGD(epsilon=args.epsilon, delta=1e-5)
    private = defence.wrap(recipe, np.zeros(0, np.int64))
    terms = defence.terms(recipe.epochs, recipe.batch_size, half)
    # Opacus rounds the rate and the expected batch by itself; at those it gets the noise of the same ε.
    batches = -(-half // recipe.batch_size)
    noise = noise_for(
        args.epsilon, terms.delta, lambda one: gaussian_steps(one, 1 / batches, terms.steps * recipe.epochs)
    )
    size, batched = private.chunk_size(records), 0.0
    firsts = range(0, args.models, size)
    turns = [(mode, m) for mode in MODES for m in range(getattr(args, mode))]
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    accuracies: dict[str, list[float]] = {mode: [] for mode in MODES}
    right: list[float] = []
    x = torch.from_numpy(np.asarray(records.x, np.float32))
    y = torch.from_numpy(np.asarray(records.y, np.int64))
    for k in range(max(len(firsts), len(turns))):
        if k < len(firsts):
            part = slice(firsts[k], firsts[k] + size)
            start = time.perf_counter()
            targets = private.fit_many(records, rows[part], [1000 * seed + m for m in range(args.models)][part])
            batched += time.perf_counter() - start
            for target, own in zip(targets, others[part], strict=True):
                right.append(float((target.query(records.x[own], Access.LABEL).values == records.y[own]).mean()))
        if k < len(turns):
            mode, m = turns[k]
            start = time.perf_counter()
            model = through_opacus(x[rows[m]], y[rows[m]], recipe, noise, terms.steps, 1000 * seed + m, mode)
            seconds[mode].append(time.perf_counter() - start)
            with torch.no_grad():
                accuracies[mode].append(float((model(x[others[m]]).argmax(1) == y[others[m]]).float().mean()))
    one = Round(
        seed=seed,
        models=args.models,
        noise=terms.noise,
        batched_seconds=batched,
        opacus_seconds={mode: args.models * float(np.mean(spent)) for mode, spent in seconds.items()},
        opacus_noise=noise,
        batched_accuracies=right,
        opacus_accuracies=accuracies,
    )
    print(f"seed {seed}: {one.gain:.1f} times, {one}", file=sys.stderr, flush=True)
    return one


def through_opacus(x: Any, y: Any, recipe: TorchRecipe, noise: float, steps: int, seed: int, mode: str) -> nn.Module:
    """Return a perceptron trained by Opacus on its own."""
    from opacus import PrivacyEngine

    warnings.filterwarnings("ignore", module="opacus")
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    setting: Any = argparse.Namespace(hidden=recipe.hidden, classes=int(y.max()) + 1)
    loader = DataLoader(
        TensorDataset(x, y), batch_size=recipe.batch_size, generator=torch.Generator().manual_seed(seed)
    )
    module = built(x.shape[1], setting, seed)
    criterion: Any = nn.CrossEntropyLoss()
    made = PrivacyEngine().make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), recipe.lr),
        criterion=criterion,
        data_loader=loader,
        noise_multiplier=noise,
        max_grad_norm=1.0,
        grad_sample_mode=mode,
        noise_generator=torch.Generator().manual_seed(seed + 1),
    )
    if mode == "ghost":
        model, optimizer, criterion, loader = made
    else:
        model, optimizer, loader = made
    for batch, wanted in endless(loader, steps * recipe.epochs):
        optimizer.zero_grad()
        if mode == "ghost":
            criterion(model(batch), wanted).backward()
        else:
            F.cross_entropy(model(batch), wanted).backward()
        optimizer.step()
    plain: nn.Module = model._module.eval()
    return plain


def render(found: list[Round], args: argparse.Namespace) -> str:
    """Return the table, in Markdown."""
    noises = f"noise multiplier {found[0].noise:.3f} (Opacus {found[0].opacus_noise:.3f})"
    head = (
        f"{args.models} models, ε = {args.epsilon:g}, {noises}, {args.epochs} epochs of batches of {args.batch}; "
        f"Opacus on {args.hooks} of them with hooks and {args.ghost} with ghost clipping, scaled."
    )
    titles = ("seed", "batched", "Opacus, hooks", "faster", "Opacus, ghost", "faster", "accuracy of all")
    titles += ("of those also through Opacus", "hooks", "ghost")
    lines = [head, "", f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for one in found:
        hooks, ghost = one.opacus_seconds["hooks"], one.opacus_seconds["ghost"]
        alone = max(map(len, one.opacus_accuracies.values()))
        mean = {mode: float(np.mean(each)) for mode, each in one.opacus_accuracies.items()}
        lines.append(
            f"| {one.seed} | {one.batched_seconds:.1f} s | {hooks:.0f} s | {one.gain:.1f} × | {ghost:.0f} s | "
            f"{ghost / one.batched_seconds:.1f} × | {np.mean(one.batched_accuracies):.3f} | "
            f"{np.mean(one.batched_accuracies[:alone]):.3f} | {mean['hooks']:.3f} | {mean['ghost']:.3f} |"
        )
    more, error = apart(found)
    lines += [
        "",
        f"Batched models are {100 * more:+.2f} ± {100 * error:.2f} points more accurate (one standard error).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
