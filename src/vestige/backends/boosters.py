"""XGBoost and LightGBM boosters as functions, for `CallableTarget`."""

from __future__ import annotations

import json
from typing import Any

from numpy.typing import NDArray

from vestige.target import OutputKind

MARGINS = ("multi:softmax", "binary:logitraw", "binary:hinge")


def library_of(model: Any) -> str:
    """Return ``xgboost`` or ``lightgbm`` for a booster of theirs, else an empty text."""
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(model).__mro__}
    return next((library for library in ("xgboost", "lightgbm") if (library, "Booster") in kinds), "")


def xgboost_kind(booster: Any) -> OutputKind:
    """Return what a classifying booster answers: an objective that yields bare labels or margins shows its margins."""
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    return "logits" if objective in MARGINS else "probabilities"


def predict_xgboost(x: Any, *, booster: Any, margins: bool) -> NDArray[Any]:
    """Return a booster's predictions for a batch."""
    import xgboost

    names = None if hasattr(x, "columns") else booster.feature_names
    flat = x.reshape(len(x), -1) if getattr(x, "ndim", 2) > 2 else x
    answer: NDArray[Any] = booster.predict(
        xgboost.DMatrix(flat, feature_names=names, enable_categorical=True), output_margin=margins
    )
    return answer


def predict_lightgbm(x: Any, *, booster: Any) -> NDArray[Any]:
    """Return a booster's predictions for a batch."""
    flat = x.reshape(len(x), -1) if getattr(x, "ndim", 2) > 2 else x
    answer: NDArray[Any] = booster.predict(flat)
    return answer
