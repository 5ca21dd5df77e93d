import sys

import numpy as np
import pytest

from vestige.errors import DataError
from vestige.metrics import auc, bootstrap_auc, roc, tpr_at_fpr
from vestige.metrics.epsilon import coins, one_run
from vestige.metrics.summary import epsilons, summary
from vestige.seeds import rng

GAUSSIAN_ONLY = {"one_run_gdp", "gdp", "order_statistics"}


@pytest.fixture(scope="module")
def scores():
    draw = rng(0, "summary")
    return draw.normal(1, 1, 1500), draw.normal(0, 1, 1200)


def test_every_part_is_what_its_own_function_says(scores):
    pytest.importorskip("statsmodels")
    m, n = scores
    found = summary(m, n, fprs=(0.01, 0.1), draws=200)
    assert (found.members, found.nonmembers) == (1500, 1200)
    assert found.auc == auc(roc(m, n))
    assert found.auc_bootstrap == bootstrap_auc(roc(m, n), draws=200)
    assert found.tpr == {fpr: tpr_at_fpr(m, n, fpr) for fpr in (0.01, 0.1)}
    assert found.epsilon["one_run"] == one_run(coins(m, n), delta=1e-5)
    assert {name for name, bound in found.epsilon.items() if bound.refused} == GAUSSIAN_ONLY


def test_gaussian_methods_answer_when_the_mechanism_is_declared(scores):
    found = epsilons(coins(*scores), mechanism="gaussian")
    assert all(found[name].value > 0 for name in GAUSSIAN_ONLY)


def test_without_the_library_the_ratio_is_refused_and_the_rest_stands(scores, monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats.proportion", None)
    found = epsilons(coins(*scores))
    assert found["ratio"].refused
    assert "statsmodels" in found["ratio"].reason
    assert found["one_run"].value > 0


def test_the_same_seed_gives_the_same_summary(scores):
    one, other = (summary(*scores, draws=50, seed=3) for _ in range(2))
    assert one.auc_bootstrap == other.auc_bootstrap
    assert one.epsilon == other.epsilon


def test_noise_shows_little():
    draw = rng(1, "summary")
    found = summary(draw.normal(size=800), draw.normal(size=800), draws=100)
    assert found.auc.low <= 0.5 <= found.auc.high
    assert all(bound.value < 0.5 for bound in found.epsilon.values() if bound.value is not None)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="finite"):
        summary([1.0, np.nan], [0.0])
