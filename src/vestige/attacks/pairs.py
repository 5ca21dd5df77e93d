"""What an attack model is shown of two answers, before and after an update."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from vestige.errors import UsageError
from vestige.target import FloatArray

Features = Literal["direct_concat", "sorted_concat", "direct_diff", "sorted_diff", "euclidean"]


def check_features(features: str) -> None:
    """Raise UsageError unless ``features`` names a way to show two answers."""
    if features not in get_args(Features):
        raise UsageError(f"Expected features to be {', '.join(get_args(Features))}, got '{features}'.")


def features_of(features: Features, pair: FloatArray) -> FloatArray:
    """Return (R, K) features of (R, 2C) probabilities: of the model without the update's records, then with them.

    Sorting puts both into the order in which the second falls, so that classes are no longer told apart. ``concat``
    shows both, ``diff`` the second minus the first, and ``euclidean`` the distance between them, one number.
    """
    without, having = np.split(np.asarray(pair, np.float32), 2, axis=1)
    if features.startswith("sorted"):
        order = np.argsort(-having, axis=1, kind="stable")
        without, having = (np.take_along_axis(one, order, axis=1) for one in (without, having))
    if features.endswith("concat"):
        return np.hstack([having, without])
    gap = having - without
    return np.sqrt((gap * gap).sum(axis=1, keepdims=True)) if features == "euclidean" else gap
