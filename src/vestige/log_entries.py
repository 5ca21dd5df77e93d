"""From statistics to the parts of a log: figures, curves and histograms as every audit writes them down."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from vestige.checks import Made
from vestige.defend.layers import Layers
from vestige.defend.recipes import described
from vestige.log import Check, Checked, Curve, Figure, Histogram, Layer
from vestige.metrics.estimate import Array, Estimate
from vestige.metrics.histogram import histogram
from vestige.metrics.roc import Roc
from vestige.metrics.targets import mean_band
from vestige.metrics.tpr import band
from vestige.target import Recipe

CURVE_POINTS = 120
_GRAVEST_FIRST = ("error", "warning", "info", "passed")


def figure(estimate: Estimate) -> Figure:
    """Return the log's form of an estimate."""
    return Figure(
        value=estimate.value, low=estimate.low, high=estimate.high, method=estimate.method, reason=estimate.reason
    )


def curve_of(curves: Sequence[Roc], confidence: float) -> Curve:
    """Return the curve to draw: the vertical average over the targets, at a drawable number of rates."""
    fewest = min(curve.nonmembers for curve in curves)
    rates = np.unique(np.concatenate([np.geomspace(0.5 / fewest, 1.0, CURVE_POINTS), [1 / fewest]]))
    drawn = mean_band([band(curve, rates, confidence=confidence) for curve in curves], confidence=confidence)
    return Curve(fpr=_short(drawn.fpr), tpr=_short(drawn.tpr), low=_short(drawn.low), high=_short(drawn.high))


def histogram_of(members: ArrayLike, nonmembers: ArrayLike) -> Histogram:
    """Return the shares of members' and of non-members' scores per bin."""
    bins = histogram(members, nonmembers)
    return Histogram(edges=_short(bins.edges), members=_short(bins.members), nonmembers=_short(bins.nonmembers))


def checked(made: Iterable[Made]) -> tuple[list[Check], list[Checked]]:
    """Return the doubts that checks raised, the gravest first, and every check with its outcome, each once."""
    doubts, outcomes = list[Check](), dict[str, str]()
    for id, found in made:
        level = "passed" if found is None else found.level
        outcomes[id] = min(level, outcomes.get(id, "passed"), key=_GRAVEST_FIRST.index)
        if found is not None:
            doubts.append(
                Check(id=found.id, level=found.level, message=found.message, cure=found.cure, cause=found.cause)
            )
    doubts.sort(key=lambda one: _GRAVEST_FIRST.index(one.level))
    return doubts, [Checked.model_validate({"id": id, "outcome": how}) for id, how in outcomes.items()]


def logged(layers: Layers, recipe: Recipe | None, members: int) -> list[Layer]:
    """Return what the log says of each defence: its parameters, what it guarantees, and its claim."""
    found: list[Layer] = []
    for name, defence in layers.named:
        params = {key: value for key, value in described(defence).items() if key != "defence"}
        own = None
        if recipe is not None and defence in layers.training:
            own = defence.claim(recipe, members)
        elif defence in layers.answers:
            own = defence.claim(None)
        found.append(
            Layer(
                name=name,
                params=params,
                guarantee=defence.guarantee,
                paper=defence.paper,
                claim=None if own is None else own.to_dict(),
                stage="answers" if defence in layers.answers else "training",
                adaptive=list(defence.adaptive),
            )
        )
    return found


def peak_rss_mb() -> float:
    """Return the most memory that this process has held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, or on macOS bytes
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def _short(values: Array) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
