"""What `vestige tradeoff` does: run the trade-off, write its folder, print the table and what to use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vestige.commands import fetching, folder_of
from vestige.config_files import load_config
from vestige.console import watching
from vestige.endings import INTERRUPTED, say, unread
from vestige.errors import UsageError
from vestige.tradeoff.results import TradeoffLog
from vestige.tradeoff.run import run


def run_tradeoff(
    source: str,
    *,
    out: Path | None,
    overrides: Sequence[str],
    leak_at_most: float | None,
    lose_at_most: float | None,
    json: bool,
    quiet: bool,
) -> int:
    """Run every candidate of a config's [tradeoff], write the folder, print the table; return the exit code."""
    if leak_at_most is not None and not 0 < leak_at_most <= 1:
        raise UsageError(f"Expected --leak-at-most to be a share above 0 and at most 1, got {leak_at_most:g}.")
    if lose_at_most is not None and not 0 <= lose_at_most <= 100:
        raise UsageError(f"Expected --lose-at-most to be 0 to 100 points of accuracy, got {lose_at_most:g}.")
    config = load_config(source, overrides=overrides)
    folder = folder_of(out or Path("audits") / config.name)
    with watching(quiet=quiet) as progress:
        log = run(
            config,
            out=folder,
            leak_at_most=leak_at_most,
            lose_at_most=lose_at_most,
            progress=progress,
            fetching=fetching(progress),
        )
    log.report(folder / "tradeoff.html")
    with unread():
        if json:
            sys.stdout.write(log.to_json() + "\n")
        if not quiet:
            show(log, stderr=json)
            sys.stderr.write(f"Page: {folder / 'tradeoff.html'}\n")
        sys.stdout.flush()
    if words := trouble(log):
        say(words)
    return log.exit_code


def show(log: TradeoffLog, *, stderr: bool = False) -> None:
    """Print a trade-off's table and recommendations."""
    from rich.console import Console

    from vestige.report.tradeoff_text import print_tradeoff

    print_tradeoff(log, Console(stderr=stderr))


def trouble(log: TradeoffLog) -> str:
    """Return why a trade-off's exit code is not 0, in one sentence, or an empty string."""
    if log.status == "interrupted":
        return INTERRUPTED
    failed = [point for point in log.points if point.status in ("failed", "partial")]
    if failed:
        lost = [f"{r.attack}: {r.reason}" for point in failed for r in point.results if r.status == "failed"]
        why = failed[0].reason or (lost[0] if lost else "no attack ran")
        whole = len(log.points)
        return f"{len(failed)} of {whole} candidates failed in part or whole; {failed[0].id}: {why}".rstrip(".") + "."
    if log.status == "partial":
        return f"No candidate of the trade-off can run: {log.points[0].reason}"
    doubted = [point for point in log.points if point.doubts]
    if doubted:
        first = doubted[0]
        return f"{len(doubted)} of {len(log.points)} audits are not to be trusted; {first.id}: {first.doubts[0]}."
    return ""
