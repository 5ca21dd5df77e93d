"""Is every lower bound on ε a lower bound? Thousands of audits of mechanisms whose ε is known, by Vestige and others.

    python benchmarks/interval_coverage.py --workers 2 --json coverage.json --docs [--python PYTHON] [--path TOOL=PATH]…

A valid bound at 95 % exceeds the truth in at most 5 % of audits. Each cell draws m canaries by fair coins, sends every
coin through the mechanism, and asks each method, as shipped and in its named designs. A method that lies beyond
5 % + 2 standard errors is asked again about five times as many fresh audits, which alone decide. What is slow is asked
about a part of the audits, and the tables say how many. `--json` is written after every cell, and `--resume` goes on
where such a file ends. Exit code 1: a bound of Vestige's does not hold, or a method crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import bound_peers
import coverage_tables
import machine
from mechanisms import BLOCK, MECHANISMS
from simulation import CONFIRMATION, Cell, cells, gathered, holds, row, share_of, submit, titles
from vestige.metrics import area, roc, tprs_at

# Repeats. Of 500 non-members 5 may lie above the threshold, so the mean TPR of noise is exactly 6/501 = .01198.
NOISE = 40_000
DOCS = Path(__file__).resolve().parents[1] / "docs" / "tables" / "coverage.md"


def main(argv: list[str] | None = None) -> int:
    options = parsed(argv)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    started = time.perf_counter()
    print(machine.describe(options.workers))
    todo = cells(options.audits, options.records)
    if options.mechanisms:
        todo = [cell for cell in todo if cell.mechanism in options.mechanisms]
    found = _known(options)
    ours(todo, found, options)
    others = [each for each in found["noise"] if each["tool"] != "Vestige"]
    found["noise"] = [noise(options.seed, max(options.audits, NOISE)), *others]
    theirs(todo, found, options)
    found["seconds"] = round(found.get("seconds", 0.0) + time.perf_counter() - started)
    save(found, options)
    text = coverage_tables.page(found)
    print("\n" + text)
    print(f"{found['seconds']} s")
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.docs:
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(_heading(found) + text, encoding="utf-8")
    own = [each for each in found["rows"] if each["tool"] == "Vestige" and each["kind"] != "estimate"]
    return int(any(not holds(each) or each["crashes"] for each in own))


def parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audits", type=int, default=2000, help="simulated per cell")
    parser.add_argument("--records", type=_sizes, default=[200, 1000, 5000], metavar="M,M", help="canaries per audit")
    parser.add_argument("--mechanisms", type=_names, default=[], metavar="NAME,NAME", help=", ".join(MECHANISMS))
    parser.add_argument("--only", type=_words, default=[], metavar="WORD,WORD", help="methods so titled")
    parser.add_argument("--workers", type=int, default=machine.cores(), help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all figures here, after every cell")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds already")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--docs", action="store_true", help="write the tables that the documentation includes")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has what the other tools need")
    parser.add_argument(
        "--path", action="append", default=[], metavar="TOOL[@VERSION]=PATH",
        help=f"folder or wheel of another tool ({', '.join(bound_peers.DRIVERS)}); repeatable",
    )  # fmt: skip
    parser.add_argument("--peer-seconds", type=float, default=4.0, help="per cell and method of another tool")
    parser.add_argument("--slow-most", type=int, default=1000, help="most canaries for opake's slow gdp")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds after which another tool is given up")
    options = parser.parse_args(argv)
    if options.resume and not options.json:
        parser.error("--resume needs --json")
    return options


def ours(todo: list[Cell], found: dict[str, Any], options: argparse.Namespace) -> None:
    """Run Vestige's methods over all cells, and again over those in which one lies beyond what is permitted."""
    known = {_key(each) for each in found["rows"]}
    missing = {
        cell: [title for title in titles(cell, options.only) if ("Vestige", title, *_place(cell)) not in known]
        for cell in todo
    }
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        waiting = {cell: submit(pool, cell, some, options.seed) for cell, some in missing.items() if some}
        for cell, turns in waiting.items():
            new = [row(cell, title, tally) for title, tally in gathered(turns).items()]
            again = {
                each["method"]: submit(pool, _larger(cell, each), [each["method"]], options.seed, "confirmation")
                for each in new
                if each["kind"] != "estimate" and not holds(each)
            }
            for each in new:
                if each["method"] in again:
                    _confirm(each, cell, gathered(again[each["method"]])[each["method"]])
            found["rows"] += new
            save(found, options)
            _tell(cell, new)


def _larger(cell: Cell, each: dict[str, Any]) -> Cell:
    return replace(cell, audits=CONFIRMATION * each["audits"])


def _confirm(each: dict[str, Any], cell: Cell, tally: Any) -> None:
    """Let fresh audits decide about a row, and keep what it said at first."""
    fresh = row(_larger(cell, each), each["method"], tally)
    each["first"] = {key: each[key] for key in ("audits", "exceeded")}
    each |= {key: fresh[key] for key in ("audits", "exceeded")}
    each["crashes"] += fresh["crashes"]


def theirs(todo: list[Cell], found: dict[str, Any], options: argparse.Namespace) -> None:
    """Run the same audits by the other tools."""
    given, found["skipped"] = bound_peers.peers(options.path)
    done = {(each["tool"], each["canaries"]) for each in found["rows"]}
    jobs = [(peer, size) for peer in given for size in options.records if (peer.title, size) not in done]
    limits = {"seconds": options.peer_seconds, "most": options.slow_most, "timeout": options.timeout}
    ask = {"python": options.python, "seed": options.seed, "workers": options.workers, **limits}
    if any(peer.tool == "opake" for peer in given) and max(options.records) > options.slow_most:
        found["skipped"].append(
            f"opake's gdp takes seconds, so it is asked about {options.slow_most:,} canaries at most."
        )
    for peer, size, answer in bound_peers.rows(jobs, todo, **ask):
        if isinstance(answer, str):
            found["skipped"].append(answer)
        else:
            found["rows"] += [{"tool": peer.title, **each} for each in answer if "noise" not in each]
            found["noise"] += [{"tool": peer.title, **each["noise"]} for each in answer if "noise" in each]
            save(found, options)
        print(f"{peer.title}, {size:,} canaries: {answer if isinstance(answer, str) else 'done'}", flush=True)


def noise(seed: int, repeats: int) -> dict[str, Any]:
    """Return the mean AUC and TPR at 1 % of scores that know nothing, over at least so many repeats."""
    asked = bound_peers.noise(seed, -(-repeats // BLOCK))
    figures = []
    for one in asked["seeds"]:
        draw = np.random.Generator(np.random.PCG64(one))
        for _ in range(BLOCK):
            curve = roc(draw.normal(size=asked["size"]), draw.normal(size=asked["size"]))
            figures.append((area(curve), tprs_at(curve, [0.01])[0].value))
    auc, tpr = np.array(figures).T
    error = np.sqrt(len(figures))
    return {
        "tool": "Vestige",
        "size": asked["size"],
        "repeats": len(figures),
        "auc": float(auc.mean()),
        "auc_error": float(auc.std() / error),
        "tpr": float(tpr.mean()),
        "tpr_error": float(tpr.std() / error),
    }


def save(found: dict[str, Any], options: argparse.Namespace) -> None:
    """Write what is known so far, whole or not at all."""
    if options.json:
        part = options.json.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")
        part.replace(options.json)


def _known(options: argparse.Namespace) -> dict[str, Any]:
    """Return what an earlier run of the same audits found, or a fresh start."""
    settings = {"audits": options.audits, "seed": options.seed, "records": options.records}
    fresh = {**settings, "machine": machine.facts(options.workers), "rows": [], "noise": [], "skipped": []}
    if not (options.resume and options.json.exists()):
        return fresh
    found = json.loads(options.json.read_text("utf-8"))
    for name, value in settings.items():
        if found[name] != value:
            sys.exit(f"Expected '{options.json}' to hold audits with {name}={value}, got {found[name]}; drop --resume.")
    return found


def _tell(cell: Cell, new: list[dict[str, Any]]) -> None:
    judged = [each for each in new if each["kind"] != "estimate" and share_of(each) is not None]
    worst = max(judged, key=lambda each: share_of(each) or 0.0, default=None)
    said = f"at most {share_of(worst):.1%} ({worst['method']})" if worst else "nothing to judge"
    failed = [each["method"] for each in judged if not holds(each)]
    crashed = [f"{each['method']} ({each['first_crash']})" for each in new if each["crashes"]]
    more = (f"; FAILS: {', '.join(failed)}" if failed else "") + (f"; CRASHED: {'; '.join(crashed)}" if crashed else "")
    words = MECHANISMS[cell.mechanism].words
    print(f"{words}, {cell.canaries:,} canaries, δ = {cell.delta:g}: {said}{more}", flush=True)


def _heading(found: dict[str, Any]) -> str:
    facts, tools = found["machine"], ("vestige", "numpy")
    versions = ", ".join(f"{name} {facts[name]}" for name in tools)
    return (
        f"Made by `python benchmarks/interval_coverage.py --audits {found['audits']} --docs`, seed {found['seed']}, "
        f"in {found['seconds'] / 60:.0f} minutes on {facts['cores']} cores ({facts['cpu']}; {versions}).\n\n"
    )


def _key(each: dict[str, Any]) -> tuple[Any, ...]:
    return each["tool"], each["method"], each["mechanism"], each["canaries"], each["delta"]


def _place(cell: Cell) -> tuple[str, int, float]:
    return cell.mechanism, cell.canaries, cell.delta


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _names(text: str) -> list[str]:
    names = _words(text)
    if unknown := set(names) - set(MECHANISMS):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(MECHANISMS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
