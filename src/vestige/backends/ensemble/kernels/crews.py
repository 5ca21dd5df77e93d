"""Shares a batch out between the threads that torch was given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

# Fewer records a thread take less time than telling it about them.
LEAST = 16


def crew(records: int) -> int:
    """Return how many threads share so many records."""
    return max(1, min(torch.get_num_threads(), records // LEAST))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="vestige-kernels")


def spread(records: int, work: Callable[[int, int, int], None]) -> None:
    """Call ``work(part, start, stop)`` for each thread's part of the records, and wait for all."""
    parts = crew(records)
    if parts == 1:
        work(0, 0, records)
        return
    edges = [records * k // parts for k in range(parts + 1)]
    others = [_pool(parts - 1).submit(work, k, edges[k], edges[k + 1]) for k in range(1, parts)]
    work(0, edges[0], edges[1])
    for other in others:
        other.result()
