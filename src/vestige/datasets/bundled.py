"""Datasets that scikit-learn carries: no file, no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vestige.datasets.base import Dataset, Parts
from vestige.errors import MissingDependency


def _sklearn(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependency("scikit-learn", extra="sklearn", purpose=f"The dataset '{name}'") from error
    return getattr(datasets, f"load_{name}")()


def _digits(_: Mapping[str, Path]) -> Parts:
    bunch = _sklearn("digits")
    return Parts((bunch.data / 16).astype(np.float32), bunch.target, tuple(str(d) for d in range(10)))


def _standardised(name: str) -> Callable[[Mapping[str, Path]], Parts]:
    def load(_: Mapping[str, Path]) -> Parts:
        bunch = _sklearn(name)
        x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
        return Parts(x.astype(np.float32), bunch.target, tuple(str(c) for c in bunch.target_names))

    return load


DIGITS = Dataset(
    name="digits",
    description="Handwritten digits, 8×8 grey levels scaled to [0, 1]; carried by scikit-learn",
    shape=(1797, 64),
    classes=10,
    licence="CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
    home="https://archive.ics.uci.edu/dataset/80",
    load=_digits,
)

BREAST_CANCER = Dataset(
    name="breast_cancer",
    description="Breast cancer Wisconsin (diagnostic), 30 standardised measurements; carried by scikit-learn",
    shape=(569, 30),
    classes=2,
    licence="CC BY 4.0 (UCI)",
    home="https://archive.ics.uci.edu/dataset/17",
    load=_standardised("breast_cancer"),
)

WINE = Dataset(
    name="wine",
    description="Wine recognition, 13 standardised measurements; carried by scikit-learn; small, for trying things out",
    shape=(178, 13),
    classes=3,
    licence="CC BY 4.0 (UCI)",
    home="https://archive.ics.uci.edu/dataset/109",
    load=_standardised("wine"),
)
