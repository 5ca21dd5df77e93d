"""The loss attack on a regression as a likelihood ratio: residuals are normal, members' with the smaller deviation.

Yeom, Giacomelli, Fredrikson & Jha, CSF 2018, section 3.2.
"""

from __future__ import annotations

import numpy as np

from vestige.attacks.base import Evidence
from vestige.errors import AuditError
from vestige.target import BoolArray, FloatArray

WANTS = 10


def deviation(residuals: FloatArray, which: BoolArray) -> float:
    """Return the root mean square of the residuals picked, 0 if there are none."""
    picked = residuals[which].astype(np.float64)
    return float(np.sqrt(np.mean(picked**2))) if picked.size else 0.0


def log_ratio(residuals: FloatArray, sigma_in: float, sigma_out: float) -> FloatArray:
    """Return log N(ε; σ_in) - log N(ε; σ_out) for each residual ε."""
    square = np.asarray(residuals, np.float64) ** 2
    return np.asarray(np.log(sigma_out / sigma_in) + 0.5 * square * (sigma_out**-2 - sigma_in**-2))


def gaussian_ratio(evidence: Evidence) -> FloatArray:
    """Return (N,) log-likelihood ratios of the target's residuals, with both deviations estimated on shadow models.

    Without one of the two sides, or without any error at all, the score is minus the squared residual.
    """
    own = evidence.target("residual")[:, 0].astype(np.float64)
    if not len(evidence.masks):
        raise AuditError("The Gaussian form of the loss attack needs at least one shadow model, got none.")
    shadows = evidence.reference("residual")[:, :, 0]
    sigma_in = deviation(shadows, evidence.masks)
    sigma_out = deviation(shadows, ~evidence.masks)
    if min(sigma_in, sigma_out) == 0.0:
        return -(own**2)
    return log_ratio(own, sigma_in, sigma_out)
