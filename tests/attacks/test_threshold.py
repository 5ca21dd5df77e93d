from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from reference.slow_thresholds import slow_cut
from vestige.attacks.base import Evidence
from vestige.attacks.cuts import best_bands, best_cuts
from vestige.attacks.threshold import Confidence, Entropy, Gap, Loss, ModifiedEntropy
from vestige.errors import AuditError, UsageError
from vestige.signals import SignalTable, measure_outputs
from vestige.target import Access, Outputs
from vestige.testing import simulate


def evidence_of(attack, *, own=None, shadows=None, masks=None, labels, classes):
    """Evidence on one signal: ``own`` (N,), ``shadows`` (M, N)."""
    key, count = attack.needs.signals[0], len(labels)
    shadows = np.empty((0, count)) if shadows is None else np.asarray(shadows)
    own = np.zeros(count) if own is None else own
    return Evidence(
        access=Access.SCORE,
        needs=attack.needs,
        labels=np.asarray(labels),
        classes=classes,
        own=SignalTable({key: np.float32(own)[None, :, None]}, count, 1),
        shadows=SignalTable({key: np.float32(shadows)[:, :, None]}, count, len(shadows)),
        masks=np.empty((0, count), bool) if masks is None else np.asarray(masks, bool),
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40))
def test_best_cuts_agree_with_trying_every_value(rows):
    values, members, groups = (np.array(column) for column in zip(*rows, strict=True))
    got = best_cuts(values / 8.0, members.astype(bool), groups.astype(np.int64), 4)
    expected = [slow_cut(values[groups == g] / 8.0, members[groups == g]) for g in range(4)]
    np.testing.assert_array_equal(got, expected)


def test_class_thresholds_are_the_best_of_each_class_and_fall_back_where_there_is_nothing_to_learn_from():
    attack = Confidence(thresholds="class")
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    values = np.array([[5.0, 4.0, 1.0, 0.0, 50.0, 40.0, 10.0, 0.0, 7.0]])
    masks = np.array([[1, 1, 0, 0, 1, 1, 0, 0, 1]], bool)  # class 2 has no non-member
    known = evidence_of(attack, shadows=values, masks=masks, labels=labels, classes=4)
    target = evidence_of(attack, own=np.full(4, 4.5), labels=np.arange(4), classes=4)
    # Cuts 4 and 40; all classes together are cut at 4 as well: every member and the one non-member at 10.
    pooled = slow_cut(values[0], masks[0])
    np.testing.assert_allclose(attack.transfer(known, target), [0.5, -35.5, 4.5 - pooled, 4.5 - pooled])
    np.testing.assert_allclose(Confidence(thresholds="global").transfer(known, target), 4.5 - pooled)


def test_class_thresholds_beat_a_global_one_where_classes_differ():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    members = rng.random((3, 1000)) < 0.5
    values = 10.0 * labels + members + 0.1 * rng.standard_normal((3, 1000))

    def accuracy(thresholds):
        attack = Confidence(thresholds=thresholds)
        e = evidence_of(attack, own=values[0], shadows=values[1:], masks=members[1:], labels=labels, classes=2)
        verdict = attack.score(e) >= 0
        return (verdict[members[0]].mean() + (~verdict[~members[0]]).mean()) / 2

    assert accuracy("class") > 0.99
    assert accuracy("global") < 0.8


def test_gap_balanced_accuracy_is_half_the_generalisation_gap():
    trial = simulate(Gap().needs, memory=1.0)
    score, members = Gap().score(trial.evidence), trial.members
    train, test = score[members].mean(), score[~members].mean()
    verdict = score > 0.5
    accuracy = (verdict[members].mean() + (~verdict[~members]).mean()) / 2
    assert accuracy == pytest.approx(0.5 + 0.5 * (train - test))
    assert set(score) == {0.0, 1.0}


def test_metrics_have_the_right_sign():
    for attack in (Loss(), Confidence(), Entropy(), ModifiedEntropy()):
        trial = simulate(attack.needs, memory=3.0)
        scores = attack.score(trial.evidence)
        assert scores[trial.members].mean() > scores[~trial.members].mean()


@pytest.mark.parametrize(("ratio", "advantage"), [(1.5, 0.1936), (2.0, 0.3227), (5.0, 0.6471)])
def test_gaussian_regression_reaches_its_closed_form(ratio, advantage):
    c = np.sqrt(np.log(ratio) / (ratio**2 - 1))
    assert erf(ratio * c) - erf(c) == pytest.approx(advantage, abs=5e-5)
    rng = np.random.default_rng(1)
    count, attack = 400_000, Loss(gaussian=True)
    members = np.zeros((2, count), bool)
    members[0, ::2] = members[1, : count // 2] = True
    residuals = rng.standard_normal((2, count)) * np.where(members, 0.7, 0.7 * ratio)
    evidence = evidence_of(
        attack, own=residuals[0], shadows=residuals[1:], masks=members[1:], labels=np.zeros(count), classes=0
    )
    verdict = attack.score(evidence) >= 0
    got = verdict[members[0]].mean() - verdict[~members[0]].mean()
    assert got == pytest.approx(advantage, abs=0.005)


def test_gaussian_form_without_errors_or_without_a_side_still_ranks_by_the_residual():
    attack = Loss(gaussian=True)
    own = np.array([0.0, -1.0, 2.0])
    evidence = evidence_of(attack, own=own, shadows=np.zeros((1, 3)), masks=[[1, 0, 1]], labels=own, classes=0)
    np.testing.assert_allclose(attack.score(evidence), -(own**2))


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="none, global, class or band"):
        Loss(thresholds="per_class")
    with pytest.raises(UsageError, match="own threshold"):
        Loss(gaussian=True, thresholds="class")
    for attack in (Entropy(thresholds="class"), Loss(gaussian=True)):
        with pytest.raises(AuditError, match="at least one shadow model"):
            attack.score(evidence_of(attack, own=np.zeros(3), labels=[0, 1, 0], classes=2))


DATA = os.environ.get("VESTIGE_DATA", "")
FOLDERS = [Path(folder) / "song_mittal_location" for folder in DATA.split(os.pathsep) if folder]
FOLDER = next((folder for folder in FOLDERS if folder.is_dir()), None)


@pytest.mark.skipif(FOLDER is None, reason="song_mittal_location is not in VESTIGE_DATA")
@pytest.mark.parametrize(
    ("answers", "printed"),
    [("tc_output", (0.687, 0.763, 0.616, 0.781)), ("defense_output", (0.687, 0.691, 0.521, 0.688))],
)
def test_published_predictions_give_the_published_accuracies(answers, printed):
    truth = np.load(FOLDER / "labels_derived.npz")
    target = np.load(FOLDER / "location_target_predictions.npz")[answers]
    shadow = np.load(FOLDER / "location_shadow_predictions.npz")[answers]
    members = truth["member_target"].astype(bool)
    attacks = (Gap(), *(kind(thresholds="class") for kind in (Confidence, Entropy, ModifiedEntropy)))
    got = []
    for attack in attacks:
        key = attack.signal
        own = measure_outputs(Outputs("probabilities", target), truth["y_target"], [key], classes=30)[key][:, 0]
        other = measure_outputs(Outputs("probabilities", shadow), truth["y_shadow"], [key], classes=30)[key][:, 0]
        masks = truth["member_shadow"].astype(bool)[None]
        known = evidence_of(attack, shadows=other[None], masks=masks, labels=truth["y_shadow"], classes=30)
        scores = attack.transfer(known, evidence_of(attack, own=own, labels=truth["y_target"], classes=30))
        verdict = scores >= (0.5 if isinstance(attack, Gap) else 0.0)
        got.append((verdict[members].mean() + (~verdict[~members]).mean()) / 2)
    # The published figures are rounded to three places, of accuracies that are multiples of 1/2000.
    np.testing.assert_allclose(got, printed, rtol=0, atol=0.00051)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40))
def test_best_bands_agree_with_trying_every_pair(rows):
    values, members, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = best_bands(values.astype(float), members, groups, 3)

    def gain(low, high, own):
        inside = own & (values >= low) & (values <= high)
        return (inside & members).sum() / (own & members).sum() - (inside & ~members).sum() / (own & ~members).sum()

    for group in range(3):
        own = groups == group
        if not (own & members).any() or not (own & ~members).any():
            assert np.isnan(found[group]).all()
            continue
        best = max(gain(low, high, own) for low in values[own] for high in values[own] if low <= high)
        assert gain(*found[group], own) == pytest.approx(best)


def test_bands_find_members_between_others_where_one_threshold_cannot():
    random = np.random.default_rng(0)
    labels, masks = np.arange(400) % 2, random.random((3, 400)) < 0.5
    centre, inside = np.where(labels == 0, 1.0, 4.0), random.normal(0, 0.1, (4, 400))
    outside = random.normal(0, 0.1, (4, 400)) + np.where(random.random((4, 400)) < 0.5, 1.0, -1.0)
    truth = random.random(400) < 0.5
    values = centre + np.where(np.vstack([truth, masks]), inside, outside)
    scores = {}
    for kind in ("class", "band"):
        attack = Loss(thresholds=kind)
        scores[kind] = attack.score(
            evidence_of(attack, own=values[0], shadows=values[1:], masks=masks, labels=labels, classes=2)
        )
    assert np.mean((scores["band"] >= 0) == truth) > 0.97
    assert np.mean((scores["class"] >= 0) == truth) < 0.8
