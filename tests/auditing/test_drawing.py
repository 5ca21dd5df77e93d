"""Who trains on what, when a config or an existing target says so."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression

from vestige.auditing.drawing import draw_split
from vestige.auditing.inputs import Inputs
from vestige.backends.function import CallableTarget
from vestige.backends.sklearn import SklearnRecipe
from vestige.config import AuditConfig
from vestige.errors import DataError, UsageError
from vestige.records import Records

RECORDS = Records.build(np.random.default_rng(0).normal(size=(400, 3)), np.arange(400) % 4)


def config(**sections):
    return AuditConfig.model_validate(sections)


def inputs(members=None):
    return Inputs(
        records=RECORDS,
        recipe=SklearnRecipe(LogisticRegression()),
        target=None if members is None else CallableTarget(len, task="classification", classes=4),
        members=members,
    )


def test_masks_of_one_s_own(tmp_path):
    masks = np.random.default_rng(1).random((6, 400)) < 0.3
    np.save(tmp_path / "masks.npy", masks)
    split = draw_split(config(shadow={"masks": str(tmp_path / "masks.npy")}), inputs(), 6)
    assert split.design == "given"
    np.testing.assert_array_equal(split.masks[1:], masks)
    assert len(split.references(0)) == 6
    assert len(split.references(3)) == 5
    assert not len(split.population)


@pytest.mark.parametrize(
    ("content", "message"),
    [(np.ones((5, 400)), r"shape \(6, 400\).*got \(5, 400\)"), (b"not an array", "Could not read")],
)
def test_masks_that_do_not_fit_are_one_sentence(tmp_path, content, message):
    file = tmp_path / "masks.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    with pytest.raises(DataError, match=message):
        draw_split(config(shadow={"masks": str(file)}), inputs(), 6)


def test_an_existing_target_sets_the_share_shadow_models_train_on():
    members = np.arange(400) < 300
    split = draw_split(config(data={"population": 0.0}), inputs(members), 8)
    np.testing.assert_array_equal(split.masks[0], members)
    np.testing.assert_array_equal(split.masks[1:5].sum(axis=0), 3)
    assert set(split.masks[1:].sum(axis=1)) == {300}


@pytest.mark.parametrize(("members", "size"), [(200, 2), (220, 2), (340, 6), (390, None)])
def test_blocks_stay_small_for_a_given_target(members, size):
    split = draw_split(config(data={"population": 0.0}), inputs(np.arange(400) < members), 12)
    sizes = np.bincount(split.blocks[1:])
    assert set(sizes) == ({1} if size is None else {size})
    assert abs(split.masks[1:].mean() - members / 400) < 0.06


def test_a_limit_scores_fewer_records_of_a_given_target_and_trains_on_all():
    members = np.arange(400) < 200
    split = draw_split(config(data={"population": 0.0, "limit": 120}), inputs(members), 4)
    assert len(split.audited) == 120
    assert split.masks[0].sum() == 200
    assert set(split.masks[1:].sum(axis=1)) == {200}


def test_few_nonmembers_are_not_spent_on_a_population():
    members = np.arange(400) < 200
    assert not len(draw_split(config(data={"population": 0.2}), inputs(members), 4).population)
    held = draw_split(config(data={"population": 0.5}), inputs(members), 4).population
    assert len(held) == 100
    assert not members[held].any()


def test_more_targets_than_models_is_one_sentence():
    with pytest.raises(UsageError, match=r"targets = 4 needs at least 3 shadow models"):
        draw_split(config(audit={"targets": 4}), inputs(), 2)
