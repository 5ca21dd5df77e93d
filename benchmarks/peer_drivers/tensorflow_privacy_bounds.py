"""TF Privacy's ε lower bounds on the benchmark's audits: the largest of all thresholds, as its summary prints it.

The module with the mathematics is read from the wheel (or a checkout) by itself: TensorFlow is not loaded. Needs
numpy, scipy, scikit-learn and statsmodels.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import bound_audits
import numpy as np
import sklearn.metrics

SIGNIFICANCE = 0.05
INSIDE = "tensorflow_privacy/privacy/privacy_tests"
METHODS = {"Bailey (its default)": "BAILEY", "Clopper–Pearson": "CLOPPER_PEARSON", "Katz": "KATZ_LOG"}


def load(tool: Path) -> bound_audits.Bounds:
    bound_audits.stand_in("immutabledict", immutabledict=dict)
    ranking = sklearn.metrics._ranking  # what the tool reads
    if not hasattr(ranking, "_binary_clf_curve"):  # gone from newer releases
        ranking._binary_clf_curve = curve
    sys.path.append(str(tool / INSIDE))
    module = import_module("epsilon_lower_bound")

    def bound(method: str) -> bound_audits.Bound:
        def largest(inside: np.ndarray, outside: np.ndarray, _: float) -> float:
            found = module.EpsilonLowerBound(inside, outside, SIGNIFICANCE)
            values = found.compute_epsilon_lower_bound(module.BoundMethod[method], k=1)
            return max(float(values[0]), 0.0) if len(values) else 0.0

        return largest

    return bound_audits.Bounds({name: bound(method) for name, method in METHODS.items()}, pure=True)


def curve(y_true: np.ndarray, y_score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false and true positives at each distinct score, from the highest down, as scikit-learn did."""
    order = np.argsort(-y_score, kind="stable")
    scores, truth = y_score[order], y_true[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(truth)[last]
    return 1 + last - hits, hits, scores[last]


if __name__ == "__main__":
    bound_audits.serve(load)
