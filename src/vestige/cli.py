"""The `vestige` command: verbs and their options, no logic. The artefact goes to stdout or a file, talk to stderr."""

from __future__ import annotations

import gc
import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vestige.endings import exit_code_of


class Verbs(TyperGroup):
    """The verbs; what one raises becomes a sentence and an exit code before Typer makes something of its own of it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was named."""
        raise typer.Exit(exit_code_of(lambda: super(Verbs, self).invoke(ctx)))


app = typer.Typer(
    name="vestige",
    cls=Verbs,
    help="Measure what a trained model gives away about the records it was trained on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "VESTIGE", "help_option_names": ["-h", "--help"]},
)

Source = Annotated[str, typer.Argument(help="A config file (.toml, .yaml, pyproject.toml) or the name of an example.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the config; repeatable.")
]
LogFile = Annotated[Path, typer.Argument(help="An audit.json, or the folder that holds one.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write here instead of to stdout.")]


class Listing(StrEnum):
    """What `vestige list` can list."""

    attacks = "attacks"
    signals = "signals"
    defences = "defences"
    targets = "targets"
    datasets = "datasets"
    examples = "examples"
    executors = "executors"
    formats = "formats"


class Schema(StrEnum):
    """What `vestige schema` can print."""

    config = "config"
    log = "log"
    compliance = "compliance"


@app.command()
def audit(
    source: Source,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the log, report and tables (audits/NAME).")
    ] = None,
    set_: Set = None,
    access: Annotated[
        str | None, typer.Option(help="What the adversary sees: label, score or white_box ([audit] access).")
    ] = None,
    queries: Annotated[
        int | None, typer.Option(help="The most queries per record that an attack may make ([audit] budget).")
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Run every combination of the [grid] table, and draw one heat map.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the log to stdout.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", metavar="RULE", help='A gate rule such as "tpr@0.01>0.05"; repeatable.'),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Fail where this audit is worse than that log, beyond noise.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Load model files that can execute code.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Run an audit: train shadow models, attack, and write a log and a report."""
    if grid:
        from vestige.grid_commands import run_grid as run_audit
    else:
        from vestige.commands import run_audit

    raise typer.Exit(
        run_audit(
            source,
            out=out,
            overrides=[
                *(set_ or []),
                *([] if access is None else [f"audit.access={access}"]),
                *([] if queries is None else [f"audit.budget={queries}"]),
            ],
            json=json,
            fail_on=fail_on or [],
            baseline=baseline,
            trust=trust,
            quiet=quiet,
        )
    )


@app.command()
def plan(
    source: Source,
    set_: Set = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Load model files that can execute code.")] = False,
) -> None:
    """Say what an audit would train and query, about how long it would take, and what it would keep on disk."""
    from vestige.commands import show_plan

    show_plan(source, overrides=set_ or [], json=json, trust=trust)


@app.command()
def tradeoff(
    source: Source,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the log, the page and every audit (audits/NAME).")
    ] = None,
    set_: Set = None,
    leak_at_most: Annotated[
        float | None,
        typer.Option("--leak-at-most", help="Recommend the most accurate that leaks at most this TPR, such as 0.05."),
    ] = None,
    lose_at_most: Annotated[
        float | None,
        typer.Option("--lose-at-most", help="Recommend what leaks least and loses at most so many points of accuracy."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the log to stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Compare defences: utility against leakage, each attacked by an adversary who adapts, and say what to use."""
    from vestige.tradeoff_commands import run_tradeoff

    raise typer.Exit(
        run_tradeoff(
            source,
            out=out,
            overrides=set_ or [],
            leak_at_most=leak_at_most,
            lose_at_most=lose_at_most,
            json=json,
            quiet=quiet,
        )
    )


@app.command()
def canary(
    source: Source,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the log and report (audits/NAME).")] = None,
    set_: Set = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what it would train and could show; train nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the log, or the plan, to stdout as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Insert canaries by coin flips, train, and bound epsilon from how well the coins can be guessed."""
    from vestige.canary_commands import run_canaries

    raise typer.Exit(run_canaries(source, out=out, overrides=set_ or [], json=json, only_plan=plan, quiet=quiet))


@app.command()
def show(log: LogFile) -> None:
    """Print the summary of an audit."""
    from vestige.commands import show_log

    show_log(log)


@app.command()
def report(
    log: LogFile,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="html, json, md, sarif, junit, csv, text, compliance(-md), or a plug-in's."
        ),
    ] = "html",
    output: Output = None,
) -> None:
    """Render an audit's log as HTML, JSON, Markdown, SARIF, JUnit or CSV."""
    from vestige.commands import write_report

    write_report(log, format, output)


@app.command()
def compare(
    old: LogFile,
    new: LogFile,
    output: Output = None,
) -> None:
    """Compare two audits: what changed beyond noise."""
    from vestige.commands import compare_logs

    compare_logs(old, new, output)


@app.command()
def gate(
    log: LogFile,
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", metavar="RULE", help="Judge these rules instead of the config's.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Also fail where the audit is worse than this log, beyond noise.")
    ] = None,
) -> None:
    """Judge an audit by its gate; the exit code says the outcome."""
    from vestige.commands import judge_log

    raise typer.Exit(judge_log(log, fail_on or [], baseline))


@app.command("list")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    json: Annotated[bool, typer.Option("--json", help="Print as JSON, with every fact.")] = False,
) -> None:
    """List what can be named in a config."""
    from vestige.listing import show_listing

    show_listing(what.value, json=json)


@app.command()
def schema(what: Annotated[Schema, typer.Argument(help="Which schema.")]) -> None:
    """Print the JSON Schema of the config, of the log or of the compliance record."""
    from vestige.commands import show_schema

    show_schema(what.value)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write the config.")] = Path("audit.toml"),
    example: Annotated[str, typer.Option(help="Which example to start from.")] = "digits",
) -> None:
    """Write a config to start from."""
    from vestige.commands import write_example

    write_example(path, example)


@app.command()
def doctor() -> None:
    """Say what is installed, where data and the store are, and what is missing."""
    from vestige.doctor import show_health

    raise typer.Exit(show_health())


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"vestige {version('vestige')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Measure what a trained model gives away about the records it was trained on."""


def main() -> None:
    """Run the command line: expected failures end in one sentence and their exit code, bugs in a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a sign gets a question mark; what goes to a file or pipe is UTF-8 everywhere.
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
    # What is imported stays; by default every 700 new objects of it are a reason to look for garbage.
    gc.set_threshold(50_000, 20, 50)
    try:
        app(prog_name="vestige")
    finally:
        # Nor is it worth looking through all of it once more when the process ends.
        gc.freeze()
        gc.disable()
