"""Named public datasets: where they come from, what they must contain, and how they are read.

Adding one is a small module with a `Dataset` and a line in `DATASETS`; other packages use the entry-point group
``vestige.datasets``.
"""

from __future__ import annotations

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.datasets.fetch import Progress, locate
from vestige.errors import UsageError
from vestige.records import Records
from vestige.registry import Registry
from vestige.seeds import rng

__all__ = ["DATASETS", "Dataset", "Parts", "Source", "load_dataset"]

DATASETS = Registry(
    "datasets",
    {
        "digits": "vestige.datasets.bundled:DIGITS",
        "breast_cancer": "vestige.datasets.bundled:BREAST_CANCER",
        "wine": "vestige.datasets.bundled:WINE",
        "location30": "vestige.datasets.binary:LOCATION30",
        "purchase100": "vestige.datasets.binary:PURCHASE100",
        "texas100": "vestige.datasets.binary:TEXAS100",
        "retail600": "vestige.datasets.retail600:RETAIL600",
        "cifar10": "vestige.datasets.cifar:CIFAR10",
        "cifar100": "vestige.datasets.cifar:CIFAR100",
        "cifar10_20k": "vestige.datasets.cifar10_20k:CIFAR10_20K",
        "mnist": "vestige.datasets.mnist:MNIST",
        "fashion_mnist": "vestige.datasets.mnist:FASHION_MNIST",
        "adult": "vestige.datasets.adult:ADULT",
        "german_credit": "vestige.datasets.german_credit:GERMAN_CREDIT",
    },
)


def load_dataset(name: str, *, limit: int | None = None, seed: int = 0, progress: Progress | None = None) -> Records:
    """Return the dataset called ``name``, its training and test parts together, as records.

    ``limit``: at most so many records, drawn with ``seed`` and kept in their order; ``progress``: called with the
    file's name, the bytes done and their total (0 when unknown) while a file is downloaded. Raises UsageError for an
    unknown name, DataError when a file can be neither found nor downloaded, or is not what was published.
    """
    dataset: Dataset = DATASETS.get(name)
    if limit is not None and limit < 2:
        raise UsageError(f"Expected a limit of at least 2 records, got {limit}.")
    parts = dataset.load(locate(dataset, progress))
    records = Records.build(parts.x, parts.y, groups=parts.groups, classes=parts.classes, name=dataset.name)
    if limit is None or limit >= len(records):
        return records
    return records.take(np.sort(rng(seed, "limit", name).permutation(len(records))[:limit]).astype(np.int64))
