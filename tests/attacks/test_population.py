from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.attacks.population import AttackP, log_share_below
from vestige.attacks.threshold import Loss
from vestige.errors import AuditError
from vestige.testing import simulate
from vestige.testing.conformance import auc


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_its_roc_is_that_of_the_loss(task, scale):
    attack = AttackP()
    trial = simulate(attack.needs, records=2000, population=300, scale=scale, task=task)
    p, loss = attack.score(trial.evidence), Loss().score(trial.evidence)
    order = np.argsort(loss, kind="stable")
    steps = np.diff(loss[order]) > 0
    assert np.all(np.diff(p[order])[steps] > 0)
    assert np.all(np.diff(p[order])[~steps] == 0)
    assert auc(p, trial.members) == auc(loss, trial.members)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-100, 4), min_size=1, max_size=30), st.lists(st.floats(-100, 4), min_size=1, max_size=30))
def test_the_share_is_the_empirical_one_at_every_population_record(population, values):
    z = np.array(population)
    got = np.exp(log_share_below(z, z))
    exact = [((z < v).sum() + 0.5 * (z == v).sum()) / len(z) for v in z]
    np.testing.assert_allclose(got, exact, rtol=1e-12)
    share = log_share_below(np.sort(np.array(values)), z)
    assert np.all(np.diff(share) >= 0)
    assert np.all(share <= 0)
    assert np.all(np.isfinite(share))


def test_a_p_value_at_level_alpha_accuses_alpha_of_the_innocent():
    rates = []
    for seed in range(20):
        trial = simulate(AttackP().needs, seed=seed, records=1000, population=1000, target_memory=0.0)
        rates.append((AttackP().score(trial.evidence) > -np.log(0.1)).mean())
    assert np.mean(rates) == pytest.approx(0.1, abs=3 * np.std(rates) / np.sqrt(len(rates)))


def test_without_a_population_there_is_nothing_to_compare_with():
    trial = simulate(AttackP().needs, population=0)
    with pytest.raises(AuditError, match="Hold some records out"):
        AttackP().score(trial.evidence)
