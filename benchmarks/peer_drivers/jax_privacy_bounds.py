"""JAX Privacy's ε bounds on the benchmark's audits. Needs numpy, scipy and dp_accounting; JAX itself is not loaded."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import bound_audits
import numpy as np

SIGNIFICANCE = 0.05
METHODS = {
    "clopper_pearson": "epsilon_clopper_pearson",
    "one_run": "epsilon_one_run",
    "one_run_fdp": "epsilon_one_run_fdp",
    "from_gdp": "epsilon_from_gdp",
}


def load(tool: Path) -> bound_audits.Bounds:
    bound_audits.bare_package("jax_privacy", tool / "jax_privacy")
    auditor = import_module("jax_privacy.auditing").CanaryScoreAuditor

    def bound(method: str) -> bound_audits.Bound:
        return lambda inside, outside, delta: getattr(auditor(inside, outside), method)(SIGNIFICANCE, delta)

    def noise(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
        found = auditor(inside, outside)
        return float(found.attack_auroc()), float(found.tpr_at_given_fpr(0.01))

    return bound_audits.Bounds({name: bound(method) for name, method in METHODS.items()}, noise=noise)


if __name__ == "__main__":
    bound_audits.serve(load)
