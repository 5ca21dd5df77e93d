"""Probes with hard labels, against closed forms and toys whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vestige.errors import UsageError
from vestige.records import Records
from vestige.signals import create
from vestige.signals.base import Probe, Setting
from vestige.target import Access, CountingTarget, Outputs


class Rule:
    """Labels by a function of the records."""

    access = Access.LABEL

    def __init__(self, rule):
        self.rule = rule

    def query(self, x, want):
        assert want == Access.LABEL
        return Outputs("labels", np.asarray(self.rule(x)).astype(np.int64))


def setting(x, y, *, rows=None, spare=(), references=(), recipe=None, budget=None, classes=("a", "b")):
    count = len(x)
    records = Records(x, np.asarray(y, np.int64), np.arange(count), None, classes)
    rows = np.arange(count) if rows is None else np.asarray(rows)
    return Setting(
        records=records, rows=rows, spare=np.asarray(spare, np.int64), references=references, recipe=recipe,
        budget=budget, seed=3,
    )  # fmt: skip


def test_every_label_signal_is_a_probe():
    for name in ("boundary", "robustness", "decisions", "extraction", "one_query"):
        assert isinstance(create(name), Probe)
        assert create(name).access == Access.LABEL


def test_gaussian_robustness_is_the_normal_law_of_the_distance():
    """F7: at distance d from a plane, a share Φ(d/σ) of noisy copies keep the label."""
    g = np.random.default_rng(0)
    x = g.standard_normal((400, 6)).astype(np.float32) * 2
    x[:, 0] = np.linspace(-2, 2, 400)
    deviation = x[:, 0].astype(np.float64).std()
    y = x[:, 0] > 0
    amount = 0.3
    probe = create(f"robustness(amount={amount}, kind='gaussian', queries=400)")
    target = CountingTarget(Rule(lambda a: a[:, 0] > 0))
    share = probe.probe(target, setting(x, y))[:, 0]
    assert target.queries == 400 * 400
    inner = np.abs(x[:, 0]) < 1  # clear of the box, where noise is cut
    expected = stats.norm.cdf(np.abs(x[:, 0]) / (amount * deviation))
    assert np.abs(share - expected)[inner].mean() < 0.02
    assert stats.norm.cdf(0.3 / 0.25) == pytest.approx(0.8849, abs=1e-4)


def test_flips_of_binary_records_are_binomial():
    """A label that is one bit survives a flip of probability p with probability 1 - p."""
    g = np.random.default_rng(0)
    x = g.integers(0, 2, (500, 12)).astype(np.uint8)
    share = create("robustness(amount=0.2, queries=100)").probe(Rule(lambda a: a[:, 3]), setting(x, x[:, 3]))
    assert share.mean() == pytest.approx(0.8, abs=0.01)


def test_tables_are_changed_by_category():
    frame = pd.DataFrame({"colour": ["red", "blue"] * 50, "size": np.arange(100.0)})
    rule = Rule(lambda t: (t["colour"] == "red").to_numpy())
    share = create("robustness(amount=0.4, queries=200)").probe(rule, setting(frame, frame["colour"] == "red"))
    assert share.mean() == pytest.approx(1 - 0.4 / 2, abs=0.02)
    bits = create("decisions(reach=30)").probe(rule, setting(frame, frame["colour"] == "red"))
    assert bits[:, 0].all()
    assert bits[:, 1:].mean() == pytest.approx(0.95, abs=0.02)
    with pytest.raises(UsageError, match="named columns"):
        create("boundary").probe(rule, setting(frame, frame["colour"] == "red"))


def test_noise_of_a_record_does_not_depend_on_the_others():
    g = np.random.default_rng(0)
    x = g.standard_normal((50, 4)).astype(np.float32)
    rule = Rule(lambda a: a.sum(1) > 0)
    y = x.sum(1) > 0
    for key in ("robustness(queries=20)", "decisions(reach=6)"):
        whole = create(key).probe(rule, setting(x, y))
        part = create(key).probe(rule, setting(x, y, rows=[7, 30, 49]))
        np.testing.assert_array_equal(whole[[7, 30, 49]], part)


def test_decisions_on_images_that_the_model_cannot_tell_apart_are_the_gap_attack():
    """A model that shifts do not move answers alike for every variant."""
    g = np.random.default_rng(0)
    x = g.integers(0, 255, (40, 8, 8)).astype(np.uint8)
    y = g.integers(0, 2, 40)
    bits = create("decisions(kind='translation', reach=1)").probe(
        Rule(lambda a: a.reshape(len(a), -1)[:, 0] >= 0), setting(x, y)
    )
    assert bits.shape == (40, 5)
    np.testing.assert_array_equal(bits, np.repeat((y == 1)[:, None], 5, axis=1))
    assert create("decisions(kind='rotation', reach=4)").probe(
        Rule(lambda a: a[:, 0, 0] >= 0), setting(x, y)
    ).shape == (40, 9)


def test_a_shift_moves_the_image():
    x = np.zeros((4, 5, 5), np.uint8)
    x[:, 2, 2] = 9
    rule = Rule(lambda a: a[:, 2, 2] == 9)
    bits = create("decisions(kind='translation', reach=1)").probe(rule, setting(x, np.ones(4)))
    np.testing.assert_array_equal(bits, [[1, 0, 0, 0, 0]] * 4)


def test_a_budget_is_kept():
    g = np.random.default_rng(0)
    x = g.standard_normal((30, 4)).astype(np.float32)
    y = x[:, 0] > 0
    target = CountingTarget(Rule(lambda a: a[:, 0] > 0))
    create("robustness(queries=100)").probe(target, setting(x, y, budget=10))
    assert target.queries == 300
    with pytest.raises(UsageError, match="budget"):
        create("decisions(reach=20)").probe(target, setting(x, y, budget=10))
    target = CountingTarget(Rule(lambda a: a[:, 0] > 0))
    found = create("boundary(queries=2500)").probe(target, setting(x, y, budget=120))
    assert (found[:, 2] <= 120).all()
    assert found[:, 2].max() > 60


def test_boundary_probe_orders_records_by_distance():
    g = np.random.default_rng(0)
    x = g.standard_normal((60, 8)).astype(np.float32)
    y = x[:, 0] > 0
    found = create("boundary(queries=1500)").probe(
        Rule(lambda a: a[:, 0] > 0), setting(x, y, spare=range(40, 60), rows=range(40))
    )
    assert stats.spearmanr(found[:, 0], np.abs(x[:40, 0])).statistic > 0.98
    assert (found[:, 0] >= np.abs(x[:40, 0]) * 0.999).all()


@pytest.mark.parametrize(
    "key",
    [
        "boundary(norm='l3')",
        "boundary(queries=3)",
        "robustness(kind='snow')",
        "robustness(queries=0)",
        "decisions(kind='zoom')",
        "decisions(reach=0)",
        "one_query(models=0)",
    ],
)
def test_parameters_outside_their_range_are_refused(key):
    with pytest.raises(UsageError):
        create(key)
