from __future__ import annotations

import numpy as np
import pytest

from vestige.attacks.base import Needs
from vestige.testing import simulate, synthetic_evidence, take_records

NEEDS = Needs(signals=("log_odds", "top_probabilities"), shadows=2, side="both", population=True, features=True)


def test_shapes_and_design():
    trial = simulate(NEEDS, records=50, population=30, shadows=6, queries=3)
    e = trial.evidence
    assert e.target("log_odds").shape == (50, 3)
    assert e.reference("top_probabilities").shape == (6, 50, 3, 3)
    assert e.features.shape == (50, 4)
    assert len(e.population) == 30
    assert not e.population.masks.any()
    assert np.array_equal(e.masks[0::2], ~e.masks[1::2])
    assert trial.members.sum() == 25


@pytest.mark.parametrize(("side", "wants", "count"), [("none", None, 0), ("both", 4, 4), ("out", None, 6)])
def test_only_the_shadow_models_asked_for_are_there(side, wants, count):
    e = synthetic_evidence(Needs(signals=("loss",), side=side, wants=wants), shadows=6)
    assert len(e.masks) == e.shadows.models == count


def test_the_target_is_drawn_apart_from_the_shadow_models():
    agreement = []
    for seed in range(40):
        trial = simulate(NEEDS, seed=seed, records=100, shadows=4)
        agreement.append((trial.evidence.masks[::2] == trial.members).mean())
    assert abs(np.mean(agreement) - 0.5) < 3 * 0.05 / np.sqrt(80)


def test_memory_is_what_it_says():
    trial = simulate(NEEDS, records=4000, memory=3.0, target_memory=1.0)
    e = trial.evidence
    own, shadow = e.target("log_odds")[:, 0], e.reference("log_odds")[:, :, 0]
    assert own[trial.members].mean() - own[~trial.members].mean() == pytest.approx(1.0, abs=0.3)
    assert shadow[e.masks].mean() - shadow[~e.masks].mean() == pytest.approx(3.0, abs=0.1)


def test_a_shift_does_not_round():
    plain, moved = synthetic_evidence(NEEDS), synthetic_evidence(NEEDS, shift=8.0)
    for key in NEEDS.signals:
        np.testing.assert_array_equal(plain.reference(key), moved.reference(key))


def test_regressions_divide_the_residual():
    needs = Needs(signals=("residual",), side="both")
    trial = simulate(needs, records=2000, memory=2.0, difficulty=0.0, task="regression")
    e = trial.evidence
    assert e.classes == 0
    size = np.abs(e.target("residual")[:, 0])
    assert size[~trial.members].mean() / size[trial.members].mean() == pytest.approx(np.exp(2.0), rel=0.05)


def test_taking_records_takes_all_that_belongs_to_them():
    e = synthetic_evidence(NEEDS)
    rows = np.array([7, 3, 3])
    part = take_records(e, rows)
    np.testing.assert_array_equal(part.labels, e.labels[rows])
    np.testing.assert_array_equal(part.target("log_odds"), e.target("log_odds")[rows])
    np.testing.assert_array_equal(part.reference("log_odds"), e.reference("log_odds")[:, rows])
    np.testing.assert_array_equal(part.outside(), e.outside()[:, rows])
    np.testing.assert_array_equal(part.features, e.features[rows])
    assert part.population is e.population
