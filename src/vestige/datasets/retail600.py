"""Retail-600: real market baskets, clustered into classes as Purchase-100 was. It is not Purchase-100."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.formats import reading


def _load(paths: Mapping[str, Path]) -> Parts:
    path = paths["retail600_kmeans100.npz"]
    with reading(path), np.load(path, allow_pickle=False) as content:
        x = np.unpackbits(content["x_packed"], axis=1)[:, : int(content["n_features"])]
        return Parts(x, content["y"], tuple(str(label) for label in range(100)))


RETAIL600 = Dataset(
    name="retail600",
    description="Retail-600, market baskets of the 600 most bought items, 100 k-means classes; 0/1 features, no "
    "duplicates; not Purchase-100; derived, found in VESTIGE_DATA only",
    shape=(50_731, 600),
    classes=100,
    licence="donated by T. Brijs for research; cite Brijs et al. 1999",
    home="http://fimi.uantwerpen.be/data/",
    load=_load,
    variants=(
        (
            Source(
                name="retail600_kmeans100.npz",
                checksums=("sha256:413a70b1e7098e107fca909073732fd2df1b6aca9576faca883f7de0ff4ec987",),
            ),
        ),
    ),
)
