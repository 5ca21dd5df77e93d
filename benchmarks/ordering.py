"""The orderings that strong attacks are expected to keep, checked on measured figures.

At a low false-positive rate: plain loss, confidence and modified entropy lose to a difficulty-calibrated loss, which at
best equals offline LiRA, which at best equals online LiRA (Carlini et al. 2022, Table I). The first is asked of the
figures themselves; the others may be reversed within their intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestige.metrics import Estimate

PLAIN = ("loss", "confidence", "modified_entropy")


@dataclass(frozen=True)
class Expected:
    """The weaker attack is below the stronger one; with ``strict``, in the figures and not only within intervals."""

    weaker: str
    stronger: str
    strict: bool


EXPECTED = (
    *(Expected(name, "calibrated", True) for name in PLAIN),
    Expected("calibrated", "lira_offline", False),
    Expected("lira_offline", "lira", False),
)


def compare(
    runs: Sequence[Mapping[str, Any]], means: Mapping[str, Mapping[str, Estimate]], fpr: float
) -> list[dict[str, Any]]:
    """Return a verdict for each expected pair that ran and whose figures at this rate were not withheld."""
    verdicts = []
    for pair in EXPECTED:
        if pair.weaker not in means or pair.stronger not in means:
            continue
        low, high = means[pair.weaker][f"tpr@{fpr:g}"], means[pair.stronger][f"tpr@{fpr:g}"]
        if low.value is None or high.value is None:
            continue
        holds = bool(low.value < high.value) if pair.strict else overlaps_or_below(low, high)
        seeds = sum(_value(one, pair.weaker, fpr) < _value(one, pair.stronger, fpr) for one in runs)
        verdicts.append(
            {
                "fpr": fpr,
                "weaker": pair.weaker,
                "stronger": pair.stronger,
                "holds": holds,
                "sentence": sentence(pair, low, high, fpr, holds, seeds, len(runs)),
            }
        )
    return verdicts


def overlaps_or_below(low: Estimate, high: Estimate) -> bool:
    """Return whether the first figure may be at most the second, as far as their intervals can tell."""
    assert low.low is not None
    assert high.high is not None
    return bool(low.low <= high.high)


def _value(run: Mapping[str, Any], title: str, fpr: float) -> float:
    return float(run["attacks"][title]["figures"][f"tpr@{fpr:g}"]["value"])


def sentence(pair: Expected, low: Estimate, high: Estimate, fpr: float, holds: bool, seeds: int, of: int) -> str:
    """Return the verdict in words with its numbers."""
    assert low.value is not None
    assert high.value is not None
    apart = low.high is not None and high.low is not None and low.high < high.low
    how = "holds, intervals apart" if holds and apart else "holds" if holds and low.value < high.value else ""
    how = how or ("holds within the intervals" if holds else "DOES NOT HOLD")
    sign = "<" if pair.strict else "≤"
    return (
        f"TPR at {100 * fpr:g} % FPR, {pair.weaker} {sign} {pair.stronger}: {how} "
        f"({low.value:.4f} [{low.low:.4f}, {low.high:.4f}] against {high.value:.4f} [{high.low:.4f}, {high.high:.4f}]; "
        f"below in {seeds} of {of} seeds)"
    )
