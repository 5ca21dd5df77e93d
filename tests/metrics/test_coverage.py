"""A smaller run of benchmarks/coverage_intervals.py: its intervals contain the truth about as often as they say."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage_intervals.py"


def load():
    spec = importlib.util.spec_from_file_location("coverage_intervals", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


coverage = load()
REPEATS = 400


@pytest.mark.parametrize("law", coverage.LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("size", [500, 2000])
def test_intervals_cover(law, size):
    for cell in coverage.cells(law, size, REPEATS, seed=1):
        # over 400 repeats the coverage has a standard deviation of 1.1 points; coarse rates may be wider
        assert 0.915 <= cell.coverage <= 0.99, coverage.show(cell, (0, 1))


def test_laws_know_their_own_figures():
    """The truths that coverage is measured against agree with a large sample."""
    from vestige.metrics import area, best_threshold, roc
    from vestige.seeds import rng

    for law in coverage.LAWS:
        draw = rng(0, "laws", law.name)
        curve = roc(law.members(draw, 200_000), law.nonmembers(draw, 200_000))
        assert area(curve) == pytest.approx(law.auc, abs=0.004)
        assert best_threshold(curve)[1] == pytest.approx(law.accuracy, abs=0.004)
        if law.tpr is not None:
            assert curve.tpr[curve.vertex_at(0.1)] == pytest.approx(law.tpr(0.1), abs=0.008)
