"""What estimators call the weight of a quadratic penalty, and training that stops early."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vestige.backends.estimators import named
from vestige.backends.sklearn import SklearnRecipe
from vestige.errors import ConfigError

_ALPHA = ("MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor", "Ridge", "RidgeClassifier", "KernelRidge")
_INVERSE = ("LogisticRegression", "LinearSVC", "LinearSVR", "SVC", "SVR")
_BOOSTERS = ("XGBModel", "LGBMModel")
_HISTOGRAMS = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_FLAGGED = ("MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor", "Perceptron", *_HISTOGRAMS)
_COUNTED = ("GradientBoostingClassifier", "GradientBoostingRegressor")


def penalised(recipe: SklearnRecipe, weight: float) -> SklearnRecipe:
    """Return the recipe with a quadratic penalty: alpha, reg_lambda or l2_regularization, or C as one over it."""
    kinds = _kinds(recipe)
    if kinds & {*_ALPHA}:
        return _set(recipe, {"alpha": weight})
    if kinds & {*_INVERSE}:
        if not weight:
            raise ConfigError(f"{named(recipe.estimator)} has a penalty always: weight must be above 0.")
        return _set(recipe, {"C": 1 / weight})
    if kinds & {*_BOOSTERS}:
        return _set(recipe, {"reg_lambda": weight})
    if kinds & {*_HISTOGRAMS}:
        return _set(recipe, {"l2_regularization": weight})
    raise ConfigError(f"The defence 'l2' knows no quadratic penalty of {named(recipe.estimator)}.", hint="Remove it.")


def stopped(recipe: SklearnRecipe, patience: int) -> SklearnRecipe:
    """Return the recipe with the estimator's own early stopping, on a part of its training records."""
    kinds = _kinds(recipe)
    if kinds & {*_FLAGGED}:
        if getattr(_last(recipe.estimator), "solver", None) == "lbfgs":
            raise ConfigError("An MLP with solver = 'lbfgs' cannot stop early.", hint="Use solver = 'adam'.")
        return _set(recipe, {"early_stopping": True, "n_iter_no_change": patience})
    if kinds & {*_COUNTED}:
        return _set(recipe, {"n_iter_no_change": patience})
    raise ConfigError(f"The defence 'early_stopping' cannot stop {named(recipe.estimator)}.", hint="Remove it.")


def _last(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return _last(steps[-1][1]) if steps else estimator


def _kinds(recipe: SklearnRecipe) -> set[str]:
    return {kind.__name__ for kind in type(_last(recipe.estimator)).__mro__}


def _set(recipe: SklearnRecipe, choices: Mapping[str, Any]) -> SklearnRecipe:
    estimator = copy.deepcopy(recipe.estimator)
    _last(estimator).set_params(**choices)
    return replace(recipe, estimator=estimator)
