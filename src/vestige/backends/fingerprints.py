"""Texts that change whenever a recipe's ingredients do, and are the same in every process."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
import sys
import sysconfig
import types
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from vestige.errors import UsageError

STDLIB = sysconfig.get_path("stdlib")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(value: Any) -> str:
    """Return 32 hex digits for anything a recipe may hold; raises UsageError for what cannot be told apart.

    Functions count by their source, defaults, closure and the things of their own module that they use; estimators by
    class, library version and parameters; arrays by content.
    """
    text = json.dumps(_describe(value, ()), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def class_path(kind: type) -> str:
    """Return ``module:qualified name``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def library_version(module: str) -> str:
    """Return the version of the package that ``module`` belongs to, or an empty text."""
    top = module.partition(".")[0]
    try:
        return version({"sklearn": "scikit-learn"}.get(top, top))
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(top), "__version__", ""))


def _describe(value: Any, above: tuple[int, ...]) -> Any:
    """Return ``value`` as plain JSON, tagged by type; ``above`` holds the objects being described, against cycles."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | bytes):
        return [type(value).__name__, repr(value)]
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__, library_version(value.__name__)]
    if id(value) in above:
        return ["cycle", len(above) - above.index(id(value))]
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return ["map", sorted(([_describe(k, above), _describe(v, above)] for k, v in value.items()), key=json.dumps)]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_describe(one, above) for one in value]]
    if isinstance(value, set | frozenset):
        return ["set", sorted((_describe(one, above) for one in value), key=json.dumps)]
    if isinstance(value, type):
        return ["class", class_path(value), library_version(value.__module__), _own_source(value)]
    if callable(value) and (hasattr(value, "__code__") or hasattr(value, "__func__") or not hasattr(value, "__dict__")):
        return _function(value, above)
    return _object(value, above)


def _object(value: Any, above: tuple[int, ...]) -> Any:
    kind = type(value)
    named = [class_path(kind), library_version(kind.__module__)]
    if isinstance(value, functools.partial):
        return ["partial", *(_describe(part, above) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, np.dtype):
        return ["dtype", str(value)]
    if hasattr(value, "get_params"):
        return ["estimator", *named, _own_source(kind), _describe(value.get_params(deep=False), above)]
    if hasattr(value, "__array__") or isinstance(value, np.generic):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype != object:
            return ["array", str(array.dtype), list(array.shape), hashlib.blake2b(array.tobytes()).hexdigest()]
        return ["array", list(array.shape), [_describe(one, above) for one in array.ravel().tolist()]]
    if hasattr(value, "__dict__"):
        return ["object", *named, _own_source(kind), _describe(vars(value), above)]
    text = repr(value)
    if ADDRESS.search(text):
        raise UsageError(
            f"Expected a recipe made of values that can be compared, got {text}, which cannot.",
            hint="Build it inside the training function, or give it a get_params method.",
        )
    return ["repr", *named, _own_source(kind), text]


def _function(value: Any, above: tuple[int, ...]) -> Any:
    named = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', repr(value))}"
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return [
            "method",
            named,
            _describe(value.__func__ if hasattr(value, "__func__") else value.__name__, above),
            _describe(owner, above),
        ]
    value = inspect.unwrap(value)
    if not hasattr(value, "__code__"):
        return ["builtin", named, library_version(getattr(value, "__module__", None) or "builtins")]
    if _installed(value):
        return ["function", named, library_version(value.__module__)]
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(_describe(cell.cell_contents, above))
        except ValueError:
            cells.append("empty")
    parts = [value.__defaults__, value.__kwdefaults__]
    return ["function", named, _source(value), cells, [_describe(p, above) for p in parts], _neighbours(value, above)]


def _source(value: Any) -> Any:
    """Return a function's source, or its code where there is none or where two lambdas may share a line."""
    if value.__name__ != "<lambda>":
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            pass
    return _code(value.__code__)


def _code(code: types.CodeType) -> Any:
    consts = [_code(one) if isinstance(one, types.CodeType) else _describe(one, ()) for one in code.co_consts]
    return [code.co_code.hex(), consts, list(code.co_names), list(code.co_varnames)]


def _neighbours(value: Any, above: tuple[int, ...]) -> Any:
    """Return the things of the function's own module that it names: an edited helper changes what is trained."""
    names: set[str] = set()
    pending = [value.__code__]
    while pending:
        code = pending.pop()
        names.update(code.co_names)
        pending.extend(one for one in code.co_consts if isinstance(one, types.CodeType))
    found = []
    for name in sorted(names & value.__globals__.keys()):
        other = value.__globals__[name]
        own = getattr(other, "__module__", None) == value.__module__ and (
            inspect.isfunction(other) or isinstance(other, type)
        )
        if own or isinstance(other, bool | int | float | str | tuple | np.ndarray):
            found.append([name, _describe(other, above)])
    return found


def _installed(value: Any) -> bool:
    """Return whether a class or function comes with the interpreter or an installed package, and so has a version."""
    try:
        place = Path(inspect.getfile(value))
    except (OSError, TypeError):
        return (value.__module__ or "").partition(".")[0] in sys.stdlib_module_names - {"__main__"}
    return "site-packages" in place.parts or "dist-packages" in place.parts or place.is_relative_to(STDLIB)


def _own_source(kind: type) -> Any:
    """Return the source of a class that no version number stands for, or its code where there is none."""
    if _installed(kind):
        return ""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return [
            [name, _code(value.__code__) if hasattr(value, "__code__") else repr(value)]
            for name, value in sorted(vars(kind).items())
            if hasattr(value, "__code__") or isinstance(value, bool | int | float | str | tuple)
        ]
