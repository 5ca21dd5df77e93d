from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vestige.datasets import DATASETS, load_dataset
from vestige.duplicates import drop_duplicates

BUNDLED = ["digits", "breast_cancer", "wine"]
LENGTHS = {"sha256": 64, "md5": 32, "git": 40}
DATA = [Path(folder) for folder in os.environ.get("VESTIGE_DATA", "").split(os.pathsep) if folder]


def found(name):
    return any(
        all((folder / name / source.name).is_file() for source in variant)
        for folder in DATA
        for variant in DATASETS.get(name).variants
    )


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def real(request):
    name = request.param
    if not found(name):
        pytest.skip(f"{name} is not in a folder of VESTIGE_DATA")
    return load_dataset(name)


class TestRegistry:
    @pytest.mark.parametrize("name", DATASETS.names())
    def test_facts_are_complete(self, name):
        dataset = DATASETS.get(name)
        assert dataset.name == name
        assert dataset.description
        assert dataset.licence
        assert dataset.home.startswith("http")
        assert "\n" not in dataset.description

    @pytest.mark.parametrize("name", DATASETS.names())
    def test_every_file_has_a_checksum_of_the_right_form(self, name):
        for variant in DATASETS.get(name).variants:
            for source in variant:
                assert source.checksums
                for checksum in source.checksums:
                    kind, _, digest = checksum.partition(":")
                    assert re.fullmatch(f"[0-9a-f]{{{LENGTHS[kind]}}}", digest), checksum
                assert all(url.partition("#")[0].startswith("http") for url in source.urls)

    def test_only_bundled_sets_need_no_file(self):
        assert [name for name in DATASETS.names() if DATASETS.get(name).bundled] == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_need_neither_files_nor_network(name, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.delenv("VESTIGE_DATA", raising=False)
    records, dataset = load_dataset(name), DATASETS.get(name)
    assert records.x.shape == dataset.shape
    assert len(records.classes) == dataset.classes == len(np.unique(records.y))
    assert records.x.dtype == np.float32


def test_digits_are_scaled():
    pytest.importorskip("sklearn")
    x = load_dataset("digits").x
    assert (x.min(), x.max()) == (0, 1)


def test_importing_datasets_imports_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'pandas', 'pyarrow'}"
    code = f"import sys, vestige.datasets, vestige.loading; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


FACTS = {
    # name: dtype, smallest and largest class, exact repeats
    "location30": ("uint8", 97, 308, 0),
    "retail600": ("uint8", 115, 3456, 0),
    "fashion_mnist": ("uint8", 7000, 7000, 0),
    "cifar10_20k": ("uint8", 2300, 2300, 0),
    "adult": ("float32", 11_687, 37_155, 57),
    "german_credit": ("float32", 300, 700, 0),
}


@pytest.mark.parametrize(("real", "facts"), FACTS.items(), indirect=["real"], ids=FACTS)
def test_real_files_are_what_they_should_be(real, facts):
    dtype, smallest, largest, repeats = facts
    dataset = DATASETS.get(real.name)
    sizes = np.bincount(real.y)
    assert real.x.shape == dataset.shape
    assert real.x.dtype == dtype
    assert len(real.classes) == dataset.classes == len(sizes)
    assert (sizes.min(), sizes.max()) == (smallest, largest)
    assert len(real) - len(drop_duplicates(real)) == repeats


@pytest.mark.parametrize("real", ["location30"], indirect=True)
def test_location30_is_the_same_from_either_file(real):
    archive = next((p for f in DATA if (p := f / "location30" / "dataset_location.tgz").is_file()), None)
    if archive is None:
        pytest.skip("dataset_location.tgz is not in a folder of VESTIGE_DATA")
    parts = DATASETS.get("location30").load({"dataset_location.tgz": archive})
    assert np.array_equal(parts.x, real.x)
    assert [int(label) - 1 for label in parts.y] == real.y.tolist()


@pytest.mark.parametrize("real", ["adult"], indirect=True)
def test_adult_keeps_unknown_values_as_a_category(real):
    """There are as many 0/1 columns as categories, '?' among them, and each record has one per categorical feature."""
    folder = next(f for f in DATA if (f / "adult" / "adult.data").is_file()) / "adult"
    lines = (folder / "adult.data").read_text().splitlines() + (folder / "adult.test").read_text().splitlines()[1:]
    cells = [line.split(", ") for line in lines if line.strip()]
    texts = [1, 3, 5, 6, 7, 8, 9, 13]
    expected = 6 + sum(len({row[column] for row in cells}) for column in texts)
    assert expected == real.x.shape[1]
    binary = [c for c in range(expected) if set(np.unique(real.x[:, c]).tolist()) == {0, 1}]
    assert len(binary) == expected - 6
    assert np.all(real.x[:, binary].sum(axis=1) == len(texts))
    numbers = np.setdiff1d(np.arange(expected), binary)
    assert np.allclose(real.x[:, numbers].mean(axis=0, dtype=np.float64), 0, atol=1e-4)
    ages = np.array([float(row[0]) for row in cells])
    assert np.allclose(real.x[:, 0], (ages - ages.mean()) / ages.std(), atol=1e-4)


@pytest.mark.parametrize("real", ["location30"], indirect=True)
def test_loading_again_is_quick(real):
    """Verified files are not read twice; the best of five, since other work may share the machine."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        load_dataset("location30")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1
