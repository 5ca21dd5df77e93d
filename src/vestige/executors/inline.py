"""Jobs in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from vestige.executors.outcomes import J, OnDone, Outcomes, R, deliver

SOON = 1e-4
"""Seconds."""


@dataclass(frozen=True, kw_only=True)
class Inline:
    """Jobs in this process: one after another, or in as many threads, for jobs that let go of Python's lock."""

    threads: int = 1

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the jobs' order; stopping early, or Ctrl-C, waits for the jobs that are running."""
        return deliver(self._outcomes(function, jobs), jobs, on_done)

    def _outcomes(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Outcomes:
        if self.threads == 1:
            yield from _collected([partial(function, job) for job in jobs])
            return
        with _lock_changing_hands(), ThreadPoolExecutor(self.threads) as pool:
            futures = [pool.submit(function, job) for job in jobs]
            try:
                yield from _collected([future.result for future in futures])
            finally:
                for future in futures:
                    future.cancel()


@contextmanager
def _lock_changing_hands() -> Iterator[None]:
    """Have whoever holds Python's lock pass it on soon: jobs ask for it for a moment, and must not wait for long."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, SOON))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _collected(waiting: Sequence[Callable[[], Any]]) -> Outcomes:
    for index, one in enumerate(waiting):
        try:
            result, error = one(), None
        except Exception as caught:  # whatever the job raises is its outcome
            result, error = None, caught
        yield index, result, error
