"""How fast, and in how much memory, LiRA and RMIA score.

    python benchmarks/scoring.py                 # 256 models x 50,000 records in memory, RMIA with 10,000 population
    records python benchmarks/scoring.py --stream        # 1,000,000 records x 64 models, one memory-mapped float32
    file per model

Seconds are medians of five runs after a first one that is not counted; each attack runs in a process of its own. The
memory is the largest resident set of that process, sampled and from the kernel: private memory and whatever pages of
the mapped files are resident at the time, so what the page cache holds beyond that process is not in it. Beside it, a
loop over records with scipy's log-densities does the same sums on a part of them, both as a check on the scores and
to give the speed-up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from vestige.attacks.base import Attack, Evidence
from vestige.attacks.lira import LiRA, LiRAOffline
from vestige.attacks.rmia import RMIA
from vestige.seeds import rng
from vestige.signals.base import SignalTable
from vestige.target import Access

ATTACKS: dict[str, Attack] = {
    "lira, pooled": LiRA(variance="pooled", centre="mean"),
    "lira, per record": LiRA(variance="per_record", centre="mean"),
    "lira, default": LiRA(),
    "lira_offline": LiRAOffline(),
    "rmia": RMIA(),
    "rmia, rank": RMIA(),
}
COMPARED = ("lira, pooled", "lira, per record", "rmia", "rmia, rank")
LOOP_RECORDS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, help="reference models (256; 64 with --stream)")
    parser.add_argument("--records", type=int, help="audited records (50,000; 1,000,000 with --stream)")
    parser.add_argument("--population", type=int, default=10_000, help="population records for RMIA's rank")
    parser.add_argument("--stream", action="store_true", help="memory-mapped files, one per model")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--attack", choices=list(ATTACKS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.models = args.models or (64 if args.stream else 256)
    args.records = args.records or (1_000_000 if args.stream else 50_000)
    if args.attack:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.stream:
            write_files(Path(folder), args.models, args.records)
        rows = [in_process(name, args, folder) for name in ATTACKS]
    if args.json:
        machine = platform.processor() or platform.machine()
        print(json.dumps({"machine": machine, "cores": os.cpu_count(), "rows": rows}))
        return
    print(f"{args.models} models x {args.records:,} records, {args.population:,} population, {os.cpu_count()} cores")
    heads = f"{'attack':18} {'seconds':>8} {'peak MB':>8} {'data MB':>8}"
    print(f"{heads} {'loop, same size':>16} {'speed-up':>9} {'max difference':>15}")
    for row in rows:
        print(
            f"{row['attack']:18} {row['seconds']:8.3f} {row['peak_mb']:8.0f} {row['before_mb']:8.0f}"
            f" {compared(row)}".rstrip()
        )


def compared(row: dict[str, float]) -> str:
    if "loop_seconds" not in row:
        return ""
    return f"{row['loop_seconds']:15.1f}s {row['loop_seconds'] / row['seconds']:8.0f}x {row['difference']:15.1e}"


def in_process(name: str, args: argparse.Namespace, folder: str) -> dict[str, float]:
    """Measure one attack in a fresh process, so that no other's memory counts."""
    flags = ["--attack", name, "--folder", folder, *(["--stream"] if args.stream else [])]
    for option in ("models", "records", "population", "repeats"):
        flags += [f"--{option}", str(getattr(args, option))]
    done = subprocess.run([sys.executable, __file__, *flags], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(args: argparse.Namespace) -> dict[str, float]:
    attack = ATTACKS[args.attack]
    evidence = evidence_of(attack, args)
    ranked = "rank" in args.attack
    score = attack.rank if ranked and isinstance(attack, RMIA) else attack.score
    process = psutil.Process()
    before = process.memory_info().rss
    scores, seconds = score(evidence), []
    for _ in range(args.repeats):
        start = time.perf_counter()
        scores = score(evidence)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = max(peak, process.memory_info().rss)
    row = {
        "attack": args.attack,
        "seconds": statistics.median(seconds),
        "peak_mb": peak / 1e6,
        "before_mb": before / 1e6,
    }
    if args.attack in COMPARED:
        row["loop_seconds"], row["difference"] = loop(args.attack, evidence, scores, args.records)
    return row


def block(attack: str, models: int, records: int, draw: np.random.Generator) -> np.ndarray:
    """(models, records) float32 signals: log-odds, or log-probabilities for RMIA."""
    values = draw.standard_normal((models, records), dtype=np.float32)
    return -np.abs(values) if attack.startswith("rmia") else values


def masks_of(models: int, records: int) -> np.ndarray:
    """Complementary pairs, drawn in runs of records to stay small."""
    masks = np.empty((models, records), np.bool_)
    for pair in range(models // 2):
        masks[2 * pair] = rng(0, "mask", pair).random(records, dtype=np.float32) < 0.5
        masks[2 * pair + 1] = ~masks[2 * pair]
    return masks


def write_files(folder: Path, models: int, records: int) -> None:
    for kind in ("lira", "rmia"):
        for model in range(models):
            np.save(folder / f"{kind}{model}.npy", block(kind, 1, records, rng(0, kind, model))[0][:, None])


def evidence_of(attack: Attack, args: argparse.Namespace) -> Evidence:
    kind = args.attack[:4]
    (key,) = attack.needs.signals

    def table(models: int, records: int, *path: str | int) -> SignalTable:
        values = [block(kind, 1, records, rng(0, kind, *path, model))[0][:, None] for model in range(models)]
        return SignalTable({key: values}, records, models)

    def built(records: int, shadows: SignalTable, masks: np.ndarray, population: Evidence | None) -> Evidence:
        return Evidence(
            access=Access.SCORE,
            needs=attack.needs,
            labels=np.zeros(records, np.int64),
            classes=2,
            own=table(1, records, "own", records),
            shadows=shadows,
            masks=masks,
            population=population,
        )

    population = None
    if "rank" in args.attack:
        outside = np.zeros((args.models, args.population), np.bool_)
        population = built(args.population, table(args.models, args.population, "population"), outside, None)
    if args.stream:
        files = [np.load(args.folder / f"{kind}{model}.npy", mmap_mode="r") for model in range(args.models)]
        shadows = SignalTable({key: files}, args.records, args.models)
    else:
        shadows = table(args.models, args.records)
    return built(args.records, shadows, masks_of(args.models, args.records), population)


def loop(name: str, evidence: Evidence, scores: np.ndarray, records: int) -> tuple[float, float]:
    """Seconds that a loop over all records would take, from a part of them, and how far its scores are off."""
    from scipy.stats import norm

    (key,) = evidence.needs.signals
    part = min(LOOP_RECORDS, records)
    own = evidence.target(key)[:part, 0].astype(np.float64)
    values = evidence.reference(key, 0, part)[:, :, 0].astype(np.float64)
    inside = evidence.masks[:, :part]
    population = None
    if evidence.population is not None:
        held_out = evidence.population
        likelihood = np.exp(held_out.reference(key)[:, :, 0].astype(np.float64)).mean(axis=0)
        offset = 0.8
        population = np.exp(held_out.target(key)[:, 0]) / (((1 + offset) * likelihood + 1 - offset) / 2)
    deviations = None
    if name == "lira, pooled":  # over all records; not in the time
        deviations = [pooled_deviation(evidence, key, side) for side in (False, True)]
    start = time.perf_counter()
    slow = np.empty(part)
    for n in range(part):
        ins, outs = values[inside[:, n], n], values[~inside[:, n], n]
        if name.startswith("lira"):
            low, high = deviations or (outs.std(ddof=1), ins.std(ddof=1))
            slow[n] = norm.logpdf(own[n], ins.mean(), high) - norm.logpdf(own[n], outs.mean(), low)
        else:
            ratio = np.exp(own[n]) / (0.5 * (np.exp(ins).mean() + np.exp(outs).mean()))
            slow[n] = np.log(ratio) if population is None else (ratio / population >= 1.0).mean()
    seconds = (time.perf_counter() - start) * records / part
    return seconds, float(np.abs(slow - scores[:part]).max())


def pooled_deviation(evidence: Evidence, key: str, side: bool) -> float:
    squares = freedom = 0.0
    for start, stop in evidence.blocks():
        values = evidence.reference(key, start, stop)[:, :, 0].astype(np.float64)
        chosen = evidence.masks[:, start:stop] == side
        count = chosen.sum(axis=0)
        mean = np.where(chosen, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares += float((np.where(chosen, values - mean, 0) ** 2).sum())
        freedom += float(np.maximum(count - 1, 0).sum())
    return float(np.sqrt(squares / freedom))


if __name__ == "__main__":
    main()
