"""What `vestige canary` does: load, say what the audit could show, run it, write its folder."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vestige.auditing.claims import declared
from vestige.auditing.defending import claimed, set_aside
from vestige.auditing.inputs import load_records, make_recipe
from vestige.auditing.judging import judgeable, rules_of
from vestige.canary.bounds import methods_of
from vestige.canary.coins import flip
from vestige.canary.defended import bed, fewest
from vestige.canary.design import Design
from vestige.canary.forecast import CanaryPlan
from vestige.canary.run import CanaryAudit
from vestige.canary.training import Labour
from vestige.commands import fetching, folder_of, judged_besides, keeps_results, write_folder
from vestige.config import AuditConfig
from vestige.config_files import load_config
from vestige.console import watching
from vestige.defend import layers_of
from vestige.defend.layers import Layers
from vestige.endings import INTERRUPTED, complaint, say, unread
from vestige.errors import ConfigError
from vestige.progress import Progress, Silence
from vestige.records import Records
from vestige.report.wording import count
from vestige.split import draw
from vestige.store import Store
from vestige.target import Access, Recipe


def from_config(config: AuditConfig, progress: Progress | None = None) -> CanaryAudit:
    """Load the data and the recipe that a config names, and settle the design; trains nothing."""
    if config.target is not None:
        raise ConfigError(
            "A canary audit trains its own models, and this config has a [target] that is already trained.",
            hint="Remove [target], or run `vestige audit`.",
        )
    layers = layers_of([{"kind": one.kind, **one.options} for one in config.defences])
    if layers and config.shadow.defences == "unknown":
        raise ConfigError(
            "A canary audit trains every model under the defences, and [shadow] defences = 'unknown' says otherwise.",
            hint="Leave it at 'known': a claim is made of defended models.",
        )
    records, _ = load_records(config.data, seed=config.seed, fetching=fetching(progress or Silence()))
    recipe, (records, reserve) = make_recipe(config.recipe), _divided(records, layers, config)
    config = _claiming(config, layers, recipe, records)
    return CanaryAudit(
        recipe=recipe,
        records=records,
        design=design_of(config, layers),
        defences=layers,
        reserve=reserve,
        labour=Labour(
            store=Store.default(config.store),
            executor=config.shadow.executor,
            workers=config.shadow.workers,
            keep_models=config.shadow.keep_models,
        ),
        name=config.name,
        source=config.data.source,
        fpr=tuple(config.audit.fpr),
        config=config.model_dump(mode="json"),
    )


def _divided(records: Records, layers: Layers, config: AuditConfig) -> tuple[Records, Records | None]:
    """Return the records, and those of them taken away for the defender, as many as in any other audit."""
    if not layers.reserve:
        return records, None
    split = draw(len(records), shadows=0, seed=config.seed, groups=records.groups, population=config.data.population)
    _, own = set_aside(split, layers)
    return records.take(np.setdiff1d(np.arange(len(records)), own)), records.take(own)


def _claiming(config: AuditConfig, layers: Layers, recipe: Recipe, records: Records) -> AuditConfig:
    """Return the config with what its defences prove of the smallest of the trainings."""
    asked = config
    # Twice: a claim on exchanged records needs stand-ins for the canaries, which changes who is trained on.
    for _ in range(2 if layers else 0):
        design = design_of(config, layers)
        members = len(records) if design.planted else fewest(bed(records, None, design), flip(design))
        config = claimed(asked, layers.facing(design.sees), recipe, members)
    return config


def design_of(config: AuditConfig, layers: Layers) -> Design:
    """Return the design of a config's [canary] and [claim] tables, before models with these defences."""
    told, score = config.canary, config.canary.score
    past = config.audit.access == "white_box" and bool(layers.answers)
    by_steps = "gradient" in (told.kind, score)
    if layers.shows(Access.SCORE) < Access.SCORE and not past and not by_steps:
        if "score" in told.model_fields_set and score != "correct":
            raise ConfigError(
                f"[canary] score = '{score}' needs scores, and the defences leave labels to be answered.",
                hint="Set score = 'correct', or leave it out.",
            )
        score = "correct"
    return Design(
        kind=told.kind,
        count=told.count,
        runs=told.runs,
        copies=told.copies,
        access=Access.WHITE_BOX if past else None,
        score="gradient" if told.kind == "gradient" else score,
        references=told.references,
        claim=None if config.claim is None else declared(config.claim),
        delta=told.delta,
        confidence=told.confidence,
        methods=tuple(told.methods),
        seed=config.seed,
    )


def run_canaries(
    source: str, *, out: Path | None, overrides: Sequence[str], json: bool, only_plan: bool, quiet: bool
) -> int:
    """Run a canary audit, write its folder, print the summary; return the exit code."""
    config = load_config(source, overrides=overrides)
    rules = rules_of(config)
    judgeable(rules, ["canary"], config)
    with watching(quiet=quiet or only_plan) as progress:
        audit = from_config(config, progress)
        if only_plan:
            return _show_plan(audit.plan(), json)
        folder = folder_of(out or Path("audits") / config.name)
        if not quiet:
            say(_sentence(audit))
        log = audit.run(progress)
    if log.status == "interrupted" and keeps_results(folder):
        say(f"{INTERRUPTED} The results in '{folder}' are those of an earlier run.")
        return log.exit_code
    if rules:
        log = judged_besides(log, rules)
    write_folder(log, folder)
    with unread():
        if json:
            sys.stdout.write(log.to_json() + "\n")
        if not quiet:
            from rich.console import Console

            from vestige.report.terminal import print_summary

            print_summary(log, Console(stderr=json))
            sys.stderr.write(f"Report: {folder / 'report.html'}\n")
        sys.stdout.flush()
    if trouble := complaint(log):
        say(trouble)
    return log.exit_code


def _sentence(audit: CanaryAudit) -> str:
    design = audit.design
    said = f"{count(design.count, 'canary', 'canaries')} in {count(design.runs, 'training')}: {audit.power.message}."
    return f"{said} The bound that counts is {methods_of(design)[0]}, at {100 * design.confidence:g} % confidence."


def _show_plan(plan: CanaryPlan, json: bool) -> int:
    if json:
        sys.stdout.write(json_module.dumps({**asdict(plan), "power": plan.power.model_dump()}, indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, title=f"Plan for {plan.name}", title_justify="left")
    table.add_row(
        "canaries", f"{plan.canaries:,} {escape(plan.kind.replace('_', ' '))} in each of {plan.runs:,} run(s)"
    )
    table.add_row("models", f"{plan.models:,} of about {plan.rows:,} records each, {plan.references:,} as references")
    table.add_row("to train", f"{plan.trainings:,} ({plan.reused:,} already in the store)")
    table.add_row("methods", escape(", ".join(plan.methods)) + "; the first is quoted")
    table.add_row("power", escape(plan.power.message))
    reach = ", ".join(f"{one.shown:.2f} of {one.epsilon:g}" for one in plan.power.reach)
    table.add_row("typically", f"shows {reach}")
    Console().print(table)
    return 0
