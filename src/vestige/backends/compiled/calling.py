"""Calls the compiled entry, whose machine code is compiled once on a machine and then read from the user's cache.

Numba keeps compiled code too, but needs a third of a second to load itself and what it kept. Here only llvmlite, which
numba is built on, is loaded to link the code; numba itself is imported where there is none yet for this processor and
these sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.compiled.layout import NUMBERS, REALS
from vestige.errors import StoreError
from vestige.store.files import write_atomically
from vestige.store.folder import user_cache

NAME = "vestige_network"
COMPILED = ("vectors", "products", "pointwise", "aims", "epoch", "entry", "layout")
CHECK = 16
_ONE_AT_A_TIME = threading.Lock()
Entry = Callable[..., int]


def call(arrays: Sequence[NDArray[Any]], counts: Sequence[int], reals: Sequence[float]) -> None:
    """Run the entry on arrays in the order that `entry` reads them in; other threads go on meanwhile."""
    numbers = [number for array in arrays for number in (array.ctypes.data, array.size)]
    table, wide = np.array([*numbers, *counts], np.int64), np.array(reals, np.float64)
    if (len(table), len(wide)) != (NUMBERS, REALS):
        raise ValueError(f"Expected tables of {NUMBERS} and {REALS} entries, got {len(table)} and {len(wide)}.")
    with _ONE_AT_A_TIME:
        entry = _entry()
    answer = np.zeros(2, np.int64)  # none, and no error
    entry(answer.ctypes.data, answer[1:].ctypes.data, table.ctypes.data, wide.ctypes.data)


@cache
def _entry() -> Entry:
    from llvmlite import binding

    with suppress(RuntimeError):  # what newer versions say: that nothing is left to initialize
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    # The linker reads no other format of object files, on whatever system.
    triple = binding.get_process_triple() + ("-elf" if sys.platform == "win32" else "")
    processor, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_triple(triple).create_target_machine(processor, features, opt=3, jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(f'target triple = "{triple}"'), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(_code(machine, f"{triple} {processor} {features}")))
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)
    found: Any = kind(engine.get_function_address(NAME))
    found.engine = engine  # the code lives as long as the engine
    entry: Entry = found
    return entry


def _code(machine: Any, processor: str) -> bytes:
    """Return the entry's object file: from the cache, where it is whole, or compiled now and put there."""
    here = Path(__file__).parent
    sources = b"".join((here / f"{name}.py").read_bytes() for name in COMPILED)
    key = [hashlib.blake2b(sources).hexdigest(), processor, version("numba"), version("llvmlite"), sys.version]
    path = user_cache() / "compiled" / f"{hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest()}.o"
    with suppress(OSError):
        kept = path.read_bytes()
        if hashlib.blake2b(kept[CHECK:], digest_size=CHECK).digest() == kept[:CHECK]:
            return kept[CHECK:]
    from vestige.backends.compiled.entry import machine_code

    code = machine_code(machine)
    with suppress(StoreError):  # then the next process compiles it again
        write_atomically(path, hashlib.blake2b(code, digest_size=CHECK).digest() + code)
    return code
