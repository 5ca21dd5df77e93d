"""Where jobs run: here, in processes, or on a Ray cluster. Jobs are independent, and their results come as they finish.

A job that fails costs itself alone: the others still run and their results are still yielded, then one error names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from vestige.executors.outcomes import J, OnDone, R
from vestige.registry import Registry

EXECUTORS = Registry(
    "executors",
    {
        "inline": "vestige.executors.inline:Inline",
        "processes": "vestige.executors.processes:Processes",
        "ray": "vestige.executors.ray:Ray",
    },
)


class Executor(Protocol):
    """Runs a function once for each job."""

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) of each job as it finishes, after ``on_done(index, result)``; raises JobError last."""
        ...
