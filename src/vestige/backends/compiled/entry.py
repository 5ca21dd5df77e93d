"""The one function that the outside calls, and its machine code. Only this and what it imports need numba.

It takes two tables, one of addresses and counts and one of reals, in the order in which `calling` writes them.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding
from numba import cfunc, types

from vestige.backends.compiled import epoch
from vestige.backends.compiled.calling import NAME
from vestige.backends.compiled.layout import NUMBERS, REALS, Aim, Data, Model, Room, Rule, Shape
from vestige.backends.compiled.vectors import array_at

_floats, _reals, _bytes = array_at(types.float32), array_at(types.float64), array_at(types.uint8)
_small, _whole = array_at(types.int32), array_at(types.int64)
# What any C library has; the linker ends the process for a name that it cannot find.
OUTSIDE = {"memset", "memcpy", "memmove"} | {
    name + kind
    for name in ("pow", "exp", "log", "log1p", "sqrt", "fabs", "floor", "ceil", "fma", "tanh", "erf")
    for kind in ("", "f")
}


def _enter(numbers, reals):
    n, r = _whole(numbers, np.int64(NUMBERS)), _reals(reals, np.int64(REALS))
    rate, zero = np.float32(r[1]), np.float32(0)
    data = Data(
        _floats(n[0], n[1]), _bytes(n[2], n[3]), _small(n[4], n[5]), _whole(n[6], n[7]), _whole(n[8], n[9]),
        _floats(n[10], n[11]), np.float32(r[0]),
    )  # fmt: skip
    order = _whole(n[12], n[13])
    shape = Shape(
        _whole(n[14], n[15]), _whole(n[16], n[17]), _whole(n[18], n[19]), _whole(n[20], n[21]), _whole(n[22], n[23]),
        n[52], n[53],
    )  # fmt: skip
    model = Model(_floats(n[24], n[25]), _floats(n[26], n[27]), _floats(n[28], n[29]))
    room = Room(
        _floats(n[30], n[31]), _floats(n[32], n[33]), _floats(n[34], n[35]), _floats(n[36], n[37]),
        _floats(n[38], n[39]), _whole(n[40], n[41]), _small(n[42], n[43]),
    )  # fmt: skip
    aim = Aim(
        _whole(n[46], n[47]), _whole(n[48], n[49]), _floats(n[50], n[51]), n[59], n[60], n[61], n[62],
        np.float32(r[4]), np.float32(r[5]), np.float32(r[6]), np.float32(r[7]), np.float32(r[8]), np.float32(r[9]),
    )  # fmt: skip
    rule = Rule(n[54], rate, np.float32(r[2]), np.float32(r[3]), n[55] != 0, zero, zero)
    if n[58]:
        epoch.ask(data, order, n[56], shape, model, room, aim, _floats(n[44], n[45]))
    else:
        epoch.run(data, order, n[56], shape, model, room, rule, aim, n[57])


def machine_code(machine: binding.TargetMachine) -> bytes:
    """Compile the entry; return an object file that defines `NAME` and needs nothing but the C library.

    ``NAME(result, error, numbers, reals)`` is as numba calls its own: the first two are addresses of room for one
    address each, which nothing is read from.
    """
    made = cfunc(types.void(types.int64, types.int64), error_model="numpy", _nrt=False)(_enter)
    module = binding.parse_assembly(made.inspect_llvm())
    wrapped = made._wrapper_name.removeprefix("cfunc.")
    for function in module.functions:
        if function.name == wrapped:
            function.name = NAME
        elif not function.is_declaration:
            function.linkage = "internal"
    # What only numba's own callers need goes.
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options()))
    asked = {function.name for function in module.functions if function.is_declaration}
    strange = {name for name in asked - OUTSIDE if not name.startswith("llvm.")}
    if strange:
        raise RuntimeError(f"The compiled loops call {', '.join(sorted(strange))}, which no C library has.")
    return machine.emit_object(module)
