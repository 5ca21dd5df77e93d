"""Snapshots of the target's own training, and the way of both sequences through the store."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.errors import AuditError, UsageError  # noqa: E402
from vestige.probing import Lazy, probe_keys, probe_pool  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.signals import measure_outputs  # noqa: E402
from vestige.signals.base import Setting, SignalTable  # noqa: E402
from vestige.signals.process.snapshots import Snapshots, chosen  # noqa: E402
from vestige.split import draw  # noqa: E402
from vestige.store import Store  # noqa: E402
from vestige.target import Access, CountingTarget  # noqa: E402

RECIPE = TorchRecipe(hidden=(12,), epochs=6, batch_size=16, lr=0.1)


def blobs(n=150, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, 3, n)
    x = g.normal(size=(n, 5)) + np.eye(3, 5)[y]
    return Records(x.astype(np.float32), y.astype(np.int64), np.arange(n), None, tuple("abc"))


def setting(records, history):
    return Setting(
        records=records, rows=np.arange(90), spare=np.arange(0), references=(), recipe=RECIPE, budget=None, seed=0,
        history=history,
    )  # fmt: skip


def test_they_are_the_losses_of_the_training_itself():
    records, rows = blobs(), np.arange(45)
    target = CountingTarget(RECIPE.fit(records, rows, 3))
    found = Snapshots().probe(target, setting(records, partial(_follow, records, rows, 3))).reshape(90, 6, 5)
    assert target.queries == 90
    for epoch in range(6):
        outputs = _stopped(epoch + 1).fit(records, rows, 3).query(records.x[:90], Access.SCORE)
        expected = measure_outputs(outputs, records.y[:90], ["loss", "entropy"])
        np.testing.assert_allclose(found[:, epoch, 0], expected["loss"][:, 0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[:, epoch, 3], expected["entropy"][:, 0], rtol=1e-4, atol=1e-5)
    assert np.abs(found[:, 0, 0] - found[:, -1, 0]).max() > 0.1


def _stopped(epochs):
    """The recipe, cut short: its schedule still counts by the whole number of epochs."""
    return replace(
        RECIPE, epochs=epochs, schedule=lambda share: 0.5 * (1 + np.cos(np.pi * share * epochs / RECIPE.epochs))
    )


def _follow(records, rows, seed, asked, visit):
    RECIPE.follow(records, rows, seed, asked, visit)


def test_a_training_that_ends_elsewhere_is_not_the_targets():
    records = blobs()
    target = RECIPE.fit(records, np.arange(45), 3)
    with pytest.raises(AuditError, match="ended in another one"):
        Snapshots().probe(target, setting(records, partial(_follow, records, np.arange(45), 4)))
    with pytest.raises(UsageError, match="was not trained here"):
        Snapshots().probe(target, setting(records, None))


def test_few_snapshots_are_spread_evenly_and_keep_the_last():
    np.testing.assert_array_equal(chosen(5, 50), np.arange(5))
    np.testing.assert_array_equal(chosen(9, 3), [0, 4, 8])
    np.testing.assert_array_equal(chosen(7, 1), [6])
    assert len(chosen(0, 4)) == 0
    records, rows = blobs(), np.arange(45)
    target, given = RECIPE.fit(records, rows, 3), setting(records, partial(_follow, records, rows, 3))
    every = Snapshots().probe(target, given).reshape(90, 6, 5)
    np.testing.assert_array_equal(Snapshots(count=2).probe(target, given).reshape(90, 3, 5), every[:, [0, 4, 5]])


@pytest.fixture(scope="module")
def pool():
    records = blobs()
    return records, draw(len(records), shadows=4, seed=2, population=0.2)


def measured(pool, folder, keys, models=(0, 1, 3), **options):
    records, split = pool
    table = SignalTable({}, len(records), 1 + split.shadows)
    return probe_pool(table, keys, models, split, RECIPE, records, Store(folder), **options)


KEYS = ("distilled(epochs=3)", "snapshots")


def test_both_are_found_in_the_store_again(pool, tmp_path, monkeypatch):
    assert probe_keys([*KEYS, "loss"]) == KEYS
    first = measured(pool, tmp_path, KEYS)
    assert [first.has(key, m) for key in KEYS for m in range(5)] == [True, True, False, True, False] * 2
    assert first.model(KEYS[0], 0).shape == (150, 1, 4 * 5)
    assert first.model(KEYS[1], 3).shape == (150, 1, 6 * 5)
    # Two different sequences that end in one and the same target.
    np.testing.assert_array_equal(first.model(KEYS[0], 1)[..., -5:], first.model(KEYS[1], 1)[..., -5:])
    assert not np.array_equal(first.model(KEYS[0], 0), first.model(KEYS[0], 1))
    monkeypatch.setattr(Lazy, "target", property(lambda self: pytest.fail("the store was not read")))
    again = measured(pool, tmp_path, KEYS)
    for key in KEYS:
        for model in (0, 1, 3):
            np.testing.assert_array_equal(again.model(key, model), first.model(key, model))


def test_another_store_and_other_processes_give_the_same_bytes(pool, tmp_path):
    first = measured(pool, tmp_path / "a", KEYS, (0, 1))
    other = measured(pool, tmp_path / "b", KEYS, (0, 1), executor="processes", workers=2)
    for key in KEYS:
        np.testing.assert_array_equal(first.model(key, 1), other.model(key, 1))


def test_a_model_trained_elsewhere_has_no_snapshots_but_can_be_distilled(pool, tmp_path):
    records, split = pool
    given = RECIPE.fit(records, split.rows(0), 99)
    found = measured(pool, tmp_path, KEYS[:1], (0,), given=given, given_key="given")
    assert found.model(KEYS[0], 0).shape == (150, 1, 20)
    with pytest.raises(UsageError, match="was not trained here"):
        measured(pool, tmp_path, KEYS[1:], (0,), given=given, given_key="given")


def test_recipes_that_do_not_go_by_epochs_say_so(tmp_path):
    tree = pytest.importorskip("sklearn.tree")
    from vestige.backends.sklearn import SklearnRecipe

    records = blobs()
    one = Lazy(
        recipe=SklearnRecipe(tree.DecisionTreeClassifier()),
        records=records,
        rows=np.arange(45),
        seed=0,
        store=str(tmp_path),
    )
    with pytest.raises(UsageError, match="SklearnRecipe shows no snapshots"):
        one.history(np.arange(5), lambda _: None)
