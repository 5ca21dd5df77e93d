from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from attacks import internal_pools as pools
from vestige.attacks.gradient_norm import GradientNorm
from vestige.attacks.nasr import KEY, Nasr, embedded, two_clusters
from vestige.attacks.threshold import Loss
from vestige.errors import AuditError, UsageError
from vestige.signals import SignalTable
from vestige.target import Access

EVERY = [Nasr(), Nasr(family="logistic"), Nasr(supervised=False)]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_memorised_records_are_found(attack):
    assert pools.memorised_area(attack) > 0.95


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_records_nobody_trained_on_score_like_chance(attack):
    assert pools.is_chance(pools.unseen_areas(attack, 6 if attack.supervised else 60))


def test_gradients_take_nothing_from_what_the_loss_tells():
    assert pools.memorised_area(Nasr(family="logistic")) > pools.memorised_area(Loss()) - 0.01


def test_without_the_features_of_the_inside_the_loss_is_what_is_left():
    """Blank every component but the loss: the ranking is then the loss attack's, up to what labels add."""
    field = pools.memorised()
    attack = Nasr(family="logistic")
    evidence = field.evidence(0, attack)
    blank = [_blank(table) for table in (evidence.own, evidence.shadows)]
    scores = attack.score(replace(evidence, own=blank[0], shadows=blank[1]))
    loss = evidence.target(KEY)[:, 0, 1]
    for c in range(10):  # within a class, labels add nothing
        which = np.asarray(evidence.labels) == c
        order = np.argsort(loss[which], kind="stable")
        assert (np.diff(scores[which][order]) <= 1e-9).all()


def _blank(table):
    values = np.array(table.block(KEY, 0, table.records))
    values[..., [k for k in range(values.shape[-1]) if k != 1]] = 0
    return SignalTable({KEY: values}, table.records, table.models)


def test_unsupervised_it_reads_the_target_alone():
    attack = Nasr(supervised=False)
    assert attack.needs.side == "none"
    assert attack.needs.shadows == 0
    assert not attack.trains
    assert Nasr().trains
    assert Nasr().access == Access.WHITE_BOX


def test_two_clusters_of_one_width_are_told_apart_by_their_exact_odds():
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(-2, 0.7, 6000), draw.normal(3, 0.7, 4000)])
    odds = two_clusters(values)
    exact = np.log(6 / 4) + ((values - 3) ** 2 - (values + 2) ** 2) / (2 * 0.49)
    np.testing.assert_allclose(odds, exact, rtol=0.05, atol=0.3)
    assert ((odds > 0)[:6000].mean(), (odds < 0)[6000:].mean()) > (0.999, 0.999)
    np.testing.assert_array_equal(np.argsort(-odds, kind="stable"), np.argsort(values, kind="stable"))


def test_one_cluster_still_keeps_the_order():
    values = np.random.default_rng(0).normal(size=500)
    odds = two_clusters(values)
    assert np.isfinite(odds).all()
    np.testing.assert_array_equal(np.argsort(-odds, kind="stable"), np.argsort(values, kind="stable"))


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(1), np.full(9, 3.0), np.array([1.0] * 50 + [2.0])])
def test_few_or_equal_values_give_finite_scores(values):
    odds = two_clusters(values)
    assert odds.shape == values.shape
    assert np.isfinite(odds).all()
    assert len(set(odds)) == len(set(values))


def test_the_embedding_follows_the_gradients():
    draw = np.random.default_rng(0)
    common = draw.normal(size=300)
    features = np.outer(common, [2.0, 1.0, 0.5, -1.0]) + 0.05 * draw.normal(size=(300, 4))
    for turn in (1, -1):
        found = embedded(features * turn)
        assert np.corrcoef(found, features[:, 0] * turn)[0, 1] > 0.99
    # The best linear autoencoder of one number: what it cannot reconstruct is the least there is.
    scaled = (features - features.mean(0)) / features.std(0)
    found = embedded(features)
    rest = scaled - np.outer(found, found @ scaled / (found @ found))
    values = np.linalg.svd(scaled, compute_uv=False)
    assert (rest**2).sum() == pytest.approx((values[1:] ** 2).sum())


def test_an_attack_on_records_of_its_own_shadow_models_transfers():
    field = pools.memorised()
    attack = Nasr(family="logistic")
    evidence = field.evidence(0, attack)
    np.testing.assert_array_equal(attack.transfer(evidence, evidence), attack.score(evidence))


def test_too_few_shadow_rows_leave_the_loss():
    field = pools.memorised()
    attack = Nasr(rows=1)
    evidence = field.evidence(0, attack)
    few = replace(
        evidence,
        labels=evidence.labels[:4],
        own=evidence.own.slice(0, 4),
        shadows=evidence.shadows.slice(0, 4),
        masks=evidence.masks[:, :4],
    )
    np.testing.assert_allclose(attack.score(few), -few.target(KEY)[:, 0, 1])


def test_impossible_options_are_refused():
    with pytest.raises(UsageError, match="mlp"):
        Nasr(family="svm")
    with pytest.raises(UsageError, match="row"):
        Nasr(rows=0)
    evidence = pools.memorised().evidence(0, Nasr())
    none = replace(evidence, shadows=evidence.shadows.select(np.empty(0, int)), masks=evidence.masks[:0])
    with pytest.raises(AuditError, match="shadow"):
        Nasr().score(none)


def test_it_finds_about_as_much_as_the_gradient_alone():
    assert pools.memorised_area(Nasr(supervised=False)) > pools.memorised_area(GradientNorm()) - 0.02
