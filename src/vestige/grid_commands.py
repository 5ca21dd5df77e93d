"""What `vestige audit --grid` does: run the grid, write its folder, print the table; and show a grid that was run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vestige.auditing.judging import rules_of
from vestige.commands import fetching, folder_of
from vestige.config_files import load_config
from vestige.console import watching
from vestige.endings import INTERRUPTED, say, unread
from vestige.errors import UsageError
from vestige.grid.results import GridLog
from vestige.grid.run import run

if TYPE_CHECKING:
    from vestige.config import AuditConfig


def run_grid(
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
    """Run every audit of a config's [grid], write the folder, print the table; return the exit code."""
    if baseline is not None:
        raise UsageError(
            "A grid is not compared with one audit: --baseline goes with a single audit.",
            hint="Run `vestige compare` on two cells' logs.",
        )
    config = _config(source, overrides, trust)
    folder = folder_of(out or Path("audits") / config.name)
    with watching(quiet=quiet) as progress:
        grid = run(config, out=folder, rules=rules_of(config, fail_on), progress=progress, fetching=fetching(progress))
    grid.report(folder / "grid.html")
    with unread():
        if json:
            sys.stdout.write(grid.to_json() + "\n")
        if not quiet:
            show(grid, stderr=json)
            sys.stderr.write(f"Heat map: {folder / 'grid.html'}\n")
        sys.stdout.flush()
    if words := trouble(grid):
        say(words)
    return grid.exit_code


def show(grid: GridLog, *, stderr: bool = False) -> None:
    """Print a grid's table."""
    from rich.console import Console

    from vestige.report.grid_text import print_grid

    print_grid(grid, Console(stderr=stderr))


def trouble(grid: GridLog) -> str:
    """Return why a grid's exit code is not 0, in one sentence, or an empty string."""
    if grid.status == "interrupted":
        return INTERRUPTED
    whole = len(grid.cells)
    failed = [cell for cell in grid.cells if cell.status in ("failed", "partial")]
    if failed:
        lost = [f"{r.attack}: {r.reason}" for cell in failed for r in cell.results if r.status == "failed"]
        why = failed[0].reason or (lost[0] if lost else "no attack ran")
        return f"{len(failed)} of {whole} audits failed in part or whole; {failed[0].id}: {why}".rstrip(".") + "."
    if grid.status == "partial":
        return f"No audit of the grid can run: {grid.cells[0].reason}"
    doubted = [cell for cell in grid.cells if cell.doubts]
    if doubted:
        first = f"{doubted[0].id}: {doubted[0].doubts[0]}"
        return f"{len(doubted)} of {whole} audits are not to be trusted; {first}."
    broken = [cell for cell in grid.cells if cell.failed_rules]
    return (
        f"The gate failed in {len(broken)} of {whole} audits; {broken[0].id}: {broken[0].failed_rules[0]}."
        if broken
        else ""
    )


def _config(source: str, overrides: Sequence[str], trust: bool) -> AuditConfig:
    config = load_config(source, overrides=overrides)
    if not trust:
        return config
    if config.target is None:
        raise UsageError("--trust lets a model file execute code, and this config has no [target] that names one.")
    return config.model_copy(update={"target": config.target.model_copy(update={"trust": True})})
