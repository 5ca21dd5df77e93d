from dataclasses import dataclass, field

import numpy as np
import pytest

from vestige.gate import compare, findings_of
from vestige.metrics import Estimate, auc, roc
from vestige.seeds import rng


@dataclass(frozen=True)
class Point:
    fpr: float
    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Attack:
    name: str
    auc: Estimate
    tpr: list[Point] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    balanced_accuracy: Estimate = field(default_factory=Estimate)

    @property
    def title(self):
        return self.name


def figure(value, half=0.01):
    return Estimate(value=value, low=value - half, high=value + half)


@pytest.mark.parametrize(
    ("new", "verdict"), [(0.60, "same"), (0.61, "same"), (0.62, "worse"), (0.59, "same"), (0.58, "better")]
)
def test_a_change_is_judged_against_both_intervals(new, verdict):
    (change,) = compare([Attack("loss", figure(0.60))], [Attack("loss", figure(new))])
    assert change.verdict == verdict
    assert change.low < new - 0.60 < change.high
    assert findings_of([change])[0].passed == (verdict != "worse")


def test_uneven_intervals_count_on_the_side_that_faces_the_other():
    old, new = Estimate(value=0.0, low=0.0, high=0.02), Estimate(value=0.021, low=0.016, high=0.2)
    (change,) = compare([Attack("a", old)], [Attack("a", new)])
    assert change.verdict == "worse"
    assert change.low == pytest.approx(0.021 - np.hypot(0.005, 0.02))


def test_more_figures_need_more_evidence():
    old = [Attack(str(i), figure(0.60)) for i in range(20)]
    new = [Attack(str(i), figure(0.615)) for i in range(20)]
    assert compare(old[:1], new[:1])[0].verdict == "worse"
    assert {change.verdict for change in compare(old, new)} == {"same"}


def test_what_can_no_longer_be_told_does_not_pass():
    old = Attack("lira", figure(0.7), [Point(0.001, 0.05, 0.04, 0.06), Point(0.01, None, None, None, "too few")])
    gone = findings_of(compare([old], []))
    assert [finding.metric for finding in gone] == [
        "auc",
        "tpr@0.001",
    ]  # what the old audit had not resolved is not asked for
    assert not any(finding.passed for finding in gone)
    failed = compare([old], [Attack("lira", Estimate(), status="failed", reason="it broke")])
    assert "it failed: it broke" in failed[0].message
    poor = Attack("lira", figure(0.7), [Point(0.001, None, None, None, "needs at least 1,000 non-members")])
    assert "1,000 non-members" in compare([old], [poor])[1].message


def test_an_attack_that_had_failed_before_is_not_compared():
    assert compare([Attack("lira", Estimate(), status="failed")], [Attack("lira", figure(0.9))]) == []


def test_the_same_leak_measured_twice_is_rarely_called_different():
    draw, alarms = rng(0, "baseline"), 0
    for _ in range(400):
        old, new = (
            [Attack(name, auc(roc(draw.normal(1, 1, 200), draw.normal(0, 1, 200)))) for name in "abc"] for _ in range(2)
        )
        alarms += any(change.verdict != "same" for change in compare(old, new))
    assert alarms / 400 < 0.08
