"""Compiles the text of functions for the processor at hand, once per process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from vestige.backends.ensemble.kernels.code import declarations

Function = Callable[..., None]


@cache
def lanes() -> int | None:
    """Return how many floats the processor's vectors hold, or None where functions cannot be compiled, or not well."""
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError):
        return None
    if not hasattr(llvm, "create_pass_builder"):
        return None
    has = llvm.get_host_cpu_features()
    if has.get("avx512f") and has.get("avx512bw") and has.get("avx512vl"):
        return 16
    return 8 if has.get("avx2") and has.get("fma") else None


def compiled(text: str, name: str, arguments: int, *, lanes: int) -> Function:
    """Return a function of whole numbers (addresses and counts) from its text in LLVM's language.

    It holds no lock of the interpreter while it runs.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text + declarations(lanes))
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
    )
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    # What is worth unrolling and which numbers share a vector is written out already.
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    call: Any = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(engine.get_function_address(name))
    call.engine = engine  # the code lives as long as the engine
    return call  # type: ignore[no-any-return]
