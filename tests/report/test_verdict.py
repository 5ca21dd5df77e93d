from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.example_log import example, failed, interrupted, minimal, share, untrustworthy
from vestige.log import AttackResult, AuditLog, Check, Figure, Population, TprPoint
from vestige.report.verdict import ORDER, band, headline_fpr, ranked, right, verdict, widened


def audit(*attacks: AttackResult, nonmembers: int = 2000, **fields: object) -> AuditLog:
    people = Population(members=2000, nonmembers=nonmembers, classes=2)
    return minimal().model_copy(update={"population": people, "attacks": list(attacks), **fields})


def result(name: str, caught: int, *, fpr: float = 0.01, balanced: float = 0.51, n: int = 2000) -> AttackResult:
    return AttackResult(
        name=name,
        auc=Figure(value=0.6, low=0.58, high=0.62),
        balanced_accuracy=Figure(value=balanced, low=balanced - 0.015, high=balanced + 0.015),
        tpr=[TprPoint(fpr=fpr, **share(caught, n).model_dump())],
    )


def test_sentence_of_the_example_carries_rate_interval_and_chance():
    said = verdict(example())
    assert said.level == "high"
    assert said.sentence.startswith("An adversary who sees scores recognises 30 % of the training records")
    assert "wrongly accusing 1 % of others (95 % interval 27–33 %; chance would be 1 %)" in said.sentence
    assert said.sentence.endswith("this model leaks membership.")
    assert any("11 attacks tried: rmia" in line and "28–32 %" in line for line in said.details)
    assert any("right 97 % of the time" in line and "23 %" in line for line in said.details)


@pytest.mark.parametrize(
    ("caught", "level"), [(20, "low"), (22, "low"), (40, "moderate"), (100, "moderate"), (190, "high"), (800, "high")]
)
def test_bands_follow_how_often_an_accusation_is_right(caught, level):
    assert verdict(audit(result("loss", caught))).level == level


def test_band_edges_are_ratios_of_three_halves_and_nine():
    assert band(right(0.0149, 0.01)) == "low"
    assert band(right(0.0151, 0.01)) == "moderate"
    assert band(right(0.0899, 0.01)) == "moderate"
    assert band(right(0.0901, 0.01)) == "high"


def test_a_leak_must_be_shown_beyond_chance_for_all_attacks_tried():
    lone = verdict(audit(result("loss", 33)))
    many = verdict(audit(result("loss", 33), *(result(f"other{k}", 20) for k in range(40))))
    assert lone.level == "moderate"
    assert many.level == "low"
    assert "no leakage of membership was shown beyond chance" in many.sentence


def test_the_average_case_lifts_the_level_but_the_auc_does_not():
    assert verdict(audit(result("gap", 20, balanced=0.75))).level == "moderate"
    silent = result("gap", 20).model_copy(update={"auc": Figure(value=0.99, low=0.98, high=1.0)})
    assert verdict(audit(silent)).level == "low"


def test_too_few_records_are_unknown_rather_than_low():
    tiny = result("loss", 1, n=20, fpr=0.1)
    said = verdict(audit(tiny, nonmembers=20))
    assert said.level in ("low", "unknown")
    vague = AttackResult(
        name="loss",
        balanced_accuracy=Figure(value=0.52, low=0.4, high=0.64),
        tpr=[TprPoint(fpr=0.01, value=0.02, low=0.0, high=0.2)],
    )
    assert verdict(audit(vague)).level == "unknown"
    assert "too small to tell" in verdict(audit(vague)).sentence


def test_withheld_rates_fall_back_on_balanced_accuracy_and_never_call_it_low():
    withheld = AttackResult(
        name="loss",
        balanced_accuracy=Figure(value=0.51, low=0.45, high=0.57),
        tpr=[TprPoint(fpr=0.01, reason="too few")],
    )
    assert verdict(audit(withheld)).level == "unknown"
    leaky = withheld.model_copy(update={"balanced_accuracy": Figure(value=0.93, low=0.9, high=0.96)})
    said = verdict(audit(leaky))
    assert said.level == "high"
    assert "tells members from non-members 93 % of the time" in said.sentence


def test_headline_rate_is_the_smallest_with_ten_expected_false_alarms():
    assert headline_fpr(example()) == 0.01
    plenty = example().model_copy(update={"population": Population(members=2000, nonmembers=10_000, classes=2)})
    assert headline_fpr(plenty) == 0.001
    assert headline_fpr(minimal()) is None
    assert headline_fpr(failed()) is None


def test_the_strongest_attack_has_the_highest_lower_end():
    lucky = AttackResult(name="lucky", tpr=[TprPoint(fpr=0.01, value=0.4, low=0.01, high=0.9)])
    assert ranked(audit(lucky, result("steady", 400)))[0].name == "steady"


def test_errors_withdraw_the_verdict_and_name_the_check():
    said = verdict(untrustworthy())
    assert said.level == "unknown"
    assert said.sentence.startswith("Do not rely on this audit: the check ‘blind_baseline’ failed.")
    assert "AUC 0.93" in said.details[0]
    two = untrustworthy().model_copy(
        update={"checks": [Check(id="a", level="error", message="x"), Check(id="b", level="error", message="y")]}
    )
    assert "the checks ‘a’ and ‘b’ failed" in verdict(two).sentence


def test_a_partial_audit_is_a_floor():
    strong = audit(result("loss", 800), AttackResult(name="lira", status="failed"), status="partial")
    assert verdict(strong).level == "high"
    assert "at least" in verdict(strong).sentence
    assert "lira did not run" in verdict(strong).details[0]
    weak = audit(result("loss", 20), AttackResult(name="lira", status="failed"), status="partial")
    assert verdict(weak).level == "unknown"


def test_nothing_finished():
    assert "no attack was asked for" in verdict(minimal()).sentence
    assert "interrupted" in verdict(interrupted()).sentence
    for log in (minimal(), interrupted()):
        assert verdict(log).level == "unknown"


def test_right_is_the_posterior_of_the_stated_prior():
    assert right(0.22, 0.01) == pytest.approx(0.22 / 0.23)
    assert right(0.22, 0.01, prior=0.01) == pytest.approx(0.0022 / (0.0022 + 0.0099))
    assert right(0, 0, prior=0.3) == 0.3


@given(
    value=st.floats(0.02, 0.98),
    below=st.floats(0.1, 0.9),
    above=st.floats(0.1, 0.9),
    tries=st.integers(2, 200),
)
def test_widening_contains_the_interval_and_grows(value, below, above, tries):
    figure = Figure(value=value, low=value * below, high=value + (1 - value) * above)
    wide, wider = widened(figure, tries), widened(figure, tries + 1)
    assert 0 < wider.low <= wide.low < figure.low < figure.high < wide.high <= wider.high < 1


def test_widening_is_bonferroni_for_a_wald_interval_on_the_logit_scale():
    from scipy.stats import norm

    centre, error, tries = -1.2, 0.3, 7
    ends = [1 / (1 + math.exp(-(centre + k * norm.ppf(0.975) * error))) for k in (-1, 0, 1)]
    wide = widened(Figure(low=ends[0], value=ends[1], high=ends[2]), tries)
    expected = [1 / (1 + math.exp(-(centre + k * norm.ppf(1 - 0.025 / tries) * error))) for k in (-1, 1)]
    assert [wide.low, wide.high] == pytest.approx(expected)
    one = Figure(value=0.2, low=0.1, high=0.3)
    assert widened(one, 1) is one


@given(caught=st.integers(1, 2000), more=st.integers(0, 2000))
def test_recognising_more_members_never_lowers_the_level(caught, more):
    better = min(2000, caught + more)
    levels = [verdict(audit(result("loss", n))).level for n in (caught, better)]
    assert ORDER[levels[0]] <= ORDER[levels[1]] or levels[0] == "unknown"
