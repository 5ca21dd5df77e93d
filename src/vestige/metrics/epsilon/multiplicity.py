"""Several bounds or tests at once: the error that is permitted is shared out beforehand, never "the best of all"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vestige.errors import UsageError
from vestige.metrics.epsilon.base import EpsilonBound
from vestige.metrics.epsilon.thresholds import shares
from vestige.metrics.estimate import share

Computed = Callable[[float], EpsilonBound]
"""Confidence → the bound at that confidence."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Bounds that hold all at once, and the largest of them, which is therefore a bound too.

    ``bounds``: by name, each at the higher confidence that its share of the error leaves it.
    """

    bounds: dict[str, EpsilonBound]
    largest: EpsilonBound
    source: str

    def refuting(self, claimed: float) -> list[str]:
        """Return the names of all bounds that exceed a claim."""
        return [name for name, bound in self.bounds.items() if bound.refutes(claimed)]


def family(
    bounds: Mapping[str, Computed], *, confidence: float = 0.95, weights: Mapping[str, float] | None = None
) -> Family:
    """Return the bounds, each at its share of the permitted error, and their largest at ``confidence``.

    ``bounds``: by name (an attack, a slice, a method), what computes each at a confidence. All must have been decided
    on before any was seen; ``weights`` too, equal unless given. A bound that is refused keeps its share. Raises
    UsageError for no bounds, for weights that do not match, for several values of δ, and for an estimate, which has no
    error to share.
    """
    error = 1 - share(confidence, "the confidence")
    if not bounds:
        raise UsageError("Expected at least one bound to compute, got none.")
    if weights is not None and set(weights) != set(bounds):
        raise UsageError(
            f"Expected a weight for each of {', '.join(bounds)}, got weights for {', '.join(weights) or 'none'}."
        )
    parts = shares(None if weights is None else [weights[name] for name in bounds], len(bounds))
    found = {name: compute(1 - error * part) for (name, compute), part in zip(bounds.items(), parts, strict=True)}
    for name, bound in found.items():
        if bound.kind != "bound":
            raise UsageError(
                f"Expected bounds only, but {name} ({bound.method}) is an estimate.", hint="Report estimates apart."
            )
    if len({bound.delta for bound in found.values()}) > 1:
        raise UsageError("Expected all bounds at the same delta, got several.")
    return _family(found, confidence)


def _family(found: dict[str, EpsilonBound], confidence: float) -> Family:
    known = {name: bound.value for name, bound in found.items() if bound.value is not None}
    ceilings = [found[name].ceiling for name in known]
    unknown = not ceilings or None in ceilings
    first = max(known, key=lambda name: known[name]) if known else next(iter(found))
    best = found[first]
    several = f"; the largest of {len(found)} declared beforehand, error split" if len(found) > 1 else ""
    everyone = list(dict.fromkeys(bound.assumption for bound in found.values()))
    largest = EpsilonBound(
        method=best.method,
        assumption=" and ".join(everyone),
        delta=best.delta,
        confidence=float(confidence),
        value=best.value,
        ceiling=None if unknown else max(ceiling for ceiling in ceilings if ceiling is not None),
        design=best.design + several,
        reason=best.reason,
    )
    return Family(bounds=found, largest=largest, source=first)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return adjusted p-values: rejecting those at most α errs anywhere with probability at most α (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    names = list(p_values)
    given = np.array([float(p_values[name]) for name in names])
    if not ((given >= 0) & (given <= 1)).all():
        raise UsageError("Expected p-values between 0 and 1.")
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(stepped, 1.0)
    return {name: float(value) for name, value in zip(names, adjusted, strict=True)}
