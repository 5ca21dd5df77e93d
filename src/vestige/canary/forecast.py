"""CanaryPlan: what a canary audit would train, and what it could show."""

from __future__ import annotations

from dataclasses import dataclass

from vestige.log import CanaryPower


@dataclass(frozen=True, kw_only=True)
class CanaryPlan:
    """``models``: to be trained in all, ``reused`` of them already in the store; ``rows``: records each trains on."""

    name: str
    kind: str
    canaries: int
    runs: int
    references: int
    models: int
    reused: int
    rows: int
    methods: tuple[str, ...]
    claim: float | None
    power: CanaryPower

    @property
    def trainings(self) -> int:
        """How many models are still to be trained."""
        return self.models - self.reused
