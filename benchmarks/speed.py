"""How long whole audits take, from data to the written report, beside an audit as most tools run it.

    python benchmarks/speed.py --out speed.json
    python benchmarks/speed.py --parts audit --rounds 1 --yardstick-models 4
    python benchmarks/speed.py --parts quick --peer-json peers.json

Ours is `vestige audit` in a process of its own with a fresh store: its seconds hold the start of Python, the imports,
the reading of the data and the HTML report. The yardstick (`yardstick.py`) runs in this process, imports and data
already there, and writes nothing. The two take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

import machine
import peak_share
import whole
import yardstick
from tasks import Config, config_of
from vestige.auditing.run import Audit
from vestige.backends.features import fit_features
from vestige.config import AuditConfig
from vestige.errors import VestigeError
from vestige.metrics import Estimate, mean_over_targets

ATTACKS = ["loss", "lira", "rmia"]
ASKED = {"audit": 5.0, "audit, peer": 6.0, "quick": 40.0, "cnn": 3.0, "share": 0.45}
ASKED_QUICK = {"auc": 0.86, "tpr@0.01": 0.20}
PARTS = ("audit", "quick", "cnn")


class Peer(NamedTuple):
    """Whom the quick battery is compared with: median seconds after imports, and with how many shadow models."""

    name: str
    seconds: float
    shadows: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=machine.cores(), help="threads of the yardstick; our workers")
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline", help="of ours, MLP")
    parser.add_argument("--shadows", type=int, help="shadow models (64; 16 for the cnn)")
    parser.add_argument("--epochs", type=int, help="epochs of every model, of both sides (50; 5 for the cnn)")
    parser.add_argument(
        "--yardstick-models", type=int, help="train so many and scale to the full number; said in the print"
    )
    parser.add_argument("--quick-executor", choices=("inline", "processes"), default="inline")
    parser.add_argument("--quick-shadows", type=int, nargs="+", default=[8])
    parser.add_argument("--quick-seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--peer-json", type=Path, help="what peers.py --out wrote")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    print(machine.describe(args.threads))
    print(f"seed {args.seed}, {args.rounds} round(s), threads pinned to {args.threads}")
    print(machine.busy())
    whole.warm_up(args.threads)
    found: dict[str, Any] = {"machine": machine.facts(args.threads), "seed": args.seed}
    peer = fastest_peer(args.peer_json) if args.peer_json else None
    measured: yardstick.Yardstick | None = None
    if "audit" in args.parts:
        found["audit"], measured = audit_part(args, peer)
    if "quick" in args.parts:
        found["quick"] = quick_part(args, peer, measured)
    if "cnn" in args.parts:
        found["cnn"] = cnn_part(args)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def audit_part(args: argparse.Namespace, peer: Peer | None) -> tuple[dict[str, Any], yardstick.Yardstick]:
    """The whole location30 audit, ours and the yardstick's in turns, and which share of the peak training reaches."""
    config = _config("location30", args, {"shadow.executor": args.executor, "audit.targets": 1})
    standard = Standard(config, args)
    print(
        f"location30, {config['shadow']['count']} shadow models, {config['recipe']['epochs']} epochs, {args.executor}"
    )
    ours, theirs = in_turns({"ours": config}, standard, args)
    mid = statistics.median(run.wall for run in ours["ours"])
    other = _median(theirs)
    ratio = other.total / mid
    compare_accuracy(ours["ours"][-1], theirs[-1])
    compare_cpu(ours["ours"], theirs)
    print(f"  medians: ours {mid:.2f} s, yardstick {other.total:.2f} s: {ratio:.2f} times (asked: {ASKED['audit']:g})")
    if peer:
        factor = peer.seconds / mid
        print(f"  {peer.name} took {peer.seconds:.1f} s: {factor:.2f} times (asked: {ASKED['audit, peer']:g})")
    share = peak_share.measure(config, models=1 + config["shadow"]["count"], threads=args.threads)
    print(
        f"  training alone, {share.models} models: {share.seconds:.2f} s, {share.rate / 1e9:.0f} GF/s of "
        f"{share.peak / 1e9:.0f} GF/s at best in matrix products: {share.share:.1%} (asked: {ASKED['share']:.0%})\n"
    )
    told = {"ours": _told(ours["ours"]), "yardstick": [asdict(one) for one in theirs], "ratio": ratio}
    told |= {"ours_median": mid, "yardstick_median": other.total, "peak_share": {**asdict(share), "share": share.share}}
    return told, other


def quick_part(
    args: argparse.Namespace, peer: Peer | None, measured: yardstick.Yardstick | None
) -> list[dict[str, Any]]:
    """RMIA online on few shadow models: how strong, and how much sooner than a 64-shadow audit."""
    if peer is None:
        if measured is None:
            config = _config("location30", args, {"audit.targets": 1})
            measured = Standard(config, args).run(args.seed)
        peer = Peer("the yardstick", measured.total, measured.models - 1)
    told = []
    for shadows in args.quick_shadows:
        runs = []
        for seed in args.quick_seeds:
            changes = {"audit.attacks": "quick", "audit.targets": 1, "shadow.count": shadows, "seed": seed}
            changes |= {
                "recipe.epochs": args.epochs,
                "shadow.executor": args.quick_executor,
                "shadow.workers": args.threads,
            }
            runs.append(fresh(config_of("location30", changes), args.threads))
        results = [run.log.attack("rmia") for run in runs]
        figures = {"auc": [r.auc for r in results], "tpr@0.01": [p for r in results for p in r.tpr if p.fpr == 0.01]}
        means = {
            name: mean_over_targets([Estimate(value=f.value, low=f.low, high=f.high) for f in each]).mean
            for name, each in figures.items()
        }
        mid = statistics.median(run.wall for run in runs)
        print(f"quick battery, location30, {shadows} shadow models, seeds {args.quick_seeds}, {args.quick_executor}")
        for name, one in means.items():
            print(f"  RMIA {name}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] (asked: {ASKED_QUICK[name]:g})")
        print(
            f"  {mid:.2f} s with the start of the process: {peer.seconds / mid:.1f} times sooner than "
            f"{peer.name}'s audit with {peer.shadows} shadow models, {peer.seconds:.1f} s (asked: {ASKED['quick']:g})\n"
        )
        told.append(
            {
                "shadows": shadows,
                "seeds": args.quick_seeds,
                "walls": [run.wall for run in runs],
                "means": {name: [one.value, one.low, one.high] for name, one in means.items()},
                "against": peer._asdict(),
                "ratio": peer.seconds / mid,
            }
        )
    return told


def cnn_part(args: argparse.Namespace) -> dict[str, Any]:
    """The whole fashion_mnist audit with a small convolutional network, by both executors."""
    task = "fashion_mnist_fast"
    base = _config(task, args, {})
    # Threads cut each convolution of one model in two; processes share out whole models.
    ways = {"inline": {"recipe.threads": args.threads}, "processes": {}}
    configs = {name: _config(task, args, {"shadow.executor": name, **way}) for name, way in ways.items()}
    standard = Standard(base, args)
    print(f"fashion_mnist, cnn, {base['shadow']['count']} shadow models, {base['recipe']['epochs']} epochs")
    ours, theirs = in_turns(configs, standard, args)
    other, told = _median(theirs), {"yardstick": [asdict(one) for one in theirs]}
    for name, runs in ours.items():
        compare_accuracy(runs[-1], theirs[-1])
        compare_cpu(runs, theirs)
        mid = statistics.median(run.wall for run in runs)
        ratio = other.total / mid
        print(
            f"  medians: {name} {mid:.2f} s, yardstick {other.total:.2f} s: {ratio:.2f} times (asked: {ASKED['cnn']:g})"
        )
        told[name] = {"runs": _told(runs), "median": mid, "ratio": ratio}
    print()
    return told


class Standard:
    """The yardstick's side of a task: the same records, encoded the same way, and the same network in plain torch."""

    def __init__(self, config: Config, args: argparse.Namespace) -> None:
        audit = Audit.from_config(AuditConfig.model_validate(config))
        records, audited = audit.inputs.records, audit.split().audited
        recipe = config["recipe"]
        image = "add_channel" if recipe["model"] == "cnn" else "none"
        self.x = np.ascontiguousarray(fit_features(records.x, "auto", image=image)(records.x)[audited])
        self.y = records.y[audited].astype(np.int64)
        self.make = _network(recipe, self.x.shape[1:], len(records.classes))
        self.recipe, self.threads = recipe, args.threads
        self.models = 1 + config["shadow"]["count"]
        self.trained = min(args.yardstick_models or self.models, self.models)

    def run(self, seed: int) -> yardstick.Yardstick:
        """Run the yardstick, scaled to the full number of models when fewer were to be trained."""
        names = ("epochs", "batch_size", "lr", "momentum", "weight_decay")
        options = {name: self.recipe[name] for name in names}
        found = yardstick.audit(
            self.make, self.x, self.y, models=self.trained, seed=seed, threads=self.threads, **options
        )
        return found if self.trained == self.models else found.scaled(self.models)


def _network(recipe: dict[str, Any], shape: tuple[int, ...], classes: int) -> Callable[[], nn.Module]:
    def mlp() -> nn.Module:
        widths = [shape[0], *recipe["hidden"]]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def cnn() -> nn.Module:
        first, second = recipe["channels"]
        hidden, pixels = recipe["hidden"][0], (shape[1] // 4) * (shape[2] // 4)
        return nn.Sequential(
            nn.Conv2d(shape[0], first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(second * pixels, hidden), nn.ReLU(), nn.Linear(hidden, classes),
        )  # fmt: skip

    return cnn if recipe["model"] == "cnn" else mlp


def in_turns(
    configs: dict[str, Config], standard: Standard, args: argparse.Namespace
) -> tuple[dict[str, list[whole.Run]], list[yardstick.Yardstick]]:
    """Run each of ours and the yardstick once a round."""
    ours: dict[str, list[whole.Run]] = {name: [] for name in configs}
    theirs = []
    for turn in range(args.rounds):
        for name, config in configs.items():
            ours[name].append(fresh(config, args.threads))
            one = ours[name][-1]
            shadow = one.log.cost.seconds.shadow
            print(
                f"  round {turn + 1}, {name}: {one.wall:.2f} s ({one.inside:.2f} inside, {shadow:.2f} for the models)"
            )
        theirs.append(standard.run(args.seed + turn))
        other = theirs[-1]
        note = f", scaled from {standard.trained} models" if standard.trained < standard.models else ""
        print(
            f"  round {turn + 1}, yardstick: {other.total:.2f} s ({other.training:.2f} for training{note})", flush=True
        )
    return ours, theirs


def fresh(config: Config, threads: int) -> whole.Run:
    """Run one audit in a new folder with a new store."""
    with tempfile.TemporaryDirectory() as folder:
        return whole.audit(config, Path(folder), store=Path(folder) / "store", threads=threads)


def compare_accuracy(ours: whole.Run, theirs: yardstick.Yardstick) -> None:
    """Print both sides' shadow accuracy; a speed-up at another accuracy would mean nothing."""
    shadow = ours.log.shadow
    pairs = [(shadow.train_accuracy, theirs.train_accuracy), (shadow.test_accuracy, theirs.test_accuracy)]
    near = all(a is not None and abs(a - b) <= 0.01 for a, b in pairs)
    lira, rmia = (ours.log.attack(name).auc.value for name in ("lira", "rmia"))
    print(
        f"  shadow accuracy on members and others: ours {pairs[0][0]:.3f} and {pairs[1][0]:.3f}, yardstick "
        f"{pairs[0][1]:.3f} and {pairs[1][1]:.3f}: {'within' if near else 'NOT within'} one point"
    )
    print(
        f"  AUC of LiRA and RMIA: ours {lira:.3f} and {rmia:.3f}, yardstick {theirs.lira_auc:.3f} and "
        f"{theirs.rmia_auc:.3f} with the {theirs.trained} models it trained"
    )


def compare_cpu(ours: list[whole.Run], theirs: list[yardstick.Yardstick]) -> None:
    """Print the ratio of processor seconds, which other work on the machine disturbs less than wall-clock."""
    mine, other = (statistics.median(run.cpu for run in runs) for runs in (ours, theirs))
    print(f"  processor seconds: ours {mine:.1f}, yardstick {other:.1f}: {other / mine:.2f} times")


def fastest_peer(path: Path) -> Peer:
    """Return the fastest of the peers that peers.py ran."""
    medians = json.loads(path.read_text(encoding="utf-8"))["medians"]
    peers = [Peer(name, one["total"], one["models"] - 1) for name, one in medians.items() if name != "Vestige"]
    if not peers:
        sys.exit(f"{path} holds no peer's seconds.")
    return min(peers, key=lambda peer: peer.seconds)


def _config(task: str, args: argparse.Namespace, changes: dict[str, Any]) -> Config:
    given = {"shadow.count": args.shadows, "recipe.epochs": args.epochs, "seed": args.seed}
    return config_of(task, {"audit.attacks": ATTACKS, "shadow.workers": args.threads, **given, **changes})


def _median(runs: list[yardstick.Yardstick]) -> yardstick.Yardstick:
    return sorted(runs, key=lambda run: run.total)[len(runs) // 2]


def _told(runs: list[whole.Run]) -> list[dict[str, Any]]:
    return [
        {
            "wall": run.wall,
            "cpu": run.cpu,
            "seconds": run.log.cost.seconds.model_dump(),
            "peak_rss_mb": run.log.cost.peak_rss_mb,
            "report_bytes": run.report_bytes,
            "train_accuracy": run.log.shadow.train_accuracy,
            "test_accuracy": run.log.shadow.test_accuracy,
            "lira_auc": run.log.attack("lira").auc.value,
            "rmia_auc": run.log.attack("rmia").auc.value,
        }
        for run in runs
    ]


if __name__ == "__main__":
    try:
        main()
    except (VestigeError, whole.Unfinished) as error:
        sys.exit(str(error))
