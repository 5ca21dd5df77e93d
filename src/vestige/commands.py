"""What each verb does: load, call the library, write. Kept apart from cli.py so that `--help` imports none of it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vestige.config_files import examples, find_example, load_config
from vestige.console import watching
from vestige.endings import INTERRUPTED, complaint, say, unread
from vestige.errors import StoreError, UsageError, VestigeError
from vestige.log import AuditLog, Finding
from vestige.log_parts import CLAIM_RULE

if TYPE_CHECKING:
    from rich.console import Console

    from vestige.auditing.plan import Plan
    from vestige.config import AuditConfig
    from vestige.gate import Rule
    from vestige.grid.results import GridLog
    from vestige.progress import Progress
    from vestige.tradeoff.results import TradeoffLog


def run_audit(
    source: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    json: bool,
    fail_on: Sequence[str],
    baseline: Path | None,
    trust: bool,
    quiet: bool,
) -> int:
    """Run an audit, write its folder, print the summary; return the exit code."""
    config = _config(source, overrides, trust)
    before = None if baseline is None else AuditLog.load(baseline)
    folder = folder_of(out or Path("audits") / config.name)
    from vestige.auditing.judging import judgeable, judged, rules_of
    from vestige.auditing.run import Audit

    rules = rules_of(config, fail_on)
    with watching(quiet=quiet) as progress:
        audit = Audit.from_config(config, fetching=fetching(progress))
        judgeable(rules, [label for label, _ in audit.attacks], config)
        log = audit.run(progress, meanwhile=_load_the_rest)
    if log.status == "interrupted" and keeps_results(folder):
        say(f"{INTERRUPTED} The results in '{folder}' are those of an earlier run.")
        return log.exit_code
    log = judged(log, rules, before)
    write_folder(log, folder)
    with unread():
        if json:
            sys.stdout.write(log.to_json() + "\n")
        if not quiet:
            from vestige.report.terminal import print_summary

            print_summary(log, _talk(json))
            sys.stderr.write(f"Report: {folder / 'report.html'}\n")
        sys.stdout.flush()
    if trouble := complaint(log):
        say(trouble)
    return log.exit_code


def _load_the_rest() -> None:
    """Load what judging and the report need; during training, which leaves this thread nothing else to do."""
    import scipy.linalg
    import scipy.optimize  # noqa: F401

    import vestige.report.html  # noqa: F401


def keeps_results(folder: Path) -> bool:
    """Return whether the folder holds an audit that was not interrupted."""
    try:
        return AuditLog.load(folder).status != "interrupted"
    except VestigeError:
        return False


def write_folder(log: AuditLog, folder: Path) -> None:
    """Write the log, the report, the compliance record and the table of records into a folder."""
    from vestige.store import write_atomically

    log.save(folder / "audit.json")
    log.report(folder / "report.html")
    log.report(folder / "compliance.json", format="compliance")
    records = log.records_csv()
    if records:
        write_atomically(folder / "records.csv", records.encode())
    else:
        # Whatever is there belongs to another run.
        (folder / "records.csv").unlink(missing_ok=True)


def show_plan(source: str, *, overrides: Sequence[str], json: bool, trust: bool = False) -> None:
    """Print what an audit would take."""
    from vestige.auditing.run import Audit

    with watching() as progress:
        plan = Audit.from_config(_config(source, overrides, trust), fetching=fetching(progress)).plan()
    if json:
        sys.stdout.write(json_module.dumps(asdict(plan), indent=2) + "\n")
        return
    _print_plan(plan)


def _print_plan(plan: Plan) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, title=f"Plan for {plan.name}", title_justify="left")
    table.add_row("attacks", escape(", ".join(plan.attacks)))
    table.add_row("records", f"{plan.records:,} audited, {plan.held_out:,} held out from every model")
    table.add_row("models", f"{plan.models} of about {plan.rows_per_model:,} records each")
    table.add_row("to train", f"{plan.trainings} ({plan.reused} already in the store)")
    table.add_row("queries", f"{plan.target_queries:,} to the target, {plan.shadow_queries:,} to shadow models")
    table.add_row("time", f"about {_duration(plan.seconds)} ({plan.seconds_per_model:.2f} s per model)")
    table.add_row("disk", f"about {plan.disk_mb:,.1f} MB in the store")
    Console().print(table)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def grid_at(path: Path) -> GridLog | None:
    """Return the grid that a file or folder holds, or None when it is something else."""
    from vestige.grid.results import FILE, GridLog

    file = path if not path.is_dir() or (path / "audit.json").exists() else path / FILE
    return GridLog.load(file) if file.name == FILE and file.exists() else None


def tradeoff_at(path: Path) -> TradeoffLog | None:
    """Return the trade-off that a file or folder holds, or None when it is something else."""
    from vestige.tradeoff.results import FILE, TradeoffLog

    file = path if not path.is_dir() or (path / "audit.json").exists() else path / FILE
    return TradeoffLog.load(file) if file.name == FILE and file.exists() else None


def show_log(path: Path) -> None:
    """Print a log's summary, or the table of a grid or trade-off, to stdout."""
    from rich.console import Console

    if (tradeoff := tradeoff_at(path)) is not None:
        from vestige.report.tradeoff_text import print_tradeoff

        print_tradeoff(tradeoff, Console())
        return
    if (grid := grid_at(path)) is not None:
        from vestige.report.grid_text import print_grid

        print_grid(grid, Console())
        return
    from vestige.report.terminal import print_summary

    print_summary(AuditLog.load(path), Console())


def write_report(path: Path, format: str, output: Path | None) -> None:
    """Render a log, a grid or a trade-off in one format."""
    log = grid_at(path) or tradeoff_at(path) or AuditLog.load(path)
    if not isinstance(log, AuditLog) and format.startswith("compliance"):
        _refuse_compliance(log, path if path.is_dir() else path.parent, format)
    if output is not None:
        log.report(output, format=format)
        return
    sys.stdout.write(log.render(format))


def _refuse_compliance(log: GridLog | TradeoffLog, folder: Path, format: str) -> NoReturn:
    """Raise UsageError: such a record is drawn from one audit's log, and here are several, one of them named."""
    from vestige.grid.results import GridLog

    parts = log.cells if isinstance(log, GridLog) else log.points
    ran = [part.log for part in parts if part.log]
    hint = f"Render one of them: vestige report {folder / ran[0]} -f {format}." if ran else "Run it with --out DIR."
    raise UsageError(
        f"A compliance record is about one model, and this is a {log.format.removeprefix('vestige.')} of "
        f"{len(ran):,} audits, each with a log of its own.",
        hint=hint,
    )


def compare_logs(old: Path, new: Path, output: Path | None) -> None:
    """Write what changed between two audits."""
    from vestige.record_table import beside
    from vestige.report.compare import render_comparison
    from vestige.store import write_atomically

    text = render_comparison(*(AuditLog.load(path).with_records(beside(path)) for path in (old, new)))
    if output is None:
        sys.stdout.write(text + "\n")
    else:
        write_atomically(output, text.encode())


def judge_log(path: Path, fail_on: Sequence[str], baseline: Path | None) -> int:
    """Judge a finished audit and print each finding; return the exit code."""
    from vestige.auditing.judging import rules_of
    from vestige.config import AuditConfig

    log = AuditLog.load(path)
    config = load_config(log.config, environ={})
    rules = rules_of(config if not fail_on else AuditConfig(), fail_on)
    if not rules and baseline is None and not claims_of(log):
        raise UsageError(
            "There is no rule to judge by.", hint='Give one, for example --fail-on "tpr@0.01>0.05", or a [gate] table.'
        )
    log = judged_besides(log, rules, None if baseline is None else AuditLog.load(baseline))
    for finding in log.findings:
        sys.stdout.write(f"{'pass' if finding.passed else 'FAIL'}  {finding.message}\n")
    if trouble := complaint(log):
        say(trouble)
    return log.exit_code


def claims_of(log: AuditLog) -> list[Finding]:
    """Return what a canary audit itself found of its claim."""
    return [finding for finding in log.findings if finding.id == CLAIM_RULE]


def judged_besides(log: AuditLog, rules: Sequence[Rule], before: AuditLog | None = None) -> AuditLog:
    """Return the log judged by the rules, with what it says of its claim kept in front."""
    from vestige.auditing.judging import judged

    found = judged(log, rules, before)
    both = [*claims_of(log), *found.findings]
    return found.model_copy(update={"findings": both}).with_records(found.record_table)


def show_schema(what: str) -> None:
    """Print a JSON Schema."""
    from vestige.config_files import config_schema

    if what == "compliance":
        from vestige.report.compliance.schema import ComplianceRecord

        schema = ComplianceRecord.model_json_schema()
    else:
        schema = config_schema() if what == "config" else AuditLog.model_json_schema()
    sys.stdout.write(json_module.dumps(schema, indent=2) + "\n")


def write_example(path: Path, example: str) -> None:
    """Copy an example's config to ``path``; never overwrite."""
    source = find_example(example)
    if source is None:
        raise UsageError(f"There is no example called '{example}'.", hint=f"There are: {', '.join(examples())}.")
    if path.exists():
        raise UsageError(f"'{path}' already exists.", hint="Name another file; nothing was overwritten.")
    try:
        path.write_text(source.read_text("utf-8"), "utf-8")
    except OSError as error:
        raise StoreError(
            f"Could not write '{path}': {error.strerror or error}.",
            hint="Choose a folder that exists and can be written to.",
        ) from error
    sys.stderr.write(f"Wrote {path}. Next: vestige plan {path}, then vestige audit {path}\n")


def _config(source: str, overrides: Sequence[str], trust: bool) -> AuditConfig:
    config = load_config(source, overrides=overrides)
    if not trust:
        return config
    if config.target is None:
        raise UsageError("--trust lets a model file execute code, and this config has no [target] that names one.")
    return config.model_copy(update={"target": config.target.model_copy(update={"trust": True})})


def folder_of(path: Path) -> Path:
    """Return a folder that exists and can be written to, made where it did not; raises StoreError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"Could not write into '{path}': {error.strerror or error}.", hint="Choose another folder with --out."
        ) from error
    return path


def fetching(progress: Progress) -> Callable[[str, int, int], None]:
    """Return what a download reports its bytes to, shown as the stage ``data``."""
    state = {"total": -1, "done": 0}

    def told(name: str, done: int, total: int) -> None:
        if state["total"] != total or done < state["done"]:
            progress.begin("data", total)
            state.update(total=total, done=0)
        progress.advance("data", done - state["done"], note=name)
        state["done"] = done
        if done >= total:
            progress.end("data")

    return told


def _talk(json: bool) -> Console:
    from rich.console import Console

    return Console(stderr=json)
