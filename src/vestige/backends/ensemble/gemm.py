"""Which matrix product to use: the general one, or oneDNN's where the general one leaves half of the machine idle.

MKL picks AVX2 kernels on processors that are not Intel's, even where AVX-512 is there; oneDNN does not. The choice
changes the last bits of a result, so it depends only on the processor and on the shape, never on a measurement.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vestige.errors import ConfigError

# Below this many multiply-adds the fixed cost of a oneDNN call (about 10 us) outweighs its faster kernel.
ONEDNN_FROM = 1_200_000


def _vendor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _wanted() -> bool:
    choice = os.environ.get("VESTIGE_GEMM", "auto")
    if choice not in ("auto", "mm", "onednn"):
        raise ConfigError(f"Expected VESTIGE_GEMM to be auto, mm or onednn, got '{choice}'.")
    if choice != "auto":
        return choice == "onednn"
    vector = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return vector and mkl and "Intel" not in _vendor()


@cache
def onednn() -> Callable[..., Any] | None:
    """Return oneDNN's linear operator where it is faster and gives right answers, else None."""
    if not _wanted():
        return None
    try:
        operator: Callable[..., Any] = torch.ops.mkldnn._linear_pointwise.default
        x, w, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3), torch.arange(4.0)
        if not torch.allclose(operator(x, w, b, "relu", [], ""), torch.relu(torch.addmm(b, x, w.t()))):
            return None
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator


def pick(rows: int, inner: int, columns: int, device: torch.device) -> Callable[..., Any] | None:
    """Return the oneDNN operator when a product of this shape should use it."""
    if device.type != "cpu" or rows * inner * columns < ONEDNN_FROM:
        return None
    return onednn()


class fastest(TorchFunctionMode):
    """Within it, linear layers of any module take the product that `pick` picks, without gradients."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, or oneDNN's for a linear map of a matrix of single precision."""
        if func is F.linear and not torch.is_grad_enabled():
            x, weight, bias = (*args, None)[:3] if not kwargs else (None, None, None)
            if x is not None and x.dim() == 2 and x.dtype == weight.dtype == torch.float32:
                fast = pick(len(x), x.shape[1], len(weight), x.device)
                if fast is not None:
                    return fast(x, weight, bias, "none", [], "")
        return func(*args, **(kwargs or {}))
