"""The machine a benchmark ran on: what it is, and the fp32 matrix products it can do at best."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SIZES = (1024, 2048)


def facts(threads: int) -> dict[str, object]:
    """Return what to write beside every figure: processor, cores, threads, versions, load."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": threads,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **{name: _version(name) for name in ("vestige", "torch", "numpy")},
    }


def describe(threads: int) -> str:
    """Return the same as one line."""
    found = facts(threads)
    return (
        f"machine: {found['cpu']}, {found['cores']} cores, {threads} threads, load {found['load']}; "
        f"Python {found['python']}, torch {found['torch']}, numpy {found['numpy']}, vestige {found['vestige']}"
    )


def busy() -> str:
    """Return a warning when other work is running, empty when the machine is quiet; loops with threads suffer most."""
    if not hasattr(os, "getloadavg"):
        return ""
    load = os.getloadavg()[0]
    if load <= 0.5 * cores():
        return ""
    return f"WARNING: load {load:.1f} on {cores()} cores; wall-clock figures of a busy machine mean little."


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gemm_peak(threads: int, *, seconds: float = 1.0) -> float:
    """Return the most fp32 floating-point operations a second of a square matrix product, over kernels and sizes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return max(_rate(kernel, size, seconds) for kernel in _kernels() for size in SIZES)
    finally:
        torch.set_num_threads(before)


def _kernels() -> list[Callable]:
    import torch

    kernels: list[Callable] = [torch.mm]
    if torch.backends.mkldnn.is_available():
        try:
            linear = torch.ops.mkldnn._linear_pointwise.default
            linear(torch.ones(2, 2), torch.ones(2, 2), None, "none", [], "")
            kernels.append(lambda a, b: linear(a, b, None, "none", [], ""))
        except (AttributeError, RuntimeError, TypeError):
            pass
    return kernels


def _rate(kernel: Callable, size: int, seconds: float) -> float:
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    kernel(a, b)
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        kernel(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
