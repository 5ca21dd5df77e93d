"""Where jobs run: here, in processes, or on a Ray cluster. Jobs are independent, and their results come as they finish.

A job that fails costs itself alone: the others still run and their results are still yielded, then one error names it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vestige.errors import AuditError, ExitCode, MissingDependency, StoreError, UsageError, VestigeError
from vestige.registry import Registry

J = TypeVar("J")
R = TypeVar("R")
OnDone = Callable[[int, Any], None]
Outcomes = Generator[tuple[int, Any, Exception | None], None, None]

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
WORKER = "_VESTIGE_WORKER_THREADS"
HOPELESS = 3
ALIGNMENT = 64

EXECUTORS = Registry(
    "executors",
    {
        "inline": "vestige.executors:Inline",
        "processes": "vestige.executors:Processes",
        "ray": "vestige.executors:Ray",
    },
)


class Executor(Protocol):
    """Runs a function once for each job."""

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) of each job as it finishes, after ``on_done(index, result)``; raises JobError last."""
        ...


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


def threads_here() -> int | None:
    """Return how many threads this process may use when it is a worker, or None when it is not."""
    text = os.environ.get(WORKER)
    return int(text) if text else None


def _deliver(outcomes: Outcomes, jobs: Sequence[Any], on_done: OnDone | None) -> Iterator[tuple[int, Any]]:
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


@dataclass(frozen=True, kw_only=True)
class Inline:
    """Jobs in this process: one after another, or in as many threads, for jobs that let go of Python's lock."""

    threads: int = 1

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the jobs' order; stopping early, or Ctrl-C, waits for the jobs that are running."""
        return _deliver(self._outcomes(function, jobs), jobs, on_done)

    def _outcomes(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Outcomes:
        if self.threads == 1:
            yield from _collected([partial(function, job) for job in jobs])
            return
        with ThreadPoolExecutor(self.threads) as pool:
            futures = [pool.submit(function, job) for job in jobs]
            try:
                yield from _collected([future.result for future in futures])
            finally:
                for future in futures:
                    future.cancel()


def _collected(waiting: Sequence[Callable[[], Any]]) -> Outcomes:
    for index, one in enumerate(waiting):
        try:
            result, error = one(), None
        except Exception as caught:  # whatever the job raises is its outcome
            result, error = None, caught
        yield index, result, error


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
        return _deliver(self._outcomes(function, jobs), jobs, on_done)

    def _outcomes(self, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Outcomes:
        from joblib import cpu_count

        if not jobs:
            return
        cores = cpu_count()
        workers = min(self.workers or cores, len(jobs))
        threads = max(1, cores // workers)
        waiting = deque(range(len(jobs)))
        alone: deque[int] = deque()
        with _written(function, jobs) as folder:
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
    finished = False
    try:
        while queue or running:
            # No more than one job for each worker: then what is running when one dies is suspect, and nothing else.
            while queue and len(running) < size:
                with _deaf_to_interrupts():
                    running[pool.submit(_perform, folder, queue[0])] = queue[0]
                queue.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
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


def _perform(folder: str, index: int) -> Any:
    function, jobs = _read(folder)
    return function(jobs[index])


@contextlib.contextmanager
def _written(function: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[str]:
    """Write the function and the jobs to a folder, arrays apart and each only once; the folder goes afterwards."""
    import cloudpickle
    from joblib.externals.loky.backend import resource_tracker

    buffers: list[Any] = []
    try:
        head = cloudpickle.dumps((function, list(jobs)), protocol=5, buffer_callback=buffers.append)
    except Exception as error:  # what is to be pickled may refuse in any way
        raise UsageError(
            f"The jobs cannot be sent to worker processes: {type(error).__name__}: {error}.",
            hint="Use executor = 'inline', or keep open files, locks and connections out of the recipe.",
        ) from error
    folder = tempfile.mkdtemp(prefix="vestige-jobs-")
    # Should this process be killed, the tracker removes the folder.
    resource_tracker.register(folder, "folder")
    try:
        try:
            _write(Path(folder), head, [buffer.raw() for buffer in buffers])
        except OSError as error:
            raise StoreError(
                f"Could not write the jobs to '{folder}': {error.strerror}.",
                hint="Free some space, or name another folder in TMPDIR.",
            ) from error
        yield folder
    finally:
        resource_tracker.unregister(folder, "folder")
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, head: bytes, buffers: list[memoryview]) -> None:
    layout = []
    with (folder / "arrays").open("wb") as file:
        for buffer in buffers:
            file.seek(-file.tell() % ALIGNMENT, os.SEEK_CUR)
            layout.append((file.tell(), buffer.nbytes))
            file.write(buffer)
    (folder / "jobs").write_bytes(head)
    (folder / "layout").write_text(json.dumps(layout))


@lru_cache(maxsize=1)
def _read(folder: str) -> tuple[Callable[[Any], Any], list[Any]]:
    import cloudpickle

    path = Path(folder)
    layout = json.loads((path / "layout").read_text())
    view = memoryview(b"")
    if (path / "arrays").stat().st_size:
        with (path / "arrays").open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    buffers = [view[start : start + length] for start, length in layout]
    read: tuple[Callable[[Any], Any], list[Any]] = cloudpickle.loads((path / "jobs").read_bytes(), buffers=buffers)
    return read


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Jobs on a Ray cluster: the one at ``address`` or RAY_ADDRESS, else one started here for the run.

    ``workers``: how many jobs may run at once (None: as many as the cluster has cores). Every node needs vestige and a
    store that all of them can reach.
    """

    workers: int | None = None
    address: str | None = None

    def run(
        self, function: Callable[[J], R], jobs: Sequence[J], *, on_done: OnDone | None = None
    ) -> Iterator[tuple[int, R]]:
        """Yield (index, result) in the order in which the jobs finish."""
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingDependency("ray", extra="ray", purpose="The executor 'ray'") from error
        return _deliver(self._outcomes(ray, function, jobs), jobs, on_done)

    def _outcomes(self, ray: Any, function: Callable[[Any], Any], jobs: Sequence[Any]) -> Outcomes:
        import cloudpickle

        ours = not ray.is_initialized()
        if ours:
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        running: dict[Any, int] = {}
        try:
            # Pickled here, and not by Ray: its arrays come out read-only, and many a training function writes to them.
            payload = ray.put(cloudpickle.dumps((function, list(jobs))))
            task = ray.remote(num_cpus=1, max_retries=1, runtime_env={"env_vars": {WORKER: "1"}})(_perform_remotely)
            limit = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            waiting = deque(range(len(jobs)))
            while waiting or running:
                while waiting and len(running) < limit:
                    index = waiting.popleft()
                    running[task.remote(payload, index)] = index
                done, _ = ray.wait(list(running), num_returns=1)
                index = running.pop(done[0])
                result, error = None, None
                try:
                    result = ray.get(done[0])
                except ray.exceptions.RayTaskError as caught:
                    error = caught.cause if isinstance(caught.cause, Exception) else caught
                except ray.exceptions.RayError:
                    error = WorkerDied()
                yield index, result, error
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if ours:
                ray.shutdown()


def _perform_remotely(payload: bytes, index: int) -> Any:
    import cloudpickle

    function, jobs = cloudpickle.loads(payload)
    return function(jobs[index])
