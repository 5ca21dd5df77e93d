"""What a running audit tells whoever watches: a tiny protocol, silent by default."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is being done; must not raise."""

    def begin(self, stage: str, total: int, *, reused: int = 0) -> None:
        """A stage starts: ``total`` units, ``reused`` of them already in the store."""
        ...

    def advance(self, stage: str, done: int = 1, *, note: str = "") -> None:
        """``done`` more units are finished."""
        ...

    def end(self, stage: str, *, note: str = "") -> None:
        """The stage is finished."""
        ...


class Silence:
    """Progress that nobody watches."""

    def begin(self, stage: str, total: int, *, reused: int = 0) -> None:
        """Say nothing."""

    def advance(self, stage: str, done: int = 1, *, note: str = "") -> None:
        """Say nothing."""

    def end(self, stage: str, *, note: str = "") -> None:
        """Say nothing."""
