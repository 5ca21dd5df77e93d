"""Which members several attacks catch: against sets counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from vestige.metrics import agreement

MEMBERS = np.arange(400) < 200


def test_sets_counted_one_by_one():
    draw = np.random.default_rng(0)
    scores = {name: draw.standard_normal(400) + shift * MEMBERS for name, shift in (("a", 2), ("b", 1), ("c", 0))}
    found = agreement(scores, MEMBERS, 0.05)
    sets, accused = {}, set()
    for name, values in scores.items():
        bar = sorted(values[~MEMBERS])[-11]  # ten of 200 lie above it
        sets[name] = {int(i) for i in np.flatnonzero(MEMBERS & (values > bar))}
        accused |= {int(i) for i in np.flatnonzero(~MEMBERS & (values > bar))}
    assert found.caught == tuple(len(sets[name]) for name in "abc")
    assert found.some == len(sets["a"] | sets["b"] | sets["c"])
    assert found.every == len(sets["a"] & sets["b"] & sets["c"])
    assert found.wrong == len(accused) / 200
    for i, one in enumerate("abc"):
        for j, other in enumerate("abc"):
            expected = len(sets[one] & sets[other]) / len(sets[one] | sets[other])
            assert found.jaccard[i, j] == pytest.approx(expected)


def test_copies_agree_and_an_attack_that_catches_nobody_has_no_likeness():
    values = np.arange(400)[::-1]
    found = agreement({"one": values, "two": 2 * values, "none": -values}, MEMBERS, 0.01)
    assert found.jaccard[0, 1] == 1
    assert found.jaccard[0, 2] == 0
    assert np.isnan(found.jaccard[2, 2])
    assert (found.some, found.every) == (200, 0)
