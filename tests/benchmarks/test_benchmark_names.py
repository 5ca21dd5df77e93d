"""A benchmark's folder is first on its path, so that a module of its own hides any package of the same name."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_no_benchmark_hides_a_package_that_others_import():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert "interval_coverage" in names
    # numba looks for coverage when it compiles, whether or not it is installed here.
    assert not names & {*packages_distributions(), *sys.stdlib_module_names, "coverage"}
