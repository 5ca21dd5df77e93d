import numpy as np
import pytest

from vestige.checks import duplicates, few_nonmembers, member_imbalance, near_duplicates
from vestige.seeds import rng

HALF = np.arange(1000) % 2 == 0


def test_enough_nonmembers_raise_nothing():
    assert few_nonmembers(10_000, [0.001, 0.01]) is None


def test_few_nonmembers_say_which_rates_are_coarse_and_which_withheld():
    check = few_nonmembers(500, [0.001, 0.01, 0.1])
    assert (check.id, check.level) == ("few-nonmembers", "warning")
    assert "TPR at 0.001 is withheld; TPR at 0.01 is coarse" in check.message
    assert "10,000" in check.message
    assert "500" in check.message
    assert "0.1 " not in check.message
    assert few_nonmembers(1000, [0.001]).message.endswith("TPR at 0.001 is coarse.")


@pytest.mark.parametrize(
    ("members", "nonmembers", "raised"), [(1000, 1000, False), (1000, 200, False), (199, 1000, True)]
)
def test_imbalance(members, nonmembers, raised):
    check = member_imbalance(members, nonmembers)
    assert (check is not None) == raised
    if check is not None:
        assert (check.id, check.level) == ("member-imbalance", "warning")


def test_twins_on_one_side_are_no_concern():
    first = np.arange(1000)
    first[2] = 0
    assert duplicates(first, HALF) is None


@pytest.mark.parametrize(("twins", "level"), [(1, None), (10, "warning"), (200, "error")])
def test_twins_across_the_sides(twins, level):
    first = np.arange(1000)
    first[1 : 2 * twins : 2] = first[0 : 2 * twins : 2]
    check = duplicates(first, HALF)
    assert (check.level if check else None) == level
    if check:
        assert check.id == "duplicates"
        assert f"{2 * twins} of 1,000 records" in check.message


def test_near_twins_are_found_in_the_share_they_have():
    draw = rng(0, "near")
    x = draw.normal(size=(1000, 100)).astype(np.float32)
    assert near_duplicates(x, HALF) == 0
    members, others = np.flatnonzero(HALF)[:100], np.flatnonzero(~HALF)[:100]
    x[members] = x[others] + 1e-3 * draw.normal(size=(100, 100))
    found = near_duplicates(x, HALF)
    assert found == pytest.approx(0.2)
    assert "20.0% of members have a near-duplicate" in duplicates(np.arange(1000), HALF, near=found).message


def test_near_twins_are_found_among_more_records_than_are_sampled():
    draw = rng(1, "near")
    x, member = draw.normal(size=(12_000, 10)).astype(np.float32), np.arange(12_000) < 6_000
    x[:3000] = x[6000:9000] + 1e-4 * draw.normal(size=(3000, 10))
    assert near_duplicates(x, member) == pytest.approx(0.5, abs=0.08)


def test_exact_twins_are_not_near_twins():
    x = rng(2, "near").normal(size=(1000, 30)).astype(np.float32)
    x[HALF] = x[~HALF]
    assert near_duplicates(x, HALF) == 0


def test_constant_features_and_single_records_do_no_harm():
    assert near_duplicates(np.ones((100, 3), np.float32), np.arange(100) < 50) == 0
    assert near_duplicates(np.ones((2, 3), np.float32), np.array([True, False])) == 0
