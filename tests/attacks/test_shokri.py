from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from vestige.attacks.base import Evidence
from vestige.attacks.learned import Rows, calibrated, draw_rows
from vestige.attacks.ml_leaks import MLLeaks1
from vestige.attacks.shokri import KEY, Shokri
from vestige.errors import AuditError, MissingDependency, UsageError
from vestige.seeds import rng
from vestige.signals import SignalTable, measure_outputs
from vestige.target import Access, Outputs
from vestige.testing import simulate, take_records
from vestige.testing.conformance import auc, auc_error


def two_classes(attack, *, seed=0, count=600, shadows=3):
    """Class 0 members have p_y > 0.9 and the rest less; for class 1 the line is at 0.6."""
    draw = rng(seed, "two classes")
    labels = np.arange(count) % 2
    members = draw.random((1 + shadows, count)) < 0.5
    line = np.where(labels == 0, 0.9, 0.6)
    span = draw.random((1 + shadows, count))
    p_true = np.where(members, line + 0.01 + (0.98 - line) * span, line - 0.01 - (line - 0.52) * span)
    p = np.empty((1 + shadows, count, 2))
    np.put_along_axis(p, np.broadcast_to(labels[None, :, None], (1 + shadows, count, 1)), p_true[..., None], axis=2)
    np.put_along_axis(
        p, np.broadcast_to(1 - labels[None, :, None], (1 + shadows, count, 1)), 1 - p_true[..., None], axis=2
    )
    key = attack.needs.signals[0]
    answer = Outputs("probabilities", p.reshape(-1, 2))
    values = measure_outputs(answer, np.tile(labels, 1 + shadows), [key])[key]
    values = values.reshape(1 + shadows, count, 1, values.shape[1])
    evidence = Evidence(
        access=Access.SCORE,
        needs=attack.needs,
        labels=labels,
        classes=2,
        own=SignalTable({key: values[:1]}, count, 1),
        shadows=SignalTable({key: values[1:]}, count, shadows),
        masks=members[1:],
    )
    return evidence, members[0]


@pytest.mark.parametrize("family", ["mlp", "logistic", "boosting", "tree", "knn", "naive_bayes"])
def test_classes_with_different_lines_are_told_apart_class_by_class(family):
    attack = Shokri(family=family)
    evidence, members = two_classes(attack)
    scores = attack.score(evidence)
    for c in (0, 1):
        which = evidence.labels == c
        assert auc(scores[which], members[which]) > 0.995
    assert auc(scores, members) > 0.99
    blind = MLLeaks1(family=family)
    evidence, members = two_classes(blind)
    assert auc(blind.score(evidence), members) < 0.95


def test_it_finds_on_the_target_what_it_finds_on_a_shadow_model():
    attack, areas, errors = Shokri(), [], []
    for seed in (1, 2):
        trial = simulate(attack.needs, seed=seed, records=2000, shadows=8, memory=2.0)
        e = trial.evidence
        other = [m for m in range(8) if m not in (0, 1)]
        held_out = replace(
            e,
            own=e.shadows.select(np.array([0])),
            shadows=e.shadows.select(np.array(other)),
            masks=e.masks[other],
        )
        areas.append((auc(attack.score(e), trial.members), auc(attack.score(held_out), e.masks[0])))
        errors.append(auc_error(trial.members))
    (first, second), error = zip(*areas, strict=True), np.sqrt(2) * errors[0]
    assert min(first) > 0.6
    for a, b in zip(first, second, strict=True):
        assert abs(a - b) < 3 * error


def test_a_target_that_remembers_nothing_shows_nothing():
    trial = simulate(Shokri().needs, seed=5, records=3000, shadows=6, target_memory=0.0)
    area = auc(Shokri().score(trial.evidence), trial.members)
    assert abs(area - 0.5) < 3 * auc_error(trial.members)


def test_a_class_without_shadow_rows_is_scored_by_all_the_others():
    trial = simulate(Shokri().needs, seed=2, records=1500, shadows=6, classes=4, memory=4.0)
    e = trial.evidence
    known = take_records(e, np.flatnonzero(e.labels != 3))
    lost = e.labels == 3
    scores = Shokri().transfer(known, e)
    assert auc(scores[lost], trial.members[lost]) > 0.8
    assert auc(scores, trial.members) > 0.8
    np.testing.assert_allclose(scores[~lost], Shokri().score(e)[~lost], rtol=1e-9)


def test_nothing_to_learn_from_leaves_the_true_class_probability():
    e = simulate(Shokri().needs, records=6, shadows=1).evidence
    expected = e.target(KEY)[np.arange(6), 0, e.labels]
    np.testing.assert_allclose(Shokri().score(e), expected)


def test_without_shadow_models_it_says_so():
    with pytest.raises(AuditError, match="learns from shadow models"):
        Shokri().score(simulate(Shokri().needs, shadows=0).evidence)


def test_rows_are_balanced_capped_and_the_same_however_records_are_ordered():
    e = simulate(Shokri().needs, records=9000, shadows=3, classes=3).evidence
    rows = draw_rows(e, KEY, per_side=100, by_class=True)
    counts = np.bincount(rows.labels * 2 + rows.members, minlength=6)
    assert counts.tolist() == [100] * 6
    shuffled = draw_rows(take_records(e, rng(0, "order").permutation(len(e))), KEY, per_side=100, by_class=True)
    np.testing.assert_array_equal(rows.features, shuffled.features)
    np.testing.assert_array_equal(rows.members, shuffled.members)
    every = draw_rows(e, KEY, per_side=10**9, by_class=False)
    assert every.members.sum() * 2 == len(every)
    assert len(every) <= 3 * 9000


def test_drawn_rows_are_a_fair_sample():
    e = simulate(Shokri().needs, records=6000, shadows=4, classes=2).evidence
    rows = draw_rows(e, KEY, per_side=800, by_class=False)
    everything = e.reference(KEY)[:, :, 0].reshape(-1, 2)
    for side in (False, True):
        pool = everything[e.masks.ravel() == side]
        far = rows.features[rows.members == side].mean(axis=0) - pool.mean(axis=0)
        assert np.all(np.abs(far) < 4 * pool.std(axis=0) / np.sqrt(800))


def test_calibration_recovers_a_known_scale_and_never_reverses():
    draw = rng(0, "platt")
    x = draw.standard_normal((20_000, 1)).astype(np.float32)
    members = draw.random(20_000) < 1 / (1 + np.exp(-(0.5 * 6.0 * x[:, 0] - 1.0)))
    rule = calibrated(lambda f: 6.0 * f[:, 0].astype(float), Rows(x, members, np.zeros(20_000, int)))
    assert rule(np.float32([[1.0]]))[0] - rule(np.float32([[0.0]]))[0] == pytest.approx(3.0, abs=0.15)
    assert rule(np.float32([[0.0]]))[0] == pytest.approx(-1.0, abs=0.1)
    backwards = calibrated(lambda f: -f[:, 0].astype(float), Rows(x, members, np.zeros(20_000, int)))
    assert np.all(np.diff(backwards(np.float32([[2.0], [1.0], [0.0]]))) > 0)


def test_options_are_checked():
    with pytest.raises(UsageError, match="mlp, logistic, boosting"):
        Shokri(family="svm")
    with pytest.raises(UsageError, match="at least one row"):
        Shokri(rows=0)


def test_a_missing_library_is_named(monkeypatch):
    e = simulate(Shokri().needs, records=400, shadows=4).evidence
    monkeypatch.setitem(sys.modules, "sklearn.exceptions", None)
    with pytest.raises(MissingDependency, match=r"vestige\[sklearn\]"):
        Shokri().score(e)
