from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vestige.errors import ExitCode, MissingDependency, ModelError, StoreError, UsageError
from vestige.executors import EXECUTORS
from vestige.executors.inline import Inline
from vestige.executors.outcomes import JobError, WorkerDied
from vestige.executors.threads import THREADS, one_thread, threads_here

BOTH = pytest.mark.parametrize("name", ["inline", "processes"])


def runner(name, **params):
    return EXECUTORS.create(name, {"workers": 2, **params} if name == "processes" else params)


def square(job):
    return job * job


def refuse_odd(job):
    if job % 2:
        raise ModelError(f"cannot do {job}.", hint="Try an even one.")
    return job


def collect(executor, function, jobs):
    """Return the results that came, and the error that came after them."""
    results = []
    with pytest.raises(JobError) as caught:
        list(executor.run(function, jobs, on_done=lambda *done: results.append(done)))
    return results, caught.value


@dataclass(frozen=True)
class Named:
    name: str


@BOTH
def test_every_job_is_done_once_and_told(name):
    told = []
    results = list(runner(name).run(square, range(7), on_done=lambda index, result: told.append((index, result))))
    assert sorted(results) == [(i, i * i) for i in range(7)]
    assert told == results


@BOTH
def test_no_jobs_are_no_results(name):
    assert list(runner(name).run(square, [])) == []


@BOTH
def test_a_failing_job_is_named_and_the_others_are_kept(name):
    executor = runner(name, **({"workers": 1} if name == "processes" else {}))
    results, error = collect(executor, refuse_odd, range(6))
    assert str(error) == "Job 2 of 6 failed: cannot do 1. (3 jobs failed) Try an even one."
    assert results == [(0, 0), (2, 2), (4, 4)]
    assert sorted(error.failures) == [1, 3, 5]
    assert error.exit_code == ExitCode.USAGE
    assert isinstance(error.__cause__, ModelError)


@BOTH
def test_when_the_first_few_all_fail_the_rest_are_not_tried(name):
    with pytest.raises(JobError, match=r"\(3 jobs failed, the others were not tried\)") as caught:
        list(runner(name).run(refuse_odd, [1] * 50))
    assert len(caught.value.failures) == 3


@BOTH
def test_a_job_with_a_name_is_called_by_it(name):
    def fail(job):
        return 1 / 0

    with pytest.raises(JobError, match="Job 'shadow 12' failed: ZeroDivisionError: division by zero") as caught:
        list(runner(name).run(fail, [Named("shadow 12")]))
    assert caught.value.exit_code == ExitCode.INCOMPLETE


def test_inline_keeps_the_order_and_is_lazy():
    done = []
    results = runner("inline").run(done.append, range(5))
    assert done == []
    next(results)
    assert done == [0]


def test_inline_in_threads_runs_jobs_beside_each_other_and_keeps_the_order():
    together = threading.Barrier(2)

    def meet(job):
        together.wait(timeout=30)  # broken, and so an error, when jobs wait for each other
        return -job

    assert list(Inline(threads=2).run(meet, range(6))) == [(k, -k) for k in range(6)]
    with pytest.raises(JobError, match="Job 2 of 3") as caught:
        list(Inline(threads=2).run(fail_at_one, [0, 1, 2]))
    assert list(caught.value.failures) == [1]


def fail_at_one(job):
    return 1 // (job - 1)


def test_an_interrupt_is_not_a_failure():
    def interrupt(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(runner("inline").run(interrupt, range(3)))


def test_results_come_as_they_finish():
    def wait(job):
        time.sleep(job)
        return os.getpid()

    results = list(runner("processes").run(wait, [1.5, 0.0]))
    assert [index for index, _ in results] == [1, 0]
    assert os.getpid() not in [pid for _, pid in results]


def test_each_worker_keeps_to_its_share_of_the_cores():
    from joblib import cpu_count

    def look(job):
        return [os.environ[key] for key in THREADS], threads_here()

    for workers in (1, 2):
        share = max(1, cpu_count() // workers)
        for _, (variables, told) in runner("processes", workers=workers).run(look, [0, 1]):
            assert variables == [str(share)] * len(THREADS)
            assert told == share
    assert threads_here() is None


def test_arrays_are_shared_but_changes_are_not():
    shared = np.zeros(1_000_000)

    def change(job):
        array, index = job
        before = array.sum()
        array[index] = 1
        return before, array.base is not None

    assert next(runner("processes", workers=1).run(change, [(shared, 0), (shared, 1)])) == (0, (0.0, True))
    assert shared.sum() == 0


def test_shared_arrays_are_written_once():
    shared = np.random.default_rng(0).normal(size=200_000)
    folder = Path(tempfile.gettempdir())
    before = set(folder.glob("vestige-jobs-*"))
    results = runner("processes", workers=1).run(lambda job: job[0].sum(), [(shared, i) for i in range(30)])
    assert next(results)[1] == shared.sum()
    (mine,) = set(folder.glob("vestige-jobs-*")) - before
    size = sum(path.stat().st_size for path in mine.iterdir())
    results.close()
    assert size < 1.1 * shared.nbytes
    assert not mine.exists()


def die_on(job):
    if job in (3, 8):
        os._exit(9)
    time.sleep(0.05)
    return job


def test_a_worker_that_dies_costs_only_its_own_job():
    results, error = collect(runner("processes"), die_on, range(10))
    assert sorted(results) == [(i, i) for i in range(10) if i not in (3, 8)]
    assert {index: type(one) for index, one in error.failures.items()} == {3: WorkerDied, 8: WorkerDied}
    assert "its worker process ended before the job did" in str(error)


def test_a_job_that_ends_the_interpreter_is_a_failure():
    def leave(job):
        sys.exit(3)

    with pytest.raises(JobError, match="SystemExit"):
        list(runner("processes", workers=1).run(leave, [0]))


def test_what_cannot_be_sent_is_said_so_before_anything_runs():
    with pytest.raises(UsageError, match=r"cannot be sent to worker processes: .*lock.*executor = 'inline'"):
        list(runner("processes").run(square, [threading.Lock()]))


def test_a_result_that_cannot_come_back_is_a_failure():
    with pytest.raises(JobError, match="Job 1 of 1 failed"):
        list(runner("processes", workers=1).run(lambda job: threading.Lock(), [0]))


def test_a_full_disk_ends_in_one_sentence(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vestige.executors.sending._write", full)
    with pytest.raises(StoreError, match=r"No space left on device. .*TMPDIR"):
        list(runner("processes").run(square, [1]))


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_do_no_work(workers):
    with pytest.raises(UsageError, match="at least one worker"):
        runner("processes", workers=workers).run(square, [1])


SCRIPT = """
import os, sys, time
from pathlib import Path
from vestige.executors import EXECUTORS
folder = Path(sys.argv[1])
def work(job):
    (folder / str(os.getpid())).touch()
    if job < 2:
        return job
    time.sleep(60)
for index, _ in EXECUTORS.create("processes", {"workers": 2}).run(work, range(6)):
    print(index, flush=True)
    {after}
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc to see which processes are left")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, "close"])
def test_no_worker_outlives_its_parent(tmp_path, how):
    script = SCRIPT.replace("{after}", "raise SystemExit(7) if index == 1 else None" if how == "close" else "pass")
    if how == "close":
        script = script.replace("raise SystemExit(7) if index == 1 else None", "if index == 1: sys.exit(7)")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(pids)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert sorted([parent.stdout.readline(), parent.stdout.readline()]) == ["0\n", "1\n"]
    if how != "close":
        time.sleep(0.3)
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)  # what a terminal does on Ctrl-C: the workers get it too
        else:
            parent.send_signal(how)
    _, complaint = parent.communicate(timeout=30)
    workers = [int(path.name) for path in pids.iterdir()]
    assert workers
    assert wait_until(lambda: not any(map(alive, workers)))
    assert parent.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGKILL: -signal.SIGKILL, "close": 7}[how]
    assert wait_until(lambda: not list(temporary.glob("vestige-jobs-*")))
    if how == signal.SIGINT:
        assert complaint.count("Traceback") == 1


def test_ray_missing_is_said_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'vestige\[ray\]'"):
        EXECUTORS.create("ray").run(square, [1])


@pytest.mark.filterwarnings("ignore")
def test_ray():
    pytest.importorskip("ray", reason="Ray is an extra")

    def work(job):
        return refuse_odd(3) if job == 1 else die_on(job)

    results, error = collect(EXECUTORS.create("ray", {"workers": 2}), work, range(5))
    assert sorted(results) == [(0, 0), (2, 2), (4, 4)]
    assert {index: type(one) for index, one in error.failures.items()} == {1: ModelError, 3: WorkerDied}


def test_threads_pass_python_s_lock_on_sooner_while_they_run():
    usual = sys.getswitchinterval()
    found = dict(Inline(threads=2).run(lambda _: sys.getswitchinterval(), [0, 1]))
    assert max(found.values()) <= 1e-3 < usual
    assert sys.getswitchinterval() == usual


def test_linear_algebra_beside_jobs_uses_one_thread_and_then_as_many_as_before():
    from threadpoolctl import threadpool_info

    def counts():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = counts()
    with one_thread():
        assert counts() == {1}
    assert counts() == before
