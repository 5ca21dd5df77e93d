"""YOQO on a line, where the telling point is known; and the copy that the transfer attack asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from vestige.backends.torch_target import TorchTarget  # noqa: E402
from vestige.errors import AccessError, UsageError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.signals import create  # noqa: E402
from vestige.signals.base import Setting  # noqa: E402
from vestige.target import Access, Outputs  # noqa: E402


@dataclass
class Known:
    target: Any
    mask: Any


def step_at(place, slope=8.0):
    """A model on one feature with classes a (left) and b (right) whose boundary lies at ``place``."""
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-slope / 2], [slope / 2]]))
        layer.bias.copy_(torch.tensor([slope / 2 * place, -slope / 2 * place]))
    return TorchTarget.wrap(layer, classes=2)


class Asked:
    access = Access.LABEL

    def __init__(self, place):
        self.place, self.points = place, []

    def query(self, x, want):
        assert want == Access.LABEL
        self.points.append(np.asarray(x))
        return Outputs("labels", (np.asarray(x)[:, 0] > self.place).astype(np.int64))


def line(references, count=9):
    """Records left of every boundary, class a; the box is the range of all records."""
    x = np.concatenate([np.linspace(0.0, 0.1, count), [-1.0, 1.0]]).astype(np.float32)[:, None]
    y = np.concatenate([np.zeros(count), [0, 1]]).astype(np.int64)
    records = Records(x, y, np.arange(len(x)), None, ("a", "b"))
    return Setting(
        records=records, rows=np.arange(count), spare=np.empty(0, np.int64), references=references, recipe=None,
        budget=None, seed=0,
    )  # fmt: skip


def knowing(place, inside, total=11):
    return Known(step_at(place), np.full(total, inside))


def test_offline_points_lie_just_past_the_boundary_of_models_without_the_record():
    """OUT models change their label at .3, IN models at .6: the point must end between, near .3."""
    references = [knowing(0.3, False) for _ in range(16)]
    member, other = Asked(0.6), Asked(0.3)
    probe = create("one_query(steps=400, rate=0.001)")
    found = probe.probe(member, line(references))
    points = member.points[0][:, 0]
    assert (points > 0.3).all()
    assert (points < 0.6).all()
    assert len(member.points) == 1
    assert found[:, 0].all()
    assert not probe.probe(other, line(references))[:, 0].any()


def test_online_points_keep_the_label_of_models_with_the_record():
    references = [knowing(0.2, False) for _ in range(8)] + [knowing(0.7, True) for _ in range(8)]
    asked = Asked(0.5)
    create("one_query(steps=400, rate=0.001, online=True, models=8)").probe(asked, line(references))
    points = asked.points[0][:, 0]
    assert (points > 0.2).all()
    assert (points < 0.7).all()


def test_a_heavy_weight_leaves_the_record_where_it_is():
    """α → ∞: the one query is the record itself, and the attack is the gap attack."""
    asked = Asked(0.05)
    create("one_query(weight=1e9, rate=1e-12)").probe(asked, line([knowing(0.3, False)] * 4))
    np.testing.assert_allclose(asked.points[0][:, 0], np.linspace(0, 0.1, 9), atol=1e-3)


@pytest.mark.parametrize("scale", [255.0, 0.01])
def test_the_unit_that_features_are_measured_in_makes_no_difference(scale):
    """Bytes are 255 times as large as the same pixels between 0 and 1, and must be moved 255 times as far."""
    asked = {1.0: Asked(0.5), scale: Asked(0.5)}
    for unit, target in asked.items():
        setting = line([Known(step_at(0.3 * unit, 8.0 / unit), np.zeros(11, dtype=bool)) for _ in range(4)])
        records = setting.records
        records = Records(records.x * np.float32(unit), records.y, records.ids, None, records.classes)
        create("one_query(steps=200, rate=0.001)").probe(target, replace(setting, records=records))
    assert (asked[1.0].points[0] > 0.3).any()
    np.testing.assert_allclose(asked[scale].points[0] / scale, asked[1.0].points[0], rtol=1e-4, atol=1e-6)


def test_points_stay_inside_the_box():
    asked = Asked(0.5)
    create("one_query(steps=50, rate=10.0)").probe(asked, line([knowing(0.9, False)] * 4))
    assert np.abs(asked.points[0]).max() <= 1.0


def test_what_it_cannot_work_with_is_said():
    with pytest.raises(UsageError, match="did not train"):
        create("one_query").probe(Asked(0.5), line([knowing(0.3, True)]))
    with pytest.raises(AccessError, match="torch"):
        create("one_query").probe(Asked(0.5), line([Known(Asked(0.3), np.zeros(11, dtype=bool))]))


class Copies:
    """A recipe whose models answer the class means of what they were trained on."""

    def fit(self, records, rows, seed):
        means = np.stack([records.x[rows][records.y[rows] == k].mean(0) for k in (0, 1)])

        class Nearest:
            access = Access.SCORE

            def query(self, x, want):
                return Outputs("logits", -((np.asarray(x)[:, None] - means) ** 2).sum(2))

        return Nearest()

    def fingerprint(self):
        return "copies"


def test_the_copy_learns_the_targets_labels_not_the_true_ones():
    g = np.random.default_rng(0)
    x = g.standard_normal((300, 2)).astype(np.float32)
    y = g.integers(0, 2, 300)
    records = Records(x, y, np.arange(300), None, ("a", "b"))
    asked = Asked(0.0)
    found = create("extraction").probe(
        asked,
        Setting(records=records, rows=np.arange(100), spare=np.arange(100, 300), references=(), recipe=Copies(),
                budget=None, seed=0),
    )  # fmt: skip
    right = (x[:100, 0] > 0) == y[:100]
    np.testing.assert_array_equal(found[:, 1], right)
    assert found[right, 0].mean() > found[~right, 0].mean() + 0.5
    assert sum(len(points) for points in asked.points) == 300
    with pytest.raises(UsageError, match="population"):
        create("extraction").probe(asked, Setting(records=records, rows=np.arange(9), spare=np.arange(3), references=(),
                                                  recipe=Copies(), budget=None, seed=0))  # fmt: skip
