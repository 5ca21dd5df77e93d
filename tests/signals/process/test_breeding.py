"""Offspring of two records: like both, equal to neither, and never anything that is not in the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vestige.signals.process.breeding import breed, joined


def draws(seed=0):
    return np.random.default_rng(seed)


def test_columns_of_a_table_come_from_either_parent_by_a_coin():
    x = np.arange(12).reshape(4, 3) + np.array([0, 100, 200])
    found = breed(x, np.array([1, 3]), 4000, draws())
    assert found.dtype == x.dtype
    first = found == x[1]
    assert (first | (found == x[3])).all()
    np.testing.assert_allclose(first.mean(axis=0), 0.5, atol=0.04)
    assert np.corrcoef(first.T)[0, 1] == pytest.approx(0.0, abs=0.06)


def test_tables_with_names_keep_their_types():
    frame = pd.DataFrame({
        "size": np.arange(6.0), "colour": pd.Categorical(list("rgbrgb")), "whole": np.arange(6, dtype=np.int16),
    })  # fmt: skip
    found = breed(frame, np.array([0, 2, 4]), 50, draws())
    assert found.dtypes.to_dict() == frame.dtypes.to_dict()
    assert set(found["size"]) == {0.0, 2.0, 4.0}
    both = joined(frame, found)
    assert len(both) == 56
    assert both.dtypes.to_dict() == frame.dtypes.to_dict()
    assert list(both.index) == list(range(56))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_mixed(dtype):
    x = draws(1).integers(0, 256, (5, 4, 4, 3)).astype(dtype)
    found = breed(x, np.arange(5), 300, draws())
    assert found.dtype == dtype
    assert found.shape == (300, 4, 4, 3)
    for image in found[:20].astype(np.float64):
        # On the line between two of the originals, up to rounding.
        gaps = [
            np.abs(image - (w * x[a] + (1 - w) * x[b])).max()
            for a in range(5) for b in range(a)
            for w in [np.clip(_weight(image, x[a].astype(np.float64), x[b].astype(np.float64)), 0, 1)]
        ]  # fmt: skip
        assert min(gaps) < 0.75


def _weight(image, a, b):
    return float(((image - b) * (a - b)).sum() / ((a - b) ** 2).sum())


def test_parents_differ_and_all_have_children():
    x = np.eye(5)
    found = breed(x, np.arange(5), 3000, draws())
    assert (found.sum(axis=1) <= 2).all()
    assert found.any(axis=0).all()
    # Two different rows of the identity: never more than one column from each, and both lost as often as both kept.
    assert (found.sum(axis=1) == 2).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(breed(x, np.arange(5), 7, draws(3)), breed(x, np.arange(5), 7, draws(3)))
