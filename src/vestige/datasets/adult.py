"""Adult: who in the census of 1994 earned more than 50,000 dollars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vestige.datasets.base import Dataset, Parts, Source
from vestige.table_files import read_csv
from vestige.tables import Table, encode

_ARCHIVE = "https://archive.ics.uci.edu/static/public/2/adult.zip"
_DIRECT = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip


def _load(paths: Mapping[str, Path]) -> Parts:
    train = read_csv(paths["adult.data"], names=COLUMNS, delimiter=",")
    test = read_csv(paths["adult.test"], names=COLUMNS, delimiter=",", skip=1)
    joined = {name: np.concatenate([train.columns[name], test.columns[name]]) for name in COLUMNS}
    income = np.array([text.rstrip(".") for text in joined["income"].tolist()])
    table = Table(paths["adult.data"], joined)
    return Parts(encode(table, COLUMNS[:-1], standardise=True), income, ("<=50K", ">50K"))


ADULT = Dataset(
    name="adult",
    description="Adult, census income; categories as 0/1 columns ('?' is one of its own), numbers standardised; "
    "training and test set together, 57 exact repeats among them",
    shape=(48_842, 108),
    classes=2,
    licence="CC BY 4.0 (UCI)",
    home="https://archive.ics.uci.edu/dataset/2/adult",
    load=_load,
    variants=(
        (
            Source(
                name="adult.data",
                checksums=("sha256:5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",),
                urls=(f"{_DIRECT}/adult.data", f"{_ARCHIVE}#adult.data"),
            ),
            Source(
                name="adult.test",
                checksums=("sha256:a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",),
                urls=(f"{_DIRECT}/adult.test", f"{_ARCHIVE}#adult.test"),
            ),
        ),
    ),
)
