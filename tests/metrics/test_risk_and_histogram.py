import numpy as np
import pytest

from vestige.errors import UsageError
from vestige.metrics import (
    auc,
    exposure_quantiles,
    histogram,
    posterior_histogram,
    proportion,
    roc,
    share_at_risk,
    slices,
)
from vestige.seeds import rng


def test_only_members_can_be_at_risk():
    posterior = np.array([0.95, 0.9, 0.89, 0.99])
    count, share = share_at_risk(posterior, [True, True, True, False])
    assert count == 2
    assert share == proportion(2, 3)


def test_the_posterior_histogram_is_of_members():
    found = posterior_histogram([0.0, 0.05, 0.95, 1.0, 0.5], [True, True, True, True, False])
    assert found == [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.5]


def test_exposure_quantiles_leave_out_the_unknown():
    assert exposure_quantiles(np.array([np.nan, 0.5, 0.7, 0.9])) == pytest.approx([0.5, 0.52, 0.6, 0.7, 0.8, 0.88, 0.9])
    assert exposure_quantiles(np.array([np.nan])) == []


def test_slices_are_the_figures_of_their_own_records():
    draw = rng(0, "slices")
    group, member = draw.integers(0, 3, 900), draw.random(900) < 0.5
    scores = draw.normal(size=900) + member * group
    posterior = 1 / (1 + np.exp(-scores))
    found = slices(group, scores, member, names=["a", "b", "c"], posterior=posterior, threshold=0.8)
    assert [each.name for each in found] == ["a", "b", "c"]
    for code, each in enumerate(found):
        mine = group == code
        assert each.members == int((mine & member).sum())
        assert each.nonmembers == int((mine & ~member).sum())
        assert each.auc == auc(roc(scores[mine & member], scores[mine & ~member]))
        assert each.mean_posterior == pytest.approx(posterior[mine & member].mean())
        assert each.at_risk == int((posterior[mine & member] >= 0.8).sum())


def test_a_small_slice_keeps_its_counts_and_withholds_its_auc():
    group = np.array(["big"] * 100 + ["small"] * 10)
    member = np.arange(110) % 2 == 0
    found = {each.name: each for each in slices(group, rng(1, "slices").normal(size=110), member)}
    assert found["big"].auc.value is not None
    assert found["small"].auc.value is None
    assert "5 and 5" in found["small"].auc.reason
    assert found["small"].mean_posterior is None
    assert found["small"].at_risk is None


def test_shares_sum_to_one_and_outliers_stay_in_the_end_bins():
    draw = rng(2, "histogram")
    m, n = np.append(draw.normal(size=999), 1e9), np.append(draw.normal(size=1999), -1e9)
    found = histogram(m, n)
    assert len(found.edges) == 41
    assert found.members.sum() == pytest.approx(1)
    assert found.nonmembers.sum() == pytest.approx(1)
    assert np.abs(found.edges).max() < 5
    inner = (m >= found.edges[20]) & (m < found.edges[21])
    assert found.members[20] == pytest.approx(inner.mean())
    assert found.members[-1] == pytest.approx(np.mean(m >= found.edges[-2]))


@pytest.mark.parametrize("value", [0.0, 1e6, -3e-9])
def test_equal_scores_fall_into_one_bin(value):
    found = histogram(np.full(5, value), np.full(7, value), bins=10)
    assert (np.diff(found.edges) > 0).all()
    assert sorted(found.members)[-2:] == [0, 1]
    np.testing.assert_array_equal(found.members, found.nonmembers)


def test_no_bins_is_an_error():
    with pytest.raises(UsageError, match="1 bin"):
        histogram([1], [2], bins=0)
