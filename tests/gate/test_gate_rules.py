from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.errors import UsageError
from vestige.gate import Rule, judge, parse_rule, rule
from vestige.metrics import Estimate, withheld


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
    title: str = ""
    status: str = "ok"
    reason: str = ""
    balanced_accuracy: Estimate = field(default_factory=Estimate)

    def __post_init__(self):
        if not self.title:
            object.__setattr__(self, "title", self.name)


@dataclass(frozen=True)
class Risky:
    attack: str
    share_at_risk: Estimate


def figure(value, half=0.01):
    return Estimate(value=value, low=value - half, high=value + half)


LOSS = Attack("loss", figure(0.55), [Point(0.01, 0.01, 0.005, 0.02)])
LIRA = Attack("lira", figure(0.70), [Point(0.01, 0.08, 0.06, 0.10)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tpr@0.001>0.01", Rule(metric="tpr", fpr=0.001, limit=0.01)),
        (" auc > 0.6 ", Rule(metric="auc", limit=0.6)),
        ("lira.tpr@0.01>0.05", Rule(metric="tpr", fpr=0.01, limit=0.05, attack="lira")),
        ("balanced_accuracy>0.6", Rule(metric="balanced_accuracy", limit=0.6)),
        ("records_at_risk>0.01", Rule(metric="records_at_risk", limit=0.01)),
        ("tpr@1e-3.low>.05", Rule(metric="tpr", fpr=0.001, limit=0.05, judge="low")),
        ("rmia(a=0.3).auc.high>1", Rule(metric="auc", limit=1.0, attack="rmia(a=0.3)", judge="high")),
    ],
)
def test_rules_as_people_write_them(text, expected):
    assert parse_rule(text) == expected


@given(
    st.sampled_from(["", "lira", "rmia offline", "a.b"]),
    st.sampled_from(["auc", "balanced_accuracy", "records_at_risk", "tpr"]),
    st.sampled_from([0.001, 0.01, 0.25]),
    st.sampled_from(["value", "low", "high"]),
    st.integers(0, 1000).map(lambda n: n / 1000),
)
def test_a_rules_id_reads_back_as_itself(attack, metric, fpr, end, limit):
    one = Rule(metric=metric, limit=limit, fpr=fpr if metric == "tpr" else None, attack=attack or None, judge=end)
    assert parse_rule(one.id) == one


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auc",
        "auc<0.6",
        "auc>",
        "auc>x",
        "tpr>0.1",
        "auc@0.1>0.6",
        "tpr@2>0.1",
        "tpr@0>0.1",
        "f1>0.5",
        "auc>60",
        "auc>=0.6",
    ],
)
def test_what_is_not_a_rule_is_refused_with_examples(text):
    with pytest.raises(UsageError, match=r"Examples: tpr@0\.001>0\.01"):
        parse_rule(text)


def test_without_an_attack_the_worst_is_judged():
    (finding,) = judge([parse_rule("auc>0.6")], [LOSS, LIRA])
    assert (finding.attack, finding.value, finding.passed) == ("lira", 0.70, False)
    assert "0.7 [0.69, 0.71]" in finding.message
    assert "above the limit of 0.6" in finding.message


def test_a_named_attack_is_judged_alone_by_title_or_name():
    other = Attack("lira", figure(0.8), title="lira pooled")
    assert judge([parse_rule("loss.auc>0.6")], [LOSS, LIRA])[0].passed
    assert judge([parse_rule("lira pooled.auc>0.75")], [LIRA, other])[0].value == 0.8
    assert judge([parse_rule("lira.auc>0.75")], [LIRA, other])[0].value == 0.8


def test_a_figure_at_its_limit_passes():
    assert judge([parse_rule("auc>0.7")], [LIRA])[0].passed


@pytest.mark.parametrize(
    ("end", "value", "passed"), [("value", 0.08, False), ("low", 0.06, True), ("high", 0.10, False)]
)
def test_either_end_of_the_interval_can_be_judged(end, value, passed):
    (finding,) = judge([rule("tpr@0.01", 0.07, judge=end)], [LOSS, LIRA])
    assert (finding.value, finding.passed) == (value, passed)


def test_a_withheld_figure_does_not_pass_and_says_what_is_missing():
    reason = "a false-positive rate of 0.001 needs at least 1,000 non-members, better 10,000; there are 500"
    poor = replace(LIRA, tpr=[Point(0.001, None, None, None, reason)])
    (finding,) = judge([parse_rule("tpr@0.001>0.01")], [poor])
    assert finding.value is None
    assert not finding.passed
    assert "1,000 non-members" in finding.message
    assert "does not pass" in finding.message


@pytest.mark.parametrize(
    ("text", "results", "says"),
    [
        ("tpr@0.1>0.5", [LIRA], "measured at 0.01, not at 0.1"),
        ("rmia.auc>0.5", [LOSS, LIRA], "no attack called 'rmia'; it has loss, lira"),
        ("auc>0.5", [], "no attack ran"),
        ("auc>0.5", [Attack("lira", Estimate(), status="failed", reason="it broke")], "lira failed: it broke"),
        ("auc>0.5", [Attack("lira", withheld("nothing to count"))], "nothing to count"),
        ("records_at_risk>0.5", [LIRA], "calibrated"),
    ],
)
def test_what_cannot_be_judged_does_not_pass(text, results, says):
    (finding,) = judge([parse_rule(text)], results)
    assert finding.value is None
    assert not finding.passed
    assert says in finding.message


def test_a_failed_attack_does_not_hide_the_others():
    broken = Attack("rmia", Estimate(), status="failed", reason="x")
    assert judge([parse_rule("auc>0.6")], [broken, LIRA])[0].value == 0.70


def test_records_at_risk_are_judged_under_their_attack():
    risk = Risky("lira", figure(0.03))
    assert not judge([parse_rule("records_at_risk>0.01")], [LIRA], risk)[0].passed
    assert judge([parse_rule("lira.records_at_risk>0.05")], [LIRA], risk)[0].passed
    assert "under lira, not loss" in judge([parse_rule("loss.records_at_risk>0.05")], [LIRA], risk)[0].message


def test_findings_follow_the_rules_in_order():
    texts = ["auc>0.9", "auc>0.1", "tpr@0.01>0.5"]
    assert [finding.id for finding in judge([parse_rule(t) for t in texts], [LIRA])] == texts
