"""The front, dominance and hypervolume against closed forms and a slow second implementation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.tradeoff.pareto import Box, dominators, front, hypervolume


def point(accuracy, leakage, wide=0.0, tall=0.0):
    return Box(utility=(accuracy - wide, accuracy, accuracy + wide), leakage=(leakage - tall, leakage, leakage + tall))


def test_front_leaves_out_what_another_beats_and_keeps_ties():
    boxes = [point(0.9, 0.1), point(0.8, 0.2), point(0.95, 0.3), point(0.9, 0.1), point(0.9, 0.2)]
    assert front(boxes) == [True, False, True, True, False]
    assert front([]) == []


def test_one_dominates_only_with_its_whole_box():
    clear, near, wide = point(0.9, 0.1, 0.01, 0.02), point(0.8, 0.2, 0.01, 0.02), point(0.895, 0.11, 0.02, 0.05)
    assert dominators([clear, near, wide]) == [[], [0, 2], []]
    assert dominators([clear, clear]) == [[], []]


def test_below_the_floor_leakages_are_alike():
    floor = 0.01
    better, worse = (point(a, leak, 0.001, 0.0005).floored(floor) for a, leak in ((0.9, 0.004), (0.8, 0.001)))
    assert dominators([better, worse]) == [[], [0]]
    assert front([better, worse]) == [True, False]


def test_hypervolume_of_one_point_is_its_rectangle():
    # Halfway from chance to 1, halfway from 1 to the floor by the logarithm.
    assert hypervolume([(0.55, 0.1)], chance=0.1, floor=0.01) == pytest.approx(0.25)
    assert hypervolume([(1.0, 0.001)], chance=0.1, floor=0.01) == pytest.approx(1.0)
    assert hypervolume([(0.1, 0.001), (0.9, 1.0)], chance=0.1, floor=0.01) == 0.0


def test_hypervolume_of_a_staircase_is_the_union():
    # Rectangles 0.8 × 0.25 and 0.4 × 0.75 in units of the page share 0.4 × 0.25.
    points = [(0.8, 0.01**0.25), (0.4, 0.01**0.75)]
    assert hypervolume(points, chance=0.0, floor=0.01) == pytest.approx(0.8 * 0.25 + 0.4 * 0.75 - 0.4 * 0.25)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 1)), max_size=6))
def test_hypervolume_is_the_share_of_a_fine_grid(points):
    floor, n = 0.01, 60
    centres = (np.arange(n) + 0.5) / n
    wide, tall = np.meshgrid(centres, centres)
    covered = np.zeros((n, n), bool)
    for accuracy, leakage in points:
        covered |= (wide <= accuracy) & (tall <= math.log(max(leakage, floor)) / math.log(floor))
    found = hypervolume(points, chance=0.0, floor=floor)
    assert found == pytest.approx(covered.mean(), abs=2 * (len(points) + 1) / n)
    assert found <= hypervolume([*points, (0.5, 0.1)], chance=0.0, floor=floor) + 1e-12


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=8)
)
def test_whoever_is_dominated_is_off_the_front_and_somebody_is_on_it(points):
    boxes = [point(*each) for each in points]
    leads, over = front(boxes), dominators(boxes)
    assert any(leads)
    assert not any(lead and beaten for lead, beaten in zip(leads, over, strict=True))
    assert all(k not in beaten for k, beaten in enumerate(over))
