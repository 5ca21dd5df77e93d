"""opake's ε bounds on the benchmark's audits. Needs numpy and scipy; torch and opake's other wheels are not loaded.

`gdp` takes seconds a call, but says the same whenever as many guesses are wrong, and less the more are. So it is asked
only as often as it takes to place the truth and the median among the audits' numbers of wrong guesses.
"""

from __future__ import annotations

import time
from functools import cache
from importlib import import_module
from pathlib import Path

import bound_audits
import numpy as np

SIGNIFICANCE = 0.05
ERRORS = ("ConfigurationError", "InputTypeError", "OperationError")


class Partition:
    """Scores that are divided already, where opake divides them by the canaries' numbers."""

    canary_indices = None

    def __init__(self, inside: np.ndarray, outside: np.ndarray) -> None:
        self.parts = inside, outside

    def split_scores(self, _: object) -> tuple[np.ndarray, np.ndarray]:
        """Return included and left out."""
        return self.parts


def load(tool: Path) -> bound_audits.Bounds:
    bound_audits.bare_package("opake", tool / "opake")
    bound_audits.bare_package("opake.api", tool / "opake" / "api")
    bound_audits.bare_package("opake.api.auditing", tool / "opake" / "api" / "auditing")
    bound_audits.stand_in("opake.exceptions", **{name: type(name, (ValueError,), {}) for name in ERRORS})
    one_run = import_module("opake.api.auditing.one_run").one_run
    gdp_module = import_module("opake.api.auditing.one_run._gdp")

    def estimate(inside: np.ndarray, outside: np.ndarray):
        return one_run(None, coin_flip=Partition(inside, outside))

    def eps_delta(inside: np.ndarray, outside: np.ndarray, delta: float) -> float:
        return estimate(inside, outside).eps_delta().epsilon_at(delta=delta, significance=SIGNIFICANCE)

    def gdp(pairs: bound_audits.Pairs, delta: float, truth: float) -> dict:
        found = [estimate(*pair) for pair in pairs]
        remember(gdp_module)
        return judged(found, delta, truth)

    def noise(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
        found = estimate(inside, outside)
        return found.attack_auc(), 1 - float(found.attack_beta_at(alpha=0.01))

    return bound_audits.Bounds({"eps_delta": eps_delta}, noise=noise, whole={"gdp (its default)": gdp})


def judged(estimates: list, delta: float, truth: float) -> dict:
    """Return the figures of `gdp` over all audits, from as few calls as its monotony allows."""
    wrong = np.array([each._best_r_u()[1] for each in estimates])
    by_count = dict(zip(wrong.tolist(), estimates, strict=True))
    taken = []

    @cache
    def value(count: int) -> float:
        start = time.process_time()
        answer = by_count[count].gdp().epsilon_at(delta=delta, significance=SIGNIFICANCE)
        taken.append(time.process_time() - start)
        return answer

    counts = sorted(by_count)
    median = value(int(np.sort(wrong)[len(wrong) // 2]))
    low, high = 0, len(counts)  # the bound exceeds the truth for the first ``low`` counts, not from ``high`` on
    while low < high:
        middle = (low + high) // 2
        if value(counts[middle]) > truth + bound_audits.TOLERANCE:
            low = middle + 1
        else:
            high = middle
    exceeded = int(np.sum(wrong < (counts[low] if low < len(counts) else np.inf)))
    figures = {"audits": len(wrong), "crashes": 0, "first_crash": "", "exceeded": exceeded, "median": median}
    return figures | {"seconds": max(taken)}


def remember(module) -> None:
    """Keep what was computed for a given μ; the search halves one interval, so that calls share most of it."""
    if hasattr(module, "remembered"):
        return
    module.remembered, compute = {}, module._compute_v_k

    def remembered(canaries: int, guessed: int, grid):
        key = canaries, guessed, float(grid.z.max()), len(grid.z)
        if key not in module.remembered:
            module.remembered[key] = compute(canaries, guessed, grid)
        return module.remembered[key]

    module._compute_v_k = remembered


if __name__ == "__main__":
    bound_audits.serve(load)
