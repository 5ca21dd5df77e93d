from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from reference.slow_thresholds import slow_auc
from vestige.attacks.base import Evidence
from vestige.attacks.ml_leaks import MLLeaks1, MLLeaks2, MLLeaks3
from vestige.errors import AuditError, UsageError
from vestige.seeds import rng
from vestige.signals import SignalTable, measure_outputs
from vestige.target import Access, Outputs
from vestige.testing import simulate
from vestige.testing.conformance import auc


@pytest.mark.parametrize("family", ["mlp", "logistic", "boosting", "tree", "knn", "naive_bayes"])
def test_one_shadow_model_is_enough_to_find_members(family):
    attack = MLLeaks1(family=family)
    assert attack.needs.wants == 1
    trial = simulate(attack.needs, records=2000, memory=5.0)
    assert auc(attack.score(trial.evidence), trial.members) > 0.85


def test_the_second_adversary_on_its_own_data_is_the_first():
    trial = simulate(MLLeaks1().needs, records=400)
    expected = MLLeaks1().score(trial.evidence)
    np.testing.assert_array_equal(MLLeaks2().transfer(trial.evidence, trial.evidence), expected)
    np.testing.assert_array_equal(MLLeaks2().score(trial.evidence), expected)


def test_the_second_adversary_learns_from_another_dataset_with_other_classes():
    known = simulate(MLLeaks2().needs, seed=1, records=2000, classes=20, memory=5.0).evidence
    trial = simulate(MLLeaks2().needs, seed=2, records=1000, classes=5, memory=5.0, shadows=0)
    assert auc(MLLeaks2().transfer(known, trial.evidence), trial.members) > 0.8


def test_relabelling_the_classes_changes_nothing():
    attack, draw = MLLeaks1(), rng(0, "relabel")
    logits = draw.standard_normal((2, 500, 6)).round(3)
    labels, masks = draw.integers(0, 6, 500), draw.random((1, 500)) < 0.5

    def scores(order):
        key = attack.needs.signals[0]
        place = np.argsort(order)
        answer = Outputs("logits", logits[:, :, order].reshape(-1, 6))
        values = measure_outputs(answer, np.tile(place[labels], 2), [key])[key].reshape(2, 500, 1, 3)
        tables = [SignalTable({key: values[m : m + 1]}, 500, 1) for m in (0, 1)]
        return attack.score(
            Evidence(
                access=Access.SCORE,
                needs=attack.needs,
                labels=place[labels],
                classes=6,
                own=tables[0],
                shadows=tables[1],
                masks=masks,
            )
        )

    plain, moved = scores(np.arange(6)), scores(np.array([3, 1, 5, 0, 2, 4]))
    assert np.corrcoef(plain, moved)[0, 1] > 0.999


def test_the_third_adversary_is_mann_whitney_on_the_largest_probability():
    draw = rng(1, "third")
    logits = 3.0 * draw.standard_normal((150, 4))
    members = draw.random(150) < 0.5
    logits[members, 0] += 2.0
    attack = MLLeaks3()
    key = attack.needs.signals[0]
    values = measure_outputs(Outputs("logits", logits), np.zeros(150, np.int64), [key])[key]
    evidence = Evidence(
        access=Access.SCORE,
        needs=attack.needs,
        labels=np.zeros(150, np.int64),
        classes=4,
        own=SignalTable({key: values[None]}, 150, 1),
        shadows=SignalTable({}, 150, 0),
        masks=np.empty((0, 150), bool),
    )
    expected = slow_auc(softmax(logits, axis=1).max(axis=1), members)
    assert slow_auc(attack.score(evidence), members) == expected == auc(attack.score(evidence), members)


@pytest.mark.parametrize("statistic", ["max", "std", "entropy"])
def test_every_statistic_points_the_same_way(statistic):
    trial = simulate(MLLeaks3(statistic=statistic).needs, memory=6.0, difficulty=0.5)
    assert auc(MLLeaks3(statistic=statistic).score(trial.evidence), trial.members) > 0.9


def test_the_threshold_is_a_percentile_of_answers_to_noise():
    noise = np.arange(1000.0)
    cut = MLLeaks3.threshold(noise, percent=10.0)
    assert (noise > cut).sum() == 100
    with pytest.raises(UsageError, match="strictly between"):
        MLLeaks3.threshold(noise, percent=0.0)


def test_few_rows_leave_the_largest_probability_and_none_an_error():
    e = simulate(MLLeaks1().needs, records=10).evidence
    np.testing.assert_allclose(MLLeaks1().score(e), e.target("top_probabilities")[:, 0, 0])
    with pytest.raises(AuditError, match="learns from shadow models"):
        MLLeaks1().score(simulate(MLLeaks1().needs, shadows=0).evidence)


def test_options_are_checked():
    with pytest.raises(UsageError, match="attack model"):
        MLLeaks1(family="svm")
    with pytest.raises(UsageError, match="max, std or entropy"):
        MLLeaks3(statistic="median")
