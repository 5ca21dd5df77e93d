"""Truex's attack models: every family learns, passes the kit, and means the same for any number of classes."""

from typing import get_args

import numpy as np
import pytest

pytest.importorskip("sklearn")

from vestige.attacks.learned import Family, Rows, fit
from vestige.attacks.shokri import Shokri
from vestige.errors import UsageError
from vestige.metrics.roc import area, roc
from vestige.seeds import rng
from vestige.testing import check_attack

NEW = ("tree", "knn", "naive_bayes")


def blobs(count, seed):
    """Members and others a step of two standard deviations apart: no rule has an AUC above Φ(√2) = .921."""
    random = rng(seed, "families")
    members = np.arange(count) % 2 == 0
    features = random.standard_normal((count, 2)).astype(np.float32)
    features[:, 0] += 2.0 * members
    return Rows(features, members, np.zeros(count, np.int64))


@pytest.mark.parametrize("family", get_args(Family))
def test_every_family_comes_near_the_best_rule_there_is(family):
    rule = fit(family, blobs(2000, 1), seed=0)
    fresh = blobs(4000, 2)
    odds = rule(fresh.features)
    assert odds.dtype == np.float64
    assert np.isfinite(odds).all()
    found = area(roc(odds[fresh.members], odds[~fresh.members]))
    assert 0.87 < found < 0.935


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("per_class", [True, False])
def test_the_new_families_have_every_property_of_the_kit(family, per_class):
    check_attack(Shokri(family=family, per_class=per_class))


def test_a_certain_tree_and_certain_neighbours_stay_finite():
    rows = blobs(400, 3)
    rows.features[:, 0] = np.where(rows.members, 5, -5)
    for family in ("tree", "knn"):
        odds = fit(family, rows, seed=0)(rows.features)
        assert np.abs(odds).max() < 5
        assert (odds[rows.members] > 0).all()
        assert (odds[~rows.members] < 0).all()


def test_an_unknown_family_is_one_sentence():
    with pytest.raises(UsageError, match=r"attack model's family to be mlp, .*naive_bayes, got 'svm'"):
        Shokri(family="svm")
