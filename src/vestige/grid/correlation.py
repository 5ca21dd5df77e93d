"""Does the divergence of a target's answers foretell what attacks will find? One point per target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from vestige.grid.results import Correlation, GridCell
from vestige.log_parts import Figure

STRONGEST = "the strongest attack"
FEWEST = 3
FEWEST_FOR_INTERVAL = 4


def correlations(cells: Sequence[GridCell], *, confidence: float = 0.95) -> list[Correlation]:
    """Return, for each signal and attack, how AUC goes with divergence; withheld below three targets.

    Cells that attack one target have one divergence, so their AUCs are averaged first.
    """
    signals = list(dict.fromkeys(one.signal for cell in cells for one in cell.divergence))
    names = list(dict.fromkeys(r.attack for cell in cells for r in cell.results if r.auc.value is not None))
    return [
        _correlation(signal, attack, _points(cells, signal, attack), confidence)
        for signal in signals
        for attack in ([STRONGEST, *names] if names else [])
    ]


def _points(cells: Sequence[GridCell], signal: str, attack: str) -> list[tuple[float, float]]:
    seen: dict[str, tuple[float, list[float]]] = {}
    for cell in cells:
        unlike = next((one.value.value for one in cell.divergence if one.signal == signal), None)
        found = [r.auc.value for r in cell.results if attack in (STRONGEST, r.attack) and r.auc.value is not None]
        if unlike is not None and found:
            seen.setdefault(cell.target, (unlike, []))[1].append(max(found))
    return [(unlike, float(np.mean(areas))) for unlike, areas in seen.values()]


def _correlation(signal: str, attack: str, points: list[tuple[float, float]], confidence: float) -> Correlation:
    made = Correlation(signal=signal, attack=attack, targets=len(points))
    if len(points) < FEWEST:
        reason = f"{len(points)} {'target' if len(points) == 1 else 'targets'}, and a correlation needs {FEWEST}"
        return made.model_copy(update={"pearson": Figure(reason=reason)})
    x, y = np.array(points).T
    if np.ptp(x) < 1e-12 or np.ptp(y) < 1e-12:
        return made.model_copy(update={"pearson": Figure(reason="all targets are alike")})
    value = float(np.corrcoef(x, y)[0, 1])
    figure = Figure(value=value)
    if len(points) >= FEWEST_FOR_INTERVAL and abs(value) < 1:
        reach = float(-special.ndtri((1 - confidence) / 2)) / math.sqrt(len(points) - 3)
        ends = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
        figure = Figure(value=value, low=float(ends[0]), high=float(ends[1]), method="Fisher's z")
    return made.model_copy(update={"pearson": figure, "spearman": float(stats.spearmanr(x, y).statistic)})
