from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.example_log import example, failed, minimal, untrustworthy
from vestige.log import AuditLog, Figure
from vestige.report.compare import changes, difference, render_comparison


def moved(log: AuditLog, name: str, **fields: Figure) -> AuditLog:
    attacks = [r.model_copy(update=fields) if r.name == name else r for r in log.attacks]
    return log.model_copy(update={"attacks": attacks})


def test_nothing_changed():
    text = render_comparison(example(), example())
    assert "Nothing changed beyond noise in 31 figures." in text
    assert {change.outcome for change in changes(example(), example())} == {"within noise"}


def test_a_real_change_is_told_from_noise_both_ways():
    worse = moved(example(), "loss", auc=Figure(value=0.9, low=0.89, high=0.91))
    assert "1 figure leaks more, of 31 compared" in render_comparison(example(), worse)
    assert "1 figure leaks less, of 31 compared" in render_comparison(worse, example())
    noise = moved(example(), "loss", auc=Figure(value=0.765, low=0.745, high=0.785))
    assert "Nothing changed beyond noise" in render_comparison(example(), noise)


def test_difference_is_the_normal_one_for_symmetric_intervals():
    gap = difference(Figure(value=0.5, low=0.47, high=0.53), Figure(value=0.6, low=0.56, high=0.64))
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.1, 0.05, 0.15))


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_difference_turns_round_when_the_audits_do(numbers):
    a, b, c = sorted(numbers[:3])
    x, y, z = sorted(numbers[3:])
    old, new = Figure(low=a, value=b, high=c), Figure(low=x, value=y, high=z)
    forth, back = difference(old, new), difference(new, old)
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert forth.low <= forth.value <= forth.high


def test_withheld_and_bare_figures_are_not_compared():
    assert difference(Figure(reason="few"), Figure(value=0.1)).value is None
    bare = difference(Figure(value=0.2), Figure(value=0.1))
    assert bare.value == pytest.approx(-0.1)
    assert bare.low is None


def test_doubts_about_the_comparison_are_said():
    text = render_comparison(example(), untrustworthy())
    assert "an error-level check says not to believe the new audit" in text
    text = render_comparison(example(), failed())
    assert "the records differ" in text
    assert "the new audit is partial" in text
    assert "numbers of shadow models differ (64, then 0)" in text


def test_nothing_in_common():
    text = render_comparison(minimal(), example())
    assert "nothing can be compared" in text
    assert "|" not in text


def test_rows_line_up_as_plain_text():
    rows = [line for line in render_comparison(example(), example()).splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
