"""Jobs in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from vestige.errors import AuditError, UsageError
from vestige.executors.outcomes import J, OnDone, Outcomes, R, WorkerDied, deliver
from vestige.executors.sending import perform, written
from vestige.executors.threads import THREADS, WORKER


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Jobs in ``workers`` processes of this machine (None: one for each core), sharing its cores between them.

    The function and the jobs are written to a temporary folder once; workers map the arrays in it, so that records that
    all jobs share are held in memory once. A job may change its arrays: the changes stay its own.
    """

    workers: int | None = None

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the order in which the jobs finish; stopping early, or Ctrl-C, ends the workers."""
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"Expected at least one worker, got {self.workers}.")
        return deliver(self._outcomes(function, jobs), jobs, on_done)

    def _outcomes(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Outcomes:
        from joblib import cpu_count

        if not jobs:
            return
        cores = cpu_count()
        workers = min(self.workers or cores, len(jobs))
        threads = max(1, cores // workers)
        waiting = deque(range(len(jobs)))
        alone: deque[int] = deque()
        with written(function, jobs) as folder:
            while waiting or alone:
                # Jobs that ran when a worker died are tried again one at a time, which shows whose fault it was.
                queue = deque([alone.popleft()]) if alone else waiting
                size = 1 if queue is not waiting else workers
                lost = yield from _pooled(folder, queue, size, threads)
                if len(lost) == 1:
                    yield lost[0], None, WorkerDied()
                alone.extend(lost if len(lost) > 1 else ())


def _pooled(
    folder: str, queue: deque[int], size: int, threads: int
) -> Generator[tuple[int, Any, Exception | None], None, list[int]]:
    """Run the queued jobs in one pool; returns the jobs that were running when it broke, the rest still queued."""
    from joblib.externals.loky.process_executor import (
        BrokenProcessPool,
        ProcessPoolExecutor,
    )

    env = dict.fromkeys(THREADS, str(threads)) | {WORKER: str(threads)}
    pool = ProcessPoolExecutor(max_workers=size, initializer=_settle, initargs=(os.getpid(),), env=env)
    running: dict[Any, int] = {}
    # Waiting for futures themselves holds their locks, and Ctrl-C at that moment would leave the pool waiting for them.
    ended: SimpleQueue[Any] = SimpleQueue()
    finished = False
    try:
        while queue or running:
            # No more than one job for each worker: then what is running when one dies is suspect, and nothing else.
            while queue and len(running) < size:
                with _deaf_to_interrupts():
                    future = pool.submit(perform, folder, queue[0])
                    running[future] = queue[0]
                    future.add_done_callback(ended.put)
                queue.popleft()
            future = ended.get()
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                return sorted(running.values())
            index = running.pop(future)
            if error is not None and not isinstance(error, Exception):
                error = AuditError(f"the job ended with {type(error).__name__}.")
            yield index, None if error else future.result(), error
        finished = True
        return []
    finally:
        workers = list((getattr(pool, "_processes", None) or {}).values())
        with _deaf_to_its_manager() if not finished else contextlib.nullcontext():
            pool.shutdown(wait=True, kill_workers=not finished)
        if not finished:
            for worker in workers:
                if worker.is_alive():
                    worker.kill()


@contextlib.contextmanager
def _deaf_to_its_manager() -> Iterator[None]:
    """Keep quiet about loky's manager thread, which can trip over a job that is withdrawn as it is handed out."""
    usual = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        if told.thread is None or "ExecutorManager" not in told.thread.name + type(told.thread).__name__:
            usual(told)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start workers that never hear Ctrl-C, not even while they import; here it is heard a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(parent: int) -> None:
    """Make a worker leave Ctrl-C to its parent, end when the parent is gone, and live on when it has grown."""
    from joblib.externals.loky import process_executor

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process_executor._USE_PSUTIL = False
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
