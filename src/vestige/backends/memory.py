"""Let the C allocator keep what is freed while models are trained, or asked over and over.

A training step frees and asks again for the same few hundred kilobytes. By default the C library hands such blocks back
to the system each time, and every page of the next one has to be mapped and zeroed anew: on virtual machines that can
cost more than the arithmetic. Only where memory comes from changes, never a result.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEPT = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: (1 << 31) - 1, TOP_PAD: 64 << 20}
USUAL = {MMAP_THRESHOLD: 128 << 10, TRIM_THRESHOLD: 128 << 10, TOP_PAD: 0}
INSIDE: ContextVar[bool] = ContextVar("inside", default=False)


@cache
def _library() -> ctypes.CDLL | None:
    """Return the C library when it is the GNU one, which alone has these settings."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.CDLL(None)
        has = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
        return library if has else None
    except OSError:
        return None


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory inside the block, and give it back at the end of the outermost one."""
    library = _library()
    if library is None or INSIDE.get():
        yield
        return
    token = INSIDE.set(True)
    for setting, value in KEPT.items():
        library.mallopt(setting, value)
    try:
        yield
    finally:
        INSIDE.reset(token)
        for setting, value in USUAL.items():
            library.mallopt(setting, value)
        library.malloc_trim(0)
