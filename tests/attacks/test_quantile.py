import sys

import numpy as np
import pytest
from scipy.stats import norm

from reference.slow_toys import auc, evidence, tpr_at
from vestige.attacks.quantile import Quantile
from vestige.attacks.quantile_heads import boosted, linear
from vestige.errors import AuditError, MissingDependency, UsageError
from vestige.seeds import rng

LINEAR = Quantile(regressor="linear", use_label=False)


def usual(x):
    """What a target shows for a record it never saw, and by how much that varies."""
    return 2 * x[:, 0] - x[:, 1] ** 2, np.exp(0.4 * x[:, 2])


def answers(draw, x, members=None):
    mean, deviation = usual(x)
    return mean + deviation * (draw.normal(size=len(x)) + (0 if members is None else 2.0 * members))


def world(attack, *, records=4000, population=4000, seed=0, members=None, references=0):
    draw = rng(seed, "quantile")
    x = draw.normal(size=(records, 4)).astype(np.float32)
    z = draw.normal(size=(population, 4)).astype(np.float32)
    held_out = None
    if population:
        held_out = evidence(
            attack, answers(draw, z), np.zeros((references, population)), np.zeros((references, population)), features=z
        )
    masks = draw.random((references, records)) < 0.5
    shown = np.array([answers(draw, x, masks[m]) for m in range(references)]).reshape(references, records)
    return evidence(attack, answers(draw, x, members), shown, masks, features=x, population=held_out)


@pytest.mark.parametrize("regressor", ["linear", "boosting"])
def test_fresh_non_members_exceed_a_quantile_as_often_as_they_should(regressor):
    attack = Quantile(regressor=regressor)
    scores = attack.score(world(attack))
    for alpha in (0.5, 0.1, 0.01):
        error = np.sqrt(alpha * (1 - alpha) / 4000)
        assert (scores >= norm.isf(alpha)).mean() == pytest.approx(alpha, abs=3 * error), alpha
    assert scores.mean() == pytest.approx(0, abs=0.06)
    assert scores.std() == pytest.approx(1, abs=0.06)


def test_without_a_population_it_learns_from_references_that_did_not_train_on_the_record():
    scores = LINEAR.score(world(LINEAR, population=0, references=3))
    for alpha in (0.5, 0.1, 0.01):
        error = np.sqrt(alpha * (1 - alpha) / 4000)
        assert (scores >= norm.isf(alpha)).mean() == pytest.approx(alpha, abs=4 * error), alpha


@pytest.mark.parametrize("regressor", ["linear", "boosting"])
def test_features_that_tell_the_difficulty_raise_the_power(regressor):
    attack = Quantile(regressor=regressor)
    members = np.arange(4000) % 2 == 0
    given = world(attack, members=members)
    scores = attack.score(given)
    plain = given.target("hinge")[:, 0]
    assert auc(scores, members) > auc(plain, members) + 0.05
    assert auc(scores, members) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.02)
    assert tpr_at(scores, members, 0.05) > 0.5


@pytest.mark.parametrize("regressor", ["linear", "boosting"])
def test_constant_features_give_the_global_threshold(regressor):
    draw = rng(1, "constant")
    attack = Quantile(regressor=regressor, use_label=False)
    ones = np.ones((300, 3), np.float32)
    held_out = evidence(attack, draw.normal(size=300), np.zeros((0, 300)), np.zeros((0, 300)), features=ones)
    own = draw.normal(size=300).astype(np.float32)
    given = evidence(attack, own, np.zeros((0, 300)), np.zeros((0, 300)), features=ones, population=held_out)
    assert np.array_equal(np.argsort(attack.score(given)), np.argsort(own))


def test_the_label_is_an_input():
    draw = rng(2, "label")
    labels, held_labels = draw.integers(0, 3, 2000), draw.integers(0, 3, 2000)
    x = np.zeros((2000, 1), np.float32)
    none = np.zeros((0, 2000))
    areas = {}
    members = np.arange(2000) % 2 == 0
    for use_label in (True, False):
        attack = Quantile(regressor="linear", use_label=use_label)
        shown = 5.0 * held_labels + draw.normal(size=2000)
        held_out = evidence(attack, shown, none, none, features=x, labels=held_labels, classes=3)
        own = 5.0 * labels + draw.normal(size=2000) + 2 * members
        given = evidence(attack, own, none, none, features=x, labels=labels, classes=3, population=held_out)
        areas[use_label] = auc(attack.score(given), members)
    assert areas[True] > 0.9
    assert areas[False] < 0.75


def test_ridge_left_out_residuals_are_those_of_refitting():
    draw = rng(3, "left out")
    x, y = draw.normal(size=(30, 3)), draw.normal(size=30)
    from vestige.attacks.quantile_heads import _ridge

    predict, left_out = _ridge(x, y)
    centred = x - x.mean(axis=0)
    weights = np.linalg.lstsq(np.c_[np.ones(30), centred / x.std(axis=0)], predict(x), rcond=None)[0]
    penalties = 10.0 ** np.arange(-3, 7)
    z = centred / x.std(axis=0)
    chosen = min(
        penalties,
        key=lambda p: np.abs(np.linalg.solve(z.T @ z + p * np.eye(3), z.T @ (y - y.mean())) - weights[1:]).max(),
    )
    for n in (0, 7, 19):
        # Leave-one-out with the scaling of all: unpenalised mean, penalised slopes.
        keep = np.arange(30) != n
        design = np.c_[np.ones(29), z[keep]]
        penalty = np.diag([0.0, chosen, chosen, chosen])
        fitted = np.linalg.solve(design.T @ design + penalty, design.T @ y[keep])
        assert left_out[n] == pytest.approx(y[n] - np.r_[1.0, z[n]] @ fitted, abs=1e-6)


def test_both_heads_find_a_varying_deviation():
    draw = rng(4, "heads")
    x = draw.normal(size=(6000, 4))
    mean, deviation = usual(x)
    y = mean + deviation * draw.normal(size=6000)
    fresh = draw.normal(size=(2000, 4))
    for head in (linear(x, y), boosted(x, y, seed=0)):
        got_mean, got_deviation = head(fresh)
        true_mean, true_deviation = usual(fresh)
        assert np.corrcoef(got_mean, true_mean)[0, 1] > 0.97
        assert np.corrcoef(np.log(got_deviation), np.log(true_deviation))[0, 1] > 0.8


def test_answers_without_spread_and_few_records_are_finite():
    draw = rng(5, "flat")
    x = draw.normal(size=(40, 2)).astype(np.float32)
    none = np.zeros((0, 40))
    for attack in (LINEAR, Quantile(use_label=False)):
        held_out = evidence(attack, np.ones(40), none, none, features=x)
        given = evidence(attack, np.ones(40), none, none, features=x, population=held_out)
        assert np.isfinite(attack.score(given)).all()


def test_nothing_to_learn_from_is_said():
    with pytest.raises(AuditError, match="non-members to learn from"):
        LINEAR.score(world(LINEAR, population=0))
    with pytest.raises(UsageError, match="regressor"):
        Quantile(regressor="forest")
    with pytest.raises(AuditError, match="features"):
        LINEAR.score(evidence(LINEAR, np.zeros(50), np.zeros((2, 50)), np.zeros((2, 50))))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    attack = Quantile()
    with pytest.raises(MissingDependency, match="vestige\\[sklearn\\]"):
        attack.score(world(attack, records=50, population=50))
