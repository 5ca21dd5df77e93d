"""Grids: one audit per threat model and state of knowledge, on the same models wherever they can be.

>>> import vestige.grid
>>> found = vestige.grid.run("grid.toml", out="audits/grid")  # doctest: +SKIP
>>> found.report("grid.html")  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige.grid.expand import Cell, expand
    from vestige.grid.results import GridLog
    from vestige.grid.run import run

_PUBLIC = {
    "Cell": "vestige.grid.expand",
    "GridLog": "vestige.grid.results",
    "expand": "vestige.grid.expand",
    "run": "vestige.grid.run",
}

__all__ = ["Cell", "GridLog", "expand", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vestige.grid' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


class _Package(ModuleType):
    """`run` is a module of this package too, and the function is what is meant, whoever imports the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value.run if name == "run" and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Package
