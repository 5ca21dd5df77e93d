"""MNIST and Fashion-MNIST: 28×28 grey images in idx files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.formats import read_idx

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip


def _read(paths: Mapping[str, Path], classes: tuple[str, ...]) -> Parts:
    images, labels, more_images, more_labels = (read_idx(paths[name]) for name in _FILES)
    return Parts(np.concatenate([images, more_images]), np.concatenate([labels, more_labels]).astype(np.int64), classes)


def _mnist(paths: Mapping[str, Path]) -> Parts:
    return _read(paths, tuple(str(digit) for digit in range(10)))


def _fashion(paths: Mapping[str, Path]) -> Parts:
    return _read(paths, _CLOTHES)


def _sources(homes: tuple[str, ...], checksums: tuple[tuple[str, ...], ...]) -> tuple[Source, ...]:
    return tuple(
        Source(name=name, checksums=accepted, urls=tuple(f"{home}/{name}" for home in homes))
        for name, accepted in zip(_FILES, checksums, strict=True)
    )


MNIST = Dataset(
    name="mnist",
    description="MNIST, handwritten digits, 28×28 grey levels; training and test set together",
    shape=(70_000, 28, 28),
    classes=10,
    licence="CC BY-SA 3.0 as commonly stated; cite LeCun et al. 1998",
    home="http://yann.lecun.com/exdb/mnist/",
    load=_mnist,
    variants=(
        _sources(
            ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
            (
                ("md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",),
                ("md5:d53e105ee54ea40749a09fcbcd1e9432",),
                ("md5:9fb629c4189551a2d022fa330f9573f3",),
                ("md5:ec29112dd5afa0611ce80d1b7f02629c",),
            ),
        ),
    ),
)

FASHION_MNIST = Dataset(
    name="fashion_mnist",
    description="Fashion-MNIST, clothes, 28×28 grey levels; training and test set together",
    shape=(70_000, 28, 28),
    classes=10,
    licence="MIT (Zalando SE 2017)",
    home="https://github.com/zalandoresearch/fashion-mnist",
    load=_fashion,
    variants=(
        _sources(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
            (
                (
                    "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "sha256:b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                ),
                (
                    "md5:25c81989df183df01b3e8a0aad5dffbe",
                    "sha256:0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                ),
                (
                    "md5:bef4ecab320f06d8554ea6380940ec79",
                    "sha256:cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                ),
                (
                    "md5:bb300cfdad3c16e7a12a480ee83cd310",
                    "sha256:8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
                ),
            ),
        ),
    ),
)
