"""Every error a user can meet: one tree, each with what to do next and the exit code it means.

VestigeError
├── UsageError (2)      a wrong call: an unknown name, an impossible option
│   ├── ConfigError     a config file or key that cannot be understood
│   └── AccessError     an attack or signal asked for more than its declared access
├── DataError (2)       records, labels or members that cannot be audited
├── ModelError (2)      a model that cannot be loaded, queried or trained
├── StoreError (2)      a store that cannot be read or written
├── MissingDependency (2)
├── AuditError (3)      the audit could not be completed
└── UntrustworthyError (4)
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import Any


class ExitCode(IntEnum):
    """What the process tells its caller; part of the public contract."""

    OK = 0
    GATE_FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    UNTRUSTWORTHY = 4
    INTERRUPTED = 130


class VestigeError(Exception):
    """An expected failure, printed as one sentence without a traceback."""

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(VestigeError, ValueError):
    """A call that cannot mean anything: an unknown name or an impossible option."""


class ConfigError(UsageError):
    """A configuration that cannot be understood."""


class AccessError(UsageError):
    """Something asked for more of the target than its declared access allows."""


class DataError(VestigeError, ValueError):
    """Records, labels or member lists that cannot be audited."""


class ModelError(VestigeError, RuntimeError):
    """A model that cannot be loaded, trained or queried."""


class StoreError(VestigeError, OSError):
    """A store that cannot be read or written."""

    def __str__(self) -> str:
        return VestigeError.__str__(self)


class MissingDependency(VestigeError, ImportError):
    """An optional library is needed and not installed."""

    def __init__(self, library: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {library}, which is not installed.",
            hint=f"Install it with: pip install 'vestige[{extra}]'",
        )
        self._told = {"extra": extra, "purpose": purpose}
        self._library = library

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process sends its error home pickled, and Exception's own way forgets keyword arguments.
        return partial(MissingDependency, **self._told), (self._library,)


class AuditError(VestigeError, RuntimeError):
    """The audit could not be completed as asked."""

    exit_code = ExitCode.INCOMPLETE


class UntrustworthyError(VestigeError, RuntimeError):
    """The audit completed, but an error-level check says not to believe it."""

    exit_code = ExitCode.UNTRUSTWORTHY
