"""Talk on stderr: live progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vestige.progress import Progress, Silence

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

NAMES = {
    "data": "Fetching data",
    "models": "Training and measuring models",
    "target": "Querying the target",
    "attacks": "Attacking",
    "cells": "Audits of the grid",
    "candidates": "Candidates of the trade-off",
    "trials": "Trying settings",
    "report": "Writing",
}
LINE_SECONDS = 5.0


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Progress]:
    """Give bars on a terminal, lines in a pipe, silence when asked; the terminal is handed back at the end."""
    if quiet:
        yield Silence()
    elif sys.stderr.isatty():
        bars = BarProgress()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield LineProgress()


@dataclass
class LineProgress:
    """One line when a stage starts, one every few seconds, one when it ends."""

    _state: dict[str, tuple[int, int, float, float]] = field(default_factory=dict)
    _kept: dict[str, int] = field(default_factory=dict)

    def begin(self, stage: str, total: int, *, reused: int = 0) -> None:
        """Say what starts and what the store already has."""
        now = time.perf_counter()
        self._state[stage] = (reused, total, now, now)
        self._kept[stage] = reused
        kept = f", {reused} of {total} from the store" if reused else f" ({total})" if total > 1 else ""
        sys.stderr.write(f"{NAMES.get(stage, stage)}{kept}\n")

    def advance(self, stage: str, done: int = 1, *, note: str = "") -> None:
        """Say how far it is, at most every few seconds."""
        have, total, started, spoke = self._state.get(stage, (0, 0, 0.0, 0.0))
        have, now = have + done, time.perf_counter()
        if now - spoke >= LINE_SECONDS:
            rate = (have - self._kept.get(stage, 0)) / max(now - started, 1e-9)
            left = (total - have) / max(rate, 1e-9)
            sys.stderr.write(f"  {have}/{total}, {rate:.2g}/s, about {left:.0f} s left {note}\n".replace(" \n", "\n"))
            spoke = now
        self._state[stage] = (have, total, started, spoke)

    def end(self, stage: str, *, note: str = "") -> None:
        """Say how long it took."""
        _, _, started, _ = self._state.pop(stage, (0, 0, time.perf_counter(), 0.0))
        sys.stderr.write(f"  done in {time.perf_counter() - started:.1f} s {note}\n".replace(" \n", "\n"))


class BarProgress:
    """A bar per stage: how many, how fast, how long still, and what came from the store."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def _open(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description:<30}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self._bars

    def begin(self, stage: str, total: int, *, reused: int = 0) -> None:
        """Open a bar."""
        note = f"{reused} from the store" if reused else ""
        self._tasks[stage] = self._open().add_task(
            NAMES.get(stage, stage), total=total, completed=reused, rate="", note=note
        )

    def advance(self, stage: str, done: int = 1, *, note: str = "") -> None:
        """Move the bar."""
        bars, task = self._open(), self._tasks[stage]
        bars.advance(task, done)
        speed = bars.tasks[task].speed
        rate = f"{speed:.3g}/s" if speed else ""
        bars.update(task, rate=rate, note=note or bars.tasks[task].fields["note"])

    def end(self, stage: str, *, note: str = "") -> None:
        """Fill the bar."""
        bars, task = self._open(), self._tasks[stage]
        bars.update(task, completed=bars.tasks[task].total, note=note or bars.tasks[task].fields["note"])
        if all(one.finished for one in bars.tasks):
            bars.refresh()

    def close(self) -> None:
        """Leave the bars on the screen and give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
