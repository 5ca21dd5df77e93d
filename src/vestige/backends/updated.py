"""A model that was updated: what it was before can still be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vestige.errors import UsageError
from vestige.target import Access, Outputs, Target, require


@dataclass(frozen=True, eq=False)
class Updated:
    """A model before and after one or more updates; it answers as it is now, after the last.

    ``snapshots``: the models in order of time, at least two, each a target (`vestige.audit` takes whatever it takes as
    a model). ``removed``: whether the updates took records away, as unlearning does, instead of adding some. A member
    of an audit of it is a record that an update added or removed; records that it was trained on before and after are
    neither member nor non-member, and belong in no audit. Raises UsageError for fewer than two snapshots.
    """

    snapshots: Sequence[Target]
    removed: bool = False

    def __post_init__(self) -> None:
        given: object = self.snapshots
        if not isinstance(given, Sequence) or len(given) < 2:
            raise UsageError(
                "Expected the model before its update and after it, at least two snapshots in order of time.",
                hint="Write vestige.Updated([before, after]).",
            )
        object.__setattr__(self, "snapshots", tuple(self.snapshots))

    @property
    def access(self) -> Access:
        """Scores, if every snapshot shows them: who compares models asks them, and does not open them."""
        return min(Access.SCORE, *(one.access for one in self.snapshots))

    @property
    def columns(self) -> Any:
        """Which classes the model knows, where it says so."""
        return getattr(self.snapshots[-1], "columns", None)

    @property
    def was_training(self) -> bool:
        """Whether any snapshot was handed over in training mode."""
        return any(getattr(one, "was_training", False) for one in self.snapshots)

    @property
    def notes(self) -> tuple[str, ...]:
        """What training the snapshots had to say."""
        return tuple(dict.fromkeys(note for one in self.snapshots for note in getattr(one, "notes", ())))

    @property
    def state(self) -> Callable[[], dict[str, Any]]:
        """What returns the weights of all snapshots; raises AttributeError where they have none to store."""
        states = [one.state for one in self.snapshots]  # type: ignore[attr-defined]
        return lambda: {f"{place}/{name}": v for place, own in enumerate(states) for name, v in own().items()}

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer as the last snapshot does."""
        require(self, want)
        return self.snapshots[-1].query(x, want)
