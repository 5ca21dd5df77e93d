"""When training ends early: a model's loss on records of the defender's own has not fallen for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """``rows`` are the validation records, ``patience`` the epochs without a loss lower by more than ``margin``."""

    rows: tuple[int, ...]
    patience: int = 10
    margin: float = 0.0


@dataclass(eq=False)
class Best:
    """One model's best weights so far; ``losses`` has its loss on the validation records after each epoch."""

    stopping: Stopping
    losses: list[float] = field(default_factory=list)
    epoch: int = -1
    state: Any = None

    def see(self, loss: float, state: Callable[[], Any]) -> None:
        """Note an epoch; ``state()`` is asked for only where it is the best so far."""
        # A loss that is not a number is never lower.
        if self.epoch < 0 or loss < self.losses[self.epoch] - self.stopping.margin:
            self.epoch, self.state = len(self.losses), state()
        self.losses.append(loss)

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return len(self.losses) - 1 - self.epoch >= self.stopping.patience
