"""How jobs end: results as they come, and the failures in one error at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

from vestige.errors import AuditError, ExitCode, VestigeError

J = TypeVar("J")
R = TypeVar("R")
OnDone = Callable[[int, Any], None]
Outcomes = Generator[tuple[int, Any, Exception | None], None, None]
HOPELESS = 3


class JobError(AuditError):
    """Some jobs failed; ``failures`` maps the index of each to its error."""

    def __init__(self, failures: dict[int, Exception], jobs: Sequence[Any], *, gave_up: bool) -> None:
        index, first = next(iter(failures.items()))
        name = getattr(jobs[index], "name", None)
        who = f"Job '{name}'" if name else f"Job {index + 1} of {len(jobs)}"
        what = first.message if isinstance(first, VestigeError) else f"{type(first).__name__}: {first}".rstrip(": ")
        more = f" ({len(failures)} jobs failed" if len(failures) > 1 else ""
        more += ", the others were not tried)" if gave_up else ")" if more else ""
        super().__init__(f"{who} failed: {what}{more}", hint=first.hint if isinstance(first, VestigeError) else "")
        self.exit_code = first.exit_code if isinstance(first, VestigeError) else ExitCode.INCOMPLETE
        self.failures = failures


class WorkerDied(AuditError):
    """A worker process ended in the middle of a job."""

    def __init__(self) -> None:
        super().__init__(
            "its worker process ended before the job did.",
            hint="It may have run out of memory or crashed in native code; try fewer workers, or executor = 'inline'.",
        )


def deliver(outcomes: Outcomes, jobs: Sequence[Any], on_done: OnDone | None) -> Iterator[tuple[int, Any]]:
    """Yield the results, keep the failures for the end, and give up when the first few jobs have all failed."""
    failures: dict[int, Exception] = {}
    delivered = 0
    gave_up = False
    with contextlib.closing(outcomes):
        for index, result, error in outcomes:
            if error is not None:
                failures[index] = error
                gave_up = not delivered and len(failures) == HOPELESS < len(jobs)
                if gave_up:
                    break
                continue
            delivered += 1
            if on_done is not None:
                on_done(index, result)
            yield index, result
    if failures:
        raise JobError(failures, jobs, gave_up=gave_up) from next(iter(failures.values()))
