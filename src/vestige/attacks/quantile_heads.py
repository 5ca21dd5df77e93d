"""Regressors that learn a mean and a deviation from features: the Gaussian heads of the quantile attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.attacks.moments import Floats
from vestige.errors import MissingDependency

Head = Callable[[Floats], tuple[Floats, Floats]]
Predict = Callable[[Floats], Floats]
_FOLDS = 3
_PENALTIES = 10.0 ** np.arange(-3, 7)
_LOG_CHI_SQUARE = -1.2703628454614782  # mean of log z² for standard normal z
_WIDEST = 2000  # columns beyond which squares are left out of the linear head


def linear(x: Floats, y: Floats) -> Head:
    """Learn by ridge regression on features and their squares, penalties by generalised cross-validation.

    (n, d) features and (n,) values give a function from (m, d) to (m,) means and (m,) deviations.
    """
    mean, left_out = _ridge(_expand(x), y)
    floor = 1e-6 * float(np.mean(left_out**2)) + np.finfo(np.float64).tiny
    log_square, log_left_out = _ridge(_expand(x), np.log(left_out**2 + floor))
    fitted = np.log(left_out**2 + floor) - log_left_out
    low, high = np.quantile(fitted, [0.01, 0.99])

    def predict(features: Floats) -> tuple[Floats, Floats]:
        spread = np.clip(log_square(_expand(features)), low, high)
        return mean(_expand(features)), np.exp((spread - _LOG_CHI_SQUARE) / 2)

    return _standardised(predict, left_out / np.exp((np.clip(fitted, low, high) - _LOG_CHI_SQUARE) / 2))


def boosted(x: Floats, y: Floats, *, seed: int) -> Head:
    """Learn by gradient-boosted trees; deviations from squared residuals on folds that the mean was not learnt on."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise MissingDependency("scikit-learn", extra="sklearn", purpose="Quantile regression with trees") from error

    def trees(loss: str) -> Any:
        return HistGradientBoostingRegressor(
            loss=loss, learning_rate=0.1, max_iter=200, max_leaf_nodes=15, l2_regularization=1.0,
            early_stopping=True, n_iter_no_change=8, random_state=seed % 2**32,
        )  # fmt: skip

    fold = np.arange(len(y)) % _FOLDS
    squares, scales = np.empty(len(y)), np.empty(len(y))
    for part in range(_FOLDS):
        here = fold == part
        squares[here] = (y[here] - trees("squared_error").fit(x[~here], y[~here]).predict(x[here])) ** 2
    squares += 1e-6 * squares.mean() + np.finfo(np.float64).tiny
    for part in range(_FOLDS):
        here = fold == part
        scales[here] = trees("gamma").fit(x[~here], squares[~here]).predict(x[here])
    mean, square = trees("squared_error").fit(x, y), trees("gamma").fit(x, squares)
    low = 1e-3 * float(squares.mean())

    def predict(features: Floats) -> tuple[Floats, Floats]:
        return mean.predict(features), np.sqrt(np.maximum(square.predict(features), low))

    return _standardised(predict, np.sqrt(squares / np.maximum(scales, low)))


def _standardised(head: Head, left_out: Floats) -> Head:
    """Stretch a head's deviations so that values it was not learnt on lie one deviation off in root mean square."""
    stretch = float(np.sqrt(np.mean(left_out**2)))

    def predict(features: Floats) -> tuple[Floats, Floats]:
        mean, deviation = head(features)
        return mean, deviation * (stretch if stretch > 0 else 1.0)

    return predict


def _expand(x: Floats) -> Floats:
    return x if 2 * x.shape[1] > _WIDEST else np.concatenate([x, x * x], axis=1)


def _ridge(x: Floats, y: Floats) -> tuple[Predict, NDArray[np.float64]]:
    """Return a predictor and the residual that each value would have if it had been left out."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-9 * (1 + np.abs(centre)), scale, np.inf)
    z = (x - centre) / scale
    offset = float(y.mean())
    values, vectors = np.linalg.eigh(z.T @ z)
    values = np.maximum(values, 0.0)
    rotated = z @ vectors
    aligned = rotated.T @ (y - offset)
    best: tuple[float, Floats, Floats] | None = None
    for penalty in _PENALTIES:
        shrink = 1 / (values + penalty)
        residual = (y - offset) - rotated @ (shrink * aligned)
        freedom = 1 - (1 + float((values * shrink).sum())) / len(y)
        score = float(np.mean(residual**2)) / max(freedom, 1e-3) ** 2
        if best is None or score < best[0]:
            leverage = 1 / len(y) + np.einsum("nd,nd,d->n", rotated, rotated, shrink)
            best = score, vectors @ (shrink * aligned), residual / np.maximum(1 - leverage, 1e-3)
    assert best is not None
    weights, left_out = best[1], best[2]

    def predict(features: Floats) -> Floats:
        result: Floats = (features - centre) / scale @ weights + offset
        return result

    return predict, left_out
