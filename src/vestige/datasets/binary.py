"""Location-30, Purchase-100 and Texas-100: the 0/1 tables of Shokri et al. (2017)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.formats import read_binary_table, read_small, reading, tar_bytes

_HOME = "https://github.com/privacytrustlab/datasets"
_CONVERTED = "https://github.com/xehartnort/Purchase100-Texas100-datasets"
_LICENCE = "none stated (public research data)"


def _classes(count: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(1, count + 1))


def _location30(paths: Mapping[str, Path]) -> Parts:
    if npz := paths.get("location30.npz"):
        with reading(npz), np.load(npz, allow_pickle=False) as content:
            return Parts(content["x"], _names(content["y"]), _classes(30))
    archive = paths["dataset_location.tgz"]
    x, labels = read_binary_table(tar_bytes(archive, ["bangkok"])["bangkok"].splitlines(), 446)
    return Parts(x, np.array(labels).astype(np.str_), _classes(30))


def _purchase100(paths: Mapping[str, Path]) -> Parts:
    if npz := paths.get("purchase100.npz"):
        return Parts(read_small(npz, "features"), _names(read_small(npz, "labels").argmax(axis=1)), _classes(100))
    archive = paths["dataset_purchase.tgz"]
    x, labels = read_binary_table(tar_bytes(archive, ["dataset_purchase"])["dataset_purchase"].splitlines(), 600)
    return Parts(x, np.array(labels).astype(np.str_), _classes(100))


def _texas100(paths: Mapping[str, Path]) -> Parts:
    if npz := paths.get("texas100.npz"):
        return Parts(read_small(npz, "features"), _names(read_small(npz, "labels").argmax(axis=1)), _classes(100))
    content = tar_bytes(paths["dataset_texas.tgz"], ["texas/100/feats", "texas/100/labels"])
    x, _ = read_binary_table(content["texas/100/feats"].splitlines(), 6169)
    return Parts(x, np.array(content["texas/100/labels"].split()).astype(np.str_), _classes(100))


def _names(
    indices: np.ndarray[tuple[int, ...], np.dtype[np.integer]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    """Class names, which are the labels of the original files, of indices that start at 0."""
    return (indices + 1).astype(np.int64).astype(np.str_)


def _original(name: str, *checksums: str) -> tuple[Source, ...]:
    return (Source(name=name, checksums=checksums, urls=(f"{_HOME}/raw/master/{name}",)),)


def _converted(name: str, blob: str) -> tuple[Source, ...]:
    return (Source(name=name, checksums=(f"git:{blob}",), urls=(f"{_CONVERTED}/raw/master/{name}",)),)


LOCATION30 = Dataset(
    name="location30",
    description="Location-30, check-ins in Bangkok, the classic membership-inference set; 0/1 features",
    shape=(5010, 446),
    classes=30,
    licence="none stated (public research data, derived from Foursquare)",
    home=_HOME,
    load=_location30,
    variants=(
        (
            Source(
                name="location30.npz",
                checksums=("sha256:917535fd17d0e642fc1d419c5b6b009750faf8baa2d10685556da799b0df2a44",),
            ),
        ),
        _original("dataset_location.tgz", "sha256:927203f85a868f8ee17a0ded1dc61699efe602167beabe34fbf45b4b1de94b33"),
    ),
)

PURCHASE100 = Dataset(
    name="purchase100",
    description="Purchase-100, items bought by customers, 100 k-means classes; 0/1 features",
    shape=(197_324, 600),
    classes=100,
    licence=_LICENCE,
    home=_HOME,
    load=_purchase100,
    variants=(
        _original("dataset_purchase.tgz", "git:3efa7476ad5ed7ac3e558d28585a186b38fc5f19"),
        _converted("purchase100.npz", "aa8b5b1d2f4066c2144959bdf2e284031b199e39"),
    ),
)

TEXAS100 = Dataset(
    name="texas100",
    description="Texas-100, hospital stays and the 100 most frequent procedures; 0/1 features",
    shape=(67_330, 6169),
    classes=100,
    licence=_LICENCE,
    home=_HOME,
    load=_texas100,
    variants=(
        _original("dataset_texas.tgz", "git:966f7ff40b24cf5912ff84759aab9adb8c25f30e"),
        _converted("texas100.npz", "b9be7604db17e9b09ee1b53e2e7c715186c0ff19"),
    ),
)
