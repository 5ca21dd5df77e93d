"""Whatever model a user has, as a target; and the recipe that retrains it, where it says enough about itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.backends.boosters import library_of, predict_lightgbm, predict_xgboost, xgboost_kind
from vestige.backends.function import CallableTarget
from vestige.backends.sklearn import SklearnRecipe, SklearnTarget
from vestige.backends.updated import Updated
from vestige.errors import ModelError, UsageError
from vestige.target import OutputKind, Recipe, Target

if TYPE_CHECKING:
    from vestige.records import Task

ANSWERING = ("predict_proba", "decision_function", "predict")
ESTIMATOR = ("predict_proba", "decision_function", "get_params", "classes_")
ACCEPTED = "an estimator, a booster, a torch module, a function x -> probabilities, or an object with query()"


def as_target(model: Any, *, task: Task, classes: Sequence[str] | int) -> Target:
    """Return ``model`` as a target.

    It may be a target already, an estimator or pipeline with scikit-learn's interface, an XGBoost or LightGBM booster,
    a torch module, a function from a batch to probabilities, logits, labels or values, or an `Updated` of such models.
    ``classes``: the names in index order, or how many there are. Raises ModelError or UsageError when it is none of
    these or cannot answer.
    """
    if isinstance(model, type):
        raise UsageError(
            f"Expected a trained model, got the class {model.__name__}.", hint="Pass an instance, after its fit."
        )
    if isinstance(model, str | os.PathLike):
        raise UsageError(
            f"Expected a model, got '{model}'.",
            hint="Read a model file with vestige.backends.loading.load_model first.",
        )
    if isinstance(model, Updated):
        return replace(model, snapshots=[as_target(one, task=task, classes=classes) for one in model.snapshots])
    if isinstance(model, Target):
        return model
    if _is_torch(model):
        return _torch_target(model, task, classes)
    if library := library_of(model):
        return _booster_target(model, library, task, classes)
    if hasattr(model, "predict") and not any(hasattr(model, name) for name in ESTIMATOR):
        return CallableTarget(model.predict, task=task, classes=classes)
    if any(hasattr(model, name) for name in ANSWERING):
        return SklearnTarget.wrap(model, task=task, classes=classes)
    if callable(model):
        return CallableTarget(model, task=task, classes=classes)
    raise ModelError(f"Expected {ACCEPTED}, got {type(model).__name__}.")


def default_recipe(model: Any) -> Recipe:
    """Return the recipe that trains models like ``model``; raises UsageError when it cannot say how it was trained."""
    if isinstance(model, SklearnTarget):
        model = model.estimator
    if hasattr(model, "get_params") and hasattr(model, "fit") and not isinstance(model, type):
        own = getattr(model, "classes_", None)
        labels = () if own is None or isinstance(own, list) else tuple(np.asarray(own).tolist())
        return SklearnRecipe(model, labels=labels, flatten=hasattr(model, "n_features_in_"))
    if _is_torch(model):
        raise UsageError(
            f"A {type(model).__name__} does not say how it was trained, and its shadow models must be trained so.",
            hint="Pass recipe=vestige.TorchRecipe(model=factory, epochs=…, …) with the training it had.",
        )
    raise UsageError(
        f"A {type(model).__name__} does not say how it was trained, and its shadow models must be trained so.",
        hint="Pass recipe=vestige.FunctionRecipe(train) with train(x, y, seed) -> model.",
    )


def _is_torch(model: Any) -> bool:
    return any(
        kind.__name__ == "Module" and kind.__module__ == "torch.nn.modules.module" for kind in type(model).__mro__
    )


def _torch_target(model: Any, task: Task, classes: Sequence[str] | int) -> Target:
    from vestige.backends.torch_target import TorchTarget

    count = classes if isinstance(classes, int) else len(classes)
    return TorchTarget.wrap(model, classes=0 if task == "regression" else count)


def _booster_target(model: Any, library: str, task: Task, classes: Sequence[str] | int) -> Target:
    if library == "lightgbm":
        kind: OutputKind | None = None if task == "regression" else "probabilities"
        return CallableTarget(partial(predict_lightgbm, booster=model), task=task, classes=classes, kind=kind)
    kind = None if task == "regression" else xgboost_kind(model)
    ask = partial(predict_xgboost, booster=model, margins=kind == "logits")
    return CallableTarget(ask, task=task, classes=classes, kind=kind)
