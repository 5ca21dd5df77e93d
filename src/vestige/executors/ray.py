"""Jobs on a Ray cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vestige.errors import MissingDependency
from vestige.executors.outcomes import J, OnDone, Outcomes, R, WorkerDied, deliver
from vestige.executors.threads import WORKER


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
        return deliver(self._outcomes(ray, function, jobs), jobs, on_done)

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
