"""Boundary searches for many records at once, beside ART's HopSkipJump for one record after another.

    python benchmarks/boundary_peer.py --python PYTHON --json boundary_peer.json
    python benchmarks/boundary_peer.py --python PYTHON --records 100 --peer 4 --rounds 2

Both search around the same records of the same small convolutional network (fashion_mnist), in turns: each round ours
takes its share of all records and ART some of those. ``PYTHON`` has torch and adversarial-robustness-toolbox 1.20.1;
its driver starts counting seconds after the imports and one record. ART gets the iterations that come closest to as
many questions without more, and its own defaults otherwise; ours is the probe as audits run it, start and all. Beside
the seconds stand those of the processor, which other work on the machine disturbs less. ART starts from noise, ours
from the nearest held-out record with another label; ``--same-starts`` gives ART the latter too. Asked: 8 times faster,
at a median distance that is no more than 3 % larger.

Ours may end nearer than ART, so a second line says how few queries of ours reach ART's distance, within those 3 %, and
how the two compare then; that is an answer to another question, and what was asked is judged by the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import machine
import whole
from pools import model_of
from tasks import config_of
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.errors import VestigeError
from vestige.records import Records
from vestige.signals.base import Setting
from vestige.signals.labels.boundary import Boundary
from vestige.signals.labels.hop_skip_jump import OK
from vestige.target import Access, IntArray

DRIVER = Path(__file__).resolve().parent / "peer_drivers" / "art_boundary.py"
ASKED, FARTHER = 8.0, 1.03
FEWER = (300, 400, 500, 600, 700, 800, 900, 1_000, 1_200, 1_400, 1_600, 2_000)
CHANGES = {"data.limit": 5_000, "shadow.count": 0, "audit.targets": 1, "audit.attacks": ["loss"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter that has ART")
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=2_500, help="of ours, per record")
    parser.add_argument("--iterations", type=int, default=10, help="of ART, which then asks 2,388 to 2,400 questions")
    parser.add_argument("--peer", type=int, default=50, help="records that ART searches around, of all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--same-starts", action="store_true", help="ART starts where ours does")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="of both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, help="folder of the store (VESTIGE_STORE, or the user's cache)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    print(machine.describe(args.threads))
    print(machine.busy())
    torch.set_num_threads(args.threads)
    changes = {"seed": args.seed, "store": str(args.store) if args.store else None, **CHANGES}
    audit = Audit.from_config(AuditConfig.model_validate(config_of("fashion_mnist", changes)))
    split, records = audit.split(), audit.inputs.records
    target: Any = model_of(audit, split, 0).target
    labels = target.query(records.rows_of(split.audited), Access.LABEL).values
    rows = split.audited[labels == records.y[split.audited]][: args.records]
    share, few = len(rows) // args.rounds, args.peer // args.rounds
    found: dict[str, Any] = {"rounds": [], "ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "records.npz"
        scale = write_data(data, target, records, rows, split.population)
        searched(audit, target, rows[:20], args.queries)
        for turn in range(args.rounds):
            part = rows[turn * share : (turn + 1) * share]
            seconds, cpu, ours = searched(audit, target, part, args.queries)
            theirs = peer(args, data, turn * share, few)
            found["rounds"].append(entry(len(part), seconds, cpu, ours, theirs))
            found["ours"] += [float(d) * scale for d in ours[:few, 0]]
            found["theirs"] += theirs["distances"]
            found.setdefault("all", []).extend(float(d) * scale for d in ours[:, 0])
            print(told(found["rounds"][-1]), flush=True)
    held = judge(found)
    found["matched"] = matched(audit, target, rows[: share * args.rounds], share, few, found, scale)
    if args.json:
        found |= {"machine": machine.facts(args.threads), "seed": args.seed, "held": held}
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0 if held else 1


def matched(
    audit: Audit, target: Any, rows: IntArray, share: int, few: int, found: dict[str, Any], scale: float
) -> dict[str, Any] | None:
    """Print and return the fewest queries of `FEWER` that reach ART's distance on the same records, and their price."""
    theirs = float(np.median(found["theirs"]))
    shared = np.concatenate([rows[start : start + few] for start in range(0, len(rows), share)])
    for queries in FEWER:
        near = float(np.median(searched(audit, target, shared, queries)[2][:, 0])) * scale
        if near <= FARTHER * theirs:
            break
    else:
        print(f"No fewer queries of ours end as near as ART, at {theirs:.4f}.")
        return None
    seconds, cpu, _ = searched(audit, target, rows, queries)
    each, cpu_each = (statistics.median(one[name] for one in found["rounds"]) for name in ("theirs", "peer_cpu"))
    thousand = 1_000 / len(rows)
    one = {
        "queries": queries, "distance": near, "farther": near / theirs, "seconds": seconds * thousand,
        "cpu": cpu * thousand, "ratio": each / (seconds * thousand), "cpu_ratio": cpu_each / (cpu * thousand),
    }  # fmt: skip
    print(
        f"At ART's distance: {queries:,} queries of ours reach {near:.4f}, {100 * (one['farther'] - 1):+.1f} %, in "
        f"{one['seconds']:.1f} s for 1,000 records: {one['ratio']:.1f} times faster, by the processor's seconds "
        f"{one['cpu_ratio']:.1f}."
    )
    return one


def write_data(path: Path, target: Any, records: Records, rows: IntArray, spare: IntArray) -> float:
    """Write the network, the records as it reads them, and where to start; return a unit of ours in ART's."""
    x, others = (target.prepared(records.rows_of(some)).numpy() for some in (rows, spare))
    said = target.query(records.rows_of(spare), Access.LABEL).values
    starts = np.empty_like(x)
    for place, (image, label) in enumerate(zip(x, records.y[rows], strict=True)):
        fits = others[said != label]
        starts[place] = fits[np.square(fits - image).reshape(len(fits), -1).sum(axis=1).argmin()]
    parameters = {f"parameter_{k}": p.detach().numpy() for k, p in enumerate(target.module.parameters())}
    np.savez(
        path, x=x, starts=starts, clip=np.array([0.0, 1.0], np.float32), classes=len(records.classes), **parameters
    )
    return float(target.features.scale)


def searched(audit: Audit, target: Any, rows: IntArray, queries: int) -> tuple[float, float, Any]:
    """Run the probe on these records; return seconds, the processor's seconds, and (R, 3) of what it found."""
    setting = Setting(
        records=audit.inputs.records,
        rows=rows,
        spare=audit.split().population,
        references=(),
        recipe=None,
        budget=None,
        seed=audit.config.seed,
    )
    start, before = time.perf_counter(), time.process_time()
    found = Boundary(queries=queries).probe(target, setting)
    return time.perf_counter() - start, time.process_time() - before, found


def peer(args: argparse.Namespace, data: Path, first: int, count: int) -> dict[str, Any]:
    """Run ART around some of the records."""
    options = {"first": first, "count": count, "iterations": args.iterations, "threads": args.threads}
    options["seed"] = args.seed + first
    command = [args.python, str(DRIVER), str(data), *(word for k, v in options.items() for word in (f"--{k}", str(v)))]
    command += ["--starts"] if args.same_starts else []
    done = subprocess.run(command, env=whole.pinned(args.threads), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"peer"')]
    if done.returncode or not lines:
        raise SystemExit(f"ART's driver ended with {done.returncode}: {whole.last_line(done.stderr)}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def entry(count: int, seconds: float, cpu: float, ours: Any, theirs: dict[str, Any]) -> dict[str, Any]:
    """Return one round: seconds for 1,000 records by both, and their ratio."""
    each = statistics.fmean(theirs["seconds"])
    cpu_each = statistics.fmean(theirs["cpu"])
    return {
        "records": count, "seconds": seconds, "ours": 1_000 * seconds / count, "theirs": 1_000 * each,
        "ratio": each * count / seconds, "cpu_ratio": cpu_each * count / cpu, "cpu": 1_000 * cpu / count,
        "peer_cpu": 1_000 * cpu_each, "queries": float(ours[:, 2].mean()), "found": int((ours[:, 1] == OK).sum()),
        "peer_queries": statistics.fmean(theirs["queries"]), "peer_records": len(theirs["seconds"]),
        "peer_found": sum(theirs["succeeded"]),
    }  # fmt: skip


def told(one: dict[str, Any]) -> str:
    """Return a round in a line."""
    return (
        f"ours {one['ours']:.1f} s for 1,000 records ({one['records']} searched, {one['found']} found, "
        f"{one['queries']:,.0f} queries each); ART {one['theirs']:.0f} s ({one['peer_records']} searched, "
        f"{one['peer_found']} found, {one['peer_queries']:,.0f} queries each): {one['ratio']:.1f} times; "
        f"processor {one['cpu']:.1f} and {one['peer_cpu']:.0f} s: {one['cpu_ratio']:.1f} times"
    )


def judge(found: dict[str, Any]) -> bool:
    """Print the medians, and return whether both are as asked."""
    ratio = statistics.median(one["ratio"] for one in found["rounds"])
    ours, theirs = np.array(found["ours"]), np.array(found["theirs"])
    farther, each = float(np.median(ours) / np.median(theirs)), float(np.median(ours / theirs))
    found["cpu_ratio"] = statistics.median(one["cpu_ratio"] for one in found["rounds"])
    found |= {"ratio": ratio, "distance": [float(np.median(ours)), float(np.median(theirs))], "farther": farther}
    found |= {"each": each, "median_of_all": float(np.median(found["all"]))}
    print(
        f"{ratio:.1f} times faster, median of {len(found['rounds'])} rounds (asked: {ASKED:g}: "
        f"{'reached' if ratio >= ASKED else 'NOT reached'}); by the processor's seconds {found['cpu_ratio']:.1f}."
    )
    print(
        f"Median distance on the same {len(ours)} records: ours {np.median(ours):.4f}, ART {np.median(theirs):.4f}, "
        f"{100 * (farther - 1):+.1f} % (asked: at most {100 * (FARTHER - 1):+.0f} %: "
        f"{'reached' if farther <= FARTHER else 'NOT reached'}); the median of each record's own ratio is "
        f"{100 * (each - 1):+.1f} %; ours over all {len(found['all'])} records {found['median_of_all']:.4f}."
    )
    return ratio >= ASKED and farther <= FARTHER


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VestigeError as error:
        sys.exit(str(error))
