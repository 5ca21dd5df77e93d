"""Every attack on the same models: what labels, scores, weights and the training show, and in what order they stand.

    python benchmarks/every_attack.py --json every.json --docs
    python benchmarks/every_attack.py --datasets location30 --seeds 0 --quick

One pool of models for each dataset and seed, of which several take the target's place in turn. Attacks that need scores
or weights judge all records; those that ask many questions for a record judge some of them, drawn before anything is
trained, and every comparison across accesses is made on those. Nothing is chosen by the figures: attacks run with their
defaults (``full`` in each battery), at the sizes below. What was trained stays in the store; with ``--keep`` each
attack's scores stay too, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import machine
from every_kept import keep, kept, spent
from every_pages import page
from every_verdicts import Target, identities, orderings, small_data
from pools import ask, models_of
from tasks import config_of
from vestige.attacks import ATTACKS, BATTERIES, LABEL_ONLY, WHITE_BOX, resolve
from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.probes import places
from vestige.auditing.protocol import lacking, run, stand_ins
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.errors import VestigeError
from vestige.probing import probe_keys, probe_pool
from vestige.seeds import rng
from vestige.shadow import Demand, gather
from vestige.signals import create
from vestige.signals.base import SignalTable
from vestige.split import Split
from vestige.store import Store
from vestige.target import Access, IntArray

DATASETS = ("location30", "retail600", "fashion_mnist", "cifar10_20k")
USUAL = DATASETS[:3]
SIZES: dict[str, dict[str, Any]] = {
    "location30": {"shadow.count": 16},
    "retail600": {"shadow.count": 16, "data.limit": 5_000},
    "fashion_mnist": {"shadow.count": 16, "data.limit": 5_000},
    "cifar10_20k": {"shadow.count": 8, "data.limit": 5_000, "data.source": "cifar10_20k"},
}
LIKE = {"cifar10_20k": "fashion_mnist"}  # records of its own, the recipe of another
PROCESS = ("trajectory", "seqmia")
ELSEWHERE = {"timing": "benchmarks of its own", "model_update": "pairs of models", "ensemble": "other attacks' scores"}
QUICK = {"shadow.count": 8, "recipe.epochs": 5}
DOCS = Path(__file__).resolve().parents[1] / "docs" / "tables" / "attacks_every.md"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The models of one dataset and seed. ``some``: places, among the audited records, of those that are asked much."""

    audit: Audit
    field: Field
    some: IntArray
    seconds: dict[str, float]
    columns: dict[str, list[Any]]  # what labels say of some of the records

    @property
    def models(self) -> list[int]:
        """The models that are probed: the target first."""
        reported = self.audit.config.audit.targets - 1
        return places(stand_ins(self.field, max(reported, 3)), reported)


def kinds() -> dict[str, list[tuple[str, Attack]]]:
    """Return every attack by what the adversary has: scores, weights, labels, and the course of a training."""
    score = [pair for pair in resolve("full") if pair[1].access == Access.SCORE]
    white = [pair for pair in resolve(list(WHITE_BOX["full"]), access="white_box") if pair[0] not in PROCESS]
    label = resolve(list(LABEL_ONLY["full"]), access="label")
    process = resolve([*PROCESS, *({"name": name, "params": {"process": "snapshots"}} for name in PROCESS)])
    found = {"score": score, "white-box": white, "label-only": label, "process": process}
    named = {title.partition("[")[0] for pairs in found.values() for title, _ in pairs}
    missing = set(ATTACKS.names()) - named - set(ELSEWHERE)
    if missing or not set(BATTERIES) <= set(LABEL_ONLY):
        raise SystemExit(f"This command knows no place for {', '.join(sorted(missing))}.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="*", choices=DATASETS, default=list(USUAL))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--targets", type=int, default=3, help="models that take the target's place, per seed")
    parser.add_argument("--some", type=int, default=600, help="records that label-only attacks judge")
    parser.add_argument("--small-seeds", nargs="+", type=int, default=list(range(8)), help="of the small-data task")
    parser.add_argument("--executor", choices=("inline", "processes"), default="processes")
    parser.add_argument("--workers", type=int, default=machine.cores())
    parser.add_argument("--store", type=Path, help="folder of the store (VESTIGE_STORE, or the user's cache)")
    parser.add_argument("--keep", type=Path, help="folder for each attack's scores, to go on from when it is stopped")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--add", type=Path, nargs="+", default=[], help="JSON of earlier sittings, which join")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name} for the documentation")
    parser.add_argument("--quick", action="store_true", help=f"small, to see that it works: {QUICK}")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(machine.describe(args.workers))
    started = time.perf_counter()
    found: dict[str, Any] = {
        "machine": machine.facts(args.workers), "seeds": args.seeds, "targets": args.targets, "some": args.some,
        "quick": args.quick, "datasets": {}, "elsewhere": ELSEWHERE,
    }  # fmt: skip
    for path in args.add:
        found["datasets"] |= json.loads(path.read_text(encoding="utf-8"))["datasets"]
    for dataset in args.datasets:
        found["datasets"][dataset] = judge(dataset, args)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    found["small"] = small_data(args.small_seeds, Store.default(str(args.store) if args.store else None))
    found["seconds"] = round(time.perf_counter() - started, 1)
    text = page(found)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if args.docs:
        DOCS.write_text(text, encoding="utf-8")


def judge(dataset: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run every attack on one dataset, and return its figures and orderings."""
    attacks, targets, facts = kinds(), [], []
    for seed in args.seeds:
        start, before = time.perf_counter(), spent(args.keep, dataset, seed)
        pool = pool_of(dataset, seed, attacks, args)
        took = {"training": max(before["training"], pool.seconds["training"])}
        for kind, title, attack in [(kind, *pair) for kind, pairs in attacks.items() for pair in pairs]:
            found = kept(args.keep, dataset, seed, title)
            if found is None:
                measured = asked(pool, attack) if kind == "label-only" else probed(pool, attack)
                found = scored(pool, measured, kind, title, attack, seed, args)
                keep(args.keep, dataset, seed, found)
                took["seconds"] = before["seconds"] + time.perf_counter() - start
                spent(args.keep, dataset, seed, took)
            targets += found
            print(f"{dataset}, seed {seed}: {kind} {title} {found[-1].shown}", file=sys.stderr, flush=True)
        facts.append(told(pool, seed, before | took))
        facts[-1]["identity"] = identities(pool.audit, pool.field)
    return {"facts": facts, **orderings(targets)}


def pool_of(dataset: str, seed: int, attacks: dict[str, list[tuple[str, Attack]]], args: argparse.Namespace) -> Pool:
    """Train the models, measure what is measured on all of them, and time each signal that needs the weights."""
    changes: dict[str, Any] = {"seed": seed, "audit.targets": args.targets, "audit.access": "white_box"}
    changes |= {"audit.attacks": ["loss"], "shadow.executor": args.executor, "shadow.workers": args.workers}
    changes |= {"store": str(args.store) if args.store else None, **SIZES[dataset], **(QUICK if args.quick else {})}
    config = config_of(LIKE.get(dataset, dataset), changes)
    audit = Audit.from_config(AuditConfig.model_validate(config))
    split, records = audit.split(), audit.inputs.records
    keys = list(dict.fromkeys(k for kind in ("score", "white-box") for _, a in attacks[kind] for k in a.needs.signals))
    keys = [key for key in keys if key not in probe_keys(keys)]
    cheap = [key for key in keys if create(key).access <= Access.SCORE]
    rows = np.concatenate([split.audited, split.population])
    some = np.sort(rng(seed, "every-attack").permutation(len(split.audited))[: args.some])
    seconds: dict[str, float] = {}
    known: tuple[str, ...] = tuple(cheap)
    for step in [None, *(key for key in keys if key not in cheap)]:
        known = known if step is None else (*known, step)
        start = time.perf_counter()
        demand = Demand(keys=known, rows=rows, seed=seed)
        table = gather(
            split, audit.target_recipe(), records, demand, audit.store, executor=args.executor, workers=args.workers
        ).signals
        seconds[step or "training"] = time.perf_counter() - start
    field = Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=seed)
    return Pool(audit=audit, field=field, some=some, seconds=seconds, columns={})


def probed(pool: Pool, attack: Attack) -> Field:
    """Return the field with the probes that the attack reads, of all records."""
    table, shadow = pool.field.table, pool.audit.config.shadow
    for key in probe_keys(attack.needs.signals):
        start = time.perf_counter()
        table = probe_pool(
            table, [key], pool.models, pool.field.split, pool.audit.target_recipe(), pool.field.records,
            pool.audit.store, seed=pool.field.seed, executor=shadow.executor, workers=shadow.workers,
        )  # fmt: skip
        pool.seconds.setdefault(key, time.perf_counter() - start)  # the first time it was not read from the store
    return replace(pool.field, table=table)


def asked(pool: Pool, attack: Attack) -> Field:
    """Return a field of some of the records, with what labels say of them."""
    field, audit = pool.field, pool.audit
    split = field.split
    rows = split.audited[pool.some]
    few = Split(split.masks, split.blocks, rows, split.population[:0], split.seed, split.design)
    models = models_of(audit, split)
    for key in [key for key in attack.needs.signals if key not in pool.columns]:
        column: list[Any] = [None] * (1 + split.shadows)
        start = time.perf_counter()
        for model in pool.models:
            column[model] = ask(key, models, model, audit, split, rows)
        pool.columns[key] = column
        pool.seconds[key] = time.perf_counter() - start
    table = SignalTable(pool.columns, len(rows), 1 + split.shadows)
    return replace(field, split=few, table=table, access=Access.LABEL)


def scored(
    pool: Pool, field: Field, kind: str, title: str, attack: Attack, seed: int, args: argparse.Namespace
) -> list[Target]:
    """Return an attack's scores of every model that takes the target's place, or why it did not run."""
    field = replace(field, access=max(field.access, attack.access))
    reason = lacking(field, attack)
    models = pool.models[1 : args.targets]
    seconds = sum(pool.seconds.get(key, 0.0) for key in attack.needs.signals)
    if not reason:
        try:
            found = run(field, attack, models, reported=len(models))
        except VestigeError as error:
            reason = str(error)
    if reason:
        return [Target(kind=kind, title=title, name=title.partition("[")[0], seed=seed, reason=reason)]
    all_scores = [found.target, *found.stand_ins]
    truths = [field.membership(model) for model in (0, *found.models)]
    own = np.arange(len(pool.some)) if kind == "label-only" else pool.some
    return [
        Target(
            kind=kind, title=title, name=title.partition("[")[0], seed=seed, model=model, scores=scores, truth=truth,
            some=own, queries=asked_for(attack, found.queries, pool), seconds=seconds + found.seconds,
        )
        for model, scores, truth in zip((0, *found.models), all_scores, truths, strict=True)
    ]  # fmt: skip


def asked_for(attack: Attack, counted: int | None, pool: Pool) -> str:
    """Return how many questions a record takes: what the attack counts, or one; and those about other records."""
    held_out = f" + {len(pool.field.split.population):,} in all" if "extraction" in attack.needs.signals else ""
    return f"{counted or 1:,}{held_out}"


def told(pool: Pool, seed: int, took: dict[str, float]) -> dict[str, Any]:
    """Return what describes one seed's pool."""
    table, split = pool.field.table, pool.field.split
    right = np.stack([table.model("correct", m)[: len(split.audited), 0] for m in range(1 + split.shadows)]) > 0
    inside = split.masks[:, split.audited]
    return {
        "seed": seed, "records": len(split.audited), "held_out": len(split.population), "some": len(pool.some),
        "shadows": split.shadows, "recipe": pool.audit.config.recipe.model_dump(mode="json"),
        "train_accuracy": float(right[inside].mean()), "test_accuracy": float(right[~inside].mean()),
        "seconds": round(took["seconds"], 1), "training": round(took["training"], 1),
    }  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except VestigeError as error:
        sys.exit(str(error))
