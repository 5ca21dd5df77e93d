"""Scores that know nothing: the figures must say so, on average and not only within their intervals."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage_comparisons.py"


def load():
    spec = importlib.util.spec_from_file_location("coverage_comparisons", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


comparisons = load()


def test_noise_gives_what_chance_does():
    """3,000 audits a size; the exact mean of the TPR is (αn + 1)/(n + 1), at most one record above α."""
    for row in comparisons.noise(300):
        assert row["mean"] == pytest.approx(row["exact"], abs=4 * row["error"])
        chance, slack = (0.5, 0.0) if row["figure"] == "AUC" else (0.01, 1 / row["records"])
        assert row["exact"] == pytest.approx(chance, abs=0.002)
        assert row["exact"] == pytest.approx(chance, abs=slack + 1e-12)


@pytest.mark.parametrize("part", ["bootstrap", "targets", "slices"])
def test_every_part_of_the_benchmark_runs(part):
    rows = list(comparisons.PARTS[part](2))
    assert len(rows) >= 6
    assert all(0 <= row["AUC"] <= 1 for row in rows if "AUC" in row)
