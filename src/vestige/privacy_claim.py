"""PrivacyClaim: what differential privacy is said to hold for a model, in the words an accountant would use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vestige.errors import UsageError

Adjacency = Literal["add_remove", "replace_one"]
Mechanism = Literal["gaussian", "subsampled_gaussian", "laplace", "randomized_response", "other"]
Guarantee = Literal["G1", "G2", "G3", "G4"]
FORMAL = ("G1", "G2")
"""The guarantees that promise an (ε, δ)."""
GAUSSIAN = ("gaussian", "subsampled_gaussian")
"""The mechanisms with a Gaussian's trade-off curve, the second of them only nearly."""


@dataclass(frozen=True, kw_only=True)
class PrivacyClaim:
    """A claimed (ε, δ), and what an audit needs to know to judge it.

    ``guarantee``: G1 the released weights, G2 the answers, G3 utility only, G4 empirical only. ``mechanism``: declares
    what the noise is; bounds that assume a Gaussian mechanism refuse any other. ``mu``: for a declared Gaussian, its
    GDP parameter when known. ``ledger``: the accountant's events, as JSON. ``excludes``: what the claim leaves out.
    """

    epsilon: float
    delta: float = 0.0
    guarantee: Guarantee = "G1"
    unit: str = "record"
    adjacency: Adjacency = "add_remove"
    mechanism: Mechanism = "other"
    mu: float | None = None
    accountant: str = ""
    ledger: tuple[dict[str, Any], ...] = ()
    assumptions: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ("hyper-parameter selection",)

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise UsageError(f"Expected the claimed epsilon to be at least 0, got {self.epsilon}.")
        if not 0 <= self.delta < 1:
            raise UsageError(f"Expected the claimed delta to be at least 0 and below 1, got {self.delta}.")
        for topic, value, known in (
            ("adjacency", self.adjacency, get_args(Adjacency)),
            ("mechanism", self.mechanism, get_args(Mechanism)),
            ("guarantee", self.guarantee, get_args(Guarantee)),
        ):
            if value not in known:
                raise UsageError(f"Expected the claim's {topic} to be one of {', '.join(known)}, got {value!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)
