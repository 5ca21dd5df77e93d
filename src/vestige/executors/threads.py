"""How many threads a job may use, so that the workers of one machine share its cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
WORKER = "_VESTIGE_WORKER_THREADS"


def threads_here() -> int | None:
    """Return how many threads this process may use when it is a worker, or None when it is not."""
    text = os.environ.get(WORKER)
    return int(text) if text else None


@contextmanager
def one_thread() -> Iterator[None]:
    """Have the linear algebra libraries that are loaded use one thread, for work beside jobs that fill the cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield
