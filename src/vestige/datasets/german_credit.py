"""Statlog German credit: which borrowers of a German bank were a good risk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.table_files import read_csv
from vestige.tables import encode

COLUMNS = (
    "checking", "duration", "history", "purpose", "amount", "savings", "employment", "instalment-rate", "personal",
    "guarantors", "residence", "property", "age", "other-instalments", "housing", "credits", "job", "dependants",
    "telephone", "foreign", "risk",
)  # fmt: skip


def _load(paths: Mapping[str, Path]) -> Parts:
    table = read_csv(paths["german.data"], names=COLUMNS, delimiter=" ")
    risk = np.where(table.column("risk") == 1, "good", "bad")
    return Parts(encode(table, COLUMNS[:-1], standardise=True), risk, ("bad", "good"))


GERMAN_CREDIT = Dataset(
    name="german_credit",
    description="Statlog German credit; categories as 0/1 columns, numbers standardised",
    shape=(1000, 61),
    classes=2,
    licence="CC BY 4.0 (UCI)",
    home="https://archive.ics.uci.edu/dataset/144/statlog+german+credit+data",
    load=_load,
    variants=(
        (
            Source(
                name="german.data",
                checksums=("sha256:b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",),
                urls=(
                    "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data",
                    "https://archive.ics.uci.edu/static/public/144/statlog+german+credit+data.zip#german.data",
                ),
            ),
        ),
    ),
)
