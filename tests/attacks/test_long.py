import numpy as np
import pytest

from reference import slow_calibrated as slow
from reference.slow_toys import Gaussian, evidence
from vestige.attacks import long as module
from vestige.attacks.long import Long, nearest
from vestige.attacks.reference import AttackR
from vestige.errors import AuditError, UsageError
from vestige.seeds import rng

TOY = Gaussian()


def world(attack, records=300, features=None, seed=0):
    own, references, masks, truth = TOY.draw(8, records, rng(seed, "long"))
    x = rng(seed, "features").normal(size=(records, 5)).astype(np.float32) if features is None else features
    return evidence(attack, -own, -references, masks, features=x), truth


def test_distances_equal_a_loop_over_pairs(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 37)
    x = rng(1, "x").normal(size=(150, 6)).astype(np.float32) * np.array([1, 100, 0.01, 1, 1, 0], np.float32)
    assert np.allclose(nearest(x, rng(0, "pool")), slow.nearest(x), rtol=1e-3, atol=1e-4)


def test_a_sample_of_neighbours_never_brings_a_record_closer(monkeypatch):
    x = rng(1, "pool").normal(size=(300, 3)).astype(np.float32)
    everyone = nearest(x, rng(0, "pool"))
    monkeypatch.setattr(module, "_POOL", 100)
    some = nearest(x, rng(0, "pool"))
    assert (some >= everyone - 1e-5).all()
    assert (some > 0).all()  # no record is its own neighbour


def test_only_outliers_are_scored_and_the_rest_come_after_in_order():
    attack = Long(fraction=0.1)
    given, _ = world(attack)
    scores, chosen = attack.score(given), attack.selected(given)
    distances = slow.nearest(given.features)
    assert chosen.sum() == 30
    assert distances[chosen].min() > distances[~chosen].max()
    assert scores[chosen].min() > scores[~chosen].max()
    tails = AttackR().score(world(AttackR())[0])
    assert np.array_equal(scores[chosen], tails[chosen])
    assert np.array_equal(np.argsort(scores[~chosen]), np.argsort(tails[~chosen]))


def test_all_records_selected_is_attack_r():
    attack = Long(fraction=1.0)
    given, _ = world(attack)
    assert np.array_equal(attack.score(given), AttackR().score(world(AttackR())[0]))


def test_equal_distances_are_selected_together():
    corners = np.array([[i >> b & 1 for b in range(6)] for i in range(64)], np.float32)
    attack = Long(fraction=0.25)
    given, _ = world(attack, 64, corners)
    assert attack.selected(given).all()
    duplicates = np.zeros((64, 2), np.float32)
    given, _ = world(attack, 64, duplicates)
    assert np.isfinite(attack.score(given)).all()


def test_the_order_of_records_does_not_matter():
    attack = Long()
    own, references, masks, _ = TOY.draw(8, 200, rng(3, "order"))
    x = rng(3, "x").normal(size=(200, 4)).astype(np.float32)
    order = rng(3, "permutation").permutation(200)
    plain = attack.score(evidence(attack, -own, -references, masks, features=x))
    moved = attack.score(evidence(attack, -own[order], -references[:, order], masks[:, order], features=x[order]))
    assert np.allclose(plain[order], moved)


def test_few_records_and_bad_options():
    for records in (1, 2, 3):
        given, _ = world(Long(), records)
        assert np.isfinite(Long().score(given)).all()
    with pytest.raises(UsageError, match="fraction"):
        Long(fraction=0)
    own, references, masks, _ = TOY.draw(4, 10, rng(0, "none"))
    with pytest.raises(AuditError, match="features"):
        Long().score(evidence(Long(), own, references, masks))
