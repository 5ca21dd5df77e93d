"""Trade-offs: many ways of defending one model, each judged by an adversary who adapts, utility against leakage.

>>> import vestige
>>> found = vestige.tradeoff("tradeoff.toml", out="audits/tradeoff")  # doctest: +SKIP
>>> found.report("tradeoff.html")  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vestige.tradeoff.expand import Candidate, expand
    from vestige.tradeoff.results import TradeoffLog, TradeoffPoint
    from vestige.tradeoff.run import run

_PUBLIC = {
    "Candidate": "vestige.tradeoff.expand",
    "TradeoffLog": "vestige.tradeoff.results",
    "TradeoffPoint": "vestige.tradeoff.results",
    "expand": "vestige.tradeoff.expand",
    "run": "vestige.tradeoff.run",
}

__all__ = ["Candidate", "TradeoffLog", "TradeoffPoint", "expand", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vestige.tradeoff' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


class _Callable(ModuleType):
    """The package is the function too: `vestige.tradeoff(…)` is `vestige.tradeoff.run(…)`."""

    def __call__(self, *args: Any, **options: Any) -> TradeoffLog:
        """Run a trade-off; see `vestige.tradeoff.run`."""
        from vestige.tradeoff.run import run

        return run(*args, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        # `run` is a module of this package too, and the function is what is meant, whoever imports the module.
        super().__setattr__(name, value.run if name == "run" and isinstance(value, ModuleType) else value)


sys.modules[__name__].__class__ = _Callable
