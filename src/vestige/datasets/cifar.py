"""CIFAR-10 and CIFAR-100, from the binary archives.

Fixed-length rows, which unlike the Python archives are not pickles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.formats import reading, tar_bytes

_HOME = "https://www.cs.toronto.edu/~kriz"
_PIXELS = 3 * 32 * 32


def _loader(archive: str, batches: tuple[str, ...], names: str, labels: int) -> Callable[[Mapping[str, Path]], Parts]:
    """Return a reader of rows of ``labels`` label bytes, of which the last is the class, and one image."""

    def load(paths: Mapping[str, Path]) -> Parts:
        path = paths[archive]
        content = tar_bytes(path, [*batches, names])
        with reading(path):
            rows = np.frombuffer(b"".join(content[name] for name in batches), np.uint8).reshape(-1, labels + _PIXELS)
        x = np.ascontiguousarray(rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        return Parts(x, rows[:, labels - 1].astype(np.int64), tuple(content[names].decode().split()))

    return load


CIFAR10 = Dataset(
    name="cifar10",
    description="CIFAR-10, 32×32 colour images of ten kinds of thing; training and test set together",
    shape=(60_000, 32, 32, 3),
    classes=10,
    licence="none stated; cite Krizhevsky 2009",
    home=f"{_HOME}/cifar.html",
    load=_loader(
        "cifar-10-binary.tar.gz",
        (
            *(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
            "cifar-10-batches-bin/test_batch.bin",
        ),
        "cifar-10-batches-bin/batches.meta.txt",
        1,
    ),
    variants=(
        (
            Source(
                name="cifar-10-binary.tar.gz",
                checksums=("md5:c32a1d4ab5d03f1284b67883e8d87530",),
                urls=(f"{_HOME}/cifar-10-binary.tar.gz",),
            ),
        ),
    ),
)

CIFAR100 = Dataset(
    name="cifar100",
    description="CIFAR-100, 32×32 colour images, the 100 fine classes; training and test set together",
    shape=(60_000, 32, 32, 3),
    classes=100,
    licence="none stated; cite Krizhevsky 2009",
    home=f"{_HOME}/cifar.html",
    load=_loader(
        "cifar-100-binary.tar.gz",
        ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
        "cifar-100-binary/fine_label_names.txt",
        2,
    ),
    variants=(
        (
            Source(
                name="cifar-100-binary.tar.gz",
                checksums=("md5:03b5dce01913d631647c71ecec9e9cb8",),
                urls=(f"{_HOME}/cifar-100-binary.tar.gz",),
            ),
        ),
    ),
)
