"""Declaration: that a mechanism is Gaussian, without which a bound on μ means nothing, and what may be said with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import EpsilonBound, check_delta
from vestige.metrics.epsilon.gdp import gdp_epsilon
from vestige.metrics.estimate import share
from vestige.privacy_claim import GAUSSIAN, Mechanism

SEPARATE_NOISE = (
    "every canary is hidden by μ-Gaussian-DP noise that is independent of the other canaries' noise, as it is with one "
    "canary per trained model or with canaries whose updates are orthogonal"
)
ONLY_NEARLY = (
    "A composition of subsampled Gaussian steps is only approximately Gaussian-DP, so this is an estimate "
    "and not a bound."
)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What was declared of a mechanism, and the question asked: ε at ``delta`` with ``confidence``, by ``method``."""

    method: str
    mechanism: Mechanism
    delta: float
    confidence: float
    assumption: str = SEPARATE_NOISE

    def __post_init__(self) -> None:
        known = get_args(Mechanism)
        if self.mechanism not in known:
            raise UsageError(f"Expected the mechanism to be one of {', '.join(known)}, got {self.mechanism!r}.")
        check_delta(self.delta)
        share(self.confidence, "the confidence")

    @property
    def objection(self) -> str:
        """Why no ε follows from a bound on μ, or nothing."""
        if self.mechanism not in GAUSSIAN:
            return (
                f"This method holds only for a mechanism declared Gaussian, and this one is declared "
                f"{self.mechanism!r}; use a bound that assumes none."
            )
        if self.delta == 0:
            return "A Gaussian mechanism has no finite epsilon at delta 0; give the delta of the claim."
        return ""

    def refuse(self) -> EpsilonBound:
        """Return the bound without a value, and the objection."""
        return self._bound(None, None, reason=self.objection)

    def answer(self, mu: float, most: float, *, design: str, reason: str = "") -> EpsilonBound:
        """Return the ε of a lower bound ``mu`` on μ; ``most`` is the largest that these canaries could have given."""
        ceiling = gdp_epsilon(most, self.delta)
        return self._bound(min(gdp_epsilon(mu, self.delta), ceiling), ceiling, design=design, reason=reason)

    def _bound(self, value: float | None, ceiling: float | None, *, design: str = "", reason: str) -> EpsilonBound:
        nearly = self.mechanism == "subsampled_gaussian"
        caveats = [ONLY_NEARLY] if nearly and value is not None else []
        return EpsilonBound(
            method=self.method,
            kind="estimate" if nearly else "bound",
            assumption=self.assumption,
            delta=self.delta,
            confidence=self.confidence,
            value=value,
            ceiling=ceiling,
            design=design,
            reason=" ".join([*caveats, *([reason] if reason else [])]),
        )
