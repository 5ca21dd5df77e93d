from __future__ import annotations

import pytest

from report.example_log import example
from vestige.log import CanaryFacts, CanaryPower, Check, Claim, Epsilon, Reach
from vestige.report import claims
from vestige.report.html import render as html
from vestige.report.markdown import render as markdown
from vestige.report.terminal import render as terminal
from vestige.report.verdict import verdict

EVIL = "<script>alert(1)</script>"


def bound(value, ceiling=5.0, **options):
    told = {"method": "one_run", "assumption": "fair coins", "delta": 1e-5, "confidence": 0.96, **options}
    return Epsilon(value=value, ceiling=ceiling, **told)


def log(*bounds, claim=None, canary=True, **options):
    facts = CanaryFacts(
        kind="mislabelled", count=600, included=301, left_out=299, always=900, primary="one_run",
        power=CanaryPower(ceiling=5.0, reach=[Reach(epsilon=1.0, shown=0.3)], message="a total leak would show"),
        notes=["a note"],
    )  # fmt: skip
    update = {
        "epsilon": list(bounds),
        "claim": None if claim is None else Claim(epsilon=claim, delta=1e-5),
        "canary": facts if canary else None,
        "checks": [],
        **options,
    }
    return example().model_copy(update=update)


@pytest.mark.parametrize(
    ("bounds", "claim", "standing", "words"),
    [
        ([bound(2.0)], None, "unclaimed", "shows ε ≥ 2.00"),
        ([bound(2.0)], 1.0, "refuted", "does not hold: one_run shows ε ≥ 2.00"),
        ([bound(0.5)], 1.0, "held", "no proof"),
        ([bound(0.5)], 5.0, "toothless", "could not have failed"),
        ([bound(0.5), bound(3.0, method="b")], 1.0, "refuted", "b shows ε ≥ 3.00"),
        ([bound(0.5), bound(3.0, judged=False)], 1.0, "held", "No bound exceeds"),
        ([bound(0.5), bound(3.0, kind="estimate")], 1.0, "held", "No bound exceeds"),
        ([bound(None, None, reason="refused")], 1.0, "untested", "was not tested"),
        ([], 1.0, "untested", "was not tested"),
        ([bound(1.0)], 1.0, "held", "0.00 below it"),
    ],
)
@pytest.mark.parametrize("canary", [True, False])
def test_how_a_claim_stands(bounds, claim, standing, words, canary):
    one = log(*bounds, claim=claim, canary=canary)
    assert claims.standing(one) == standing
    assert words in claims.said(one)
    for render in (html, markdown, terminal):
        assert render(one)


def test_the_confidence_said_is_the_one_asked_for():
    shared = log(bound(2.0, primary=True), bound(1.0, method="one_run_fdp", confidence=0.99), claim=1.0)
    assert claims.level(shared, shared.epsilon[0]) == claims.level(shared, shared.epsilon[1]) == 0.95
    assert "at 95 % confidence." in claims.said(shared)
    told = claims.power(shared)[-1]
    assert told.startswith("95 % confidence: if what they assume holds, any of the 2 bounds that count")
    assert "at most 5 % of such audits" in told
    assert "(one_run 4 % and one_run_fdp 1 %)" in told
    for render in (html, markdown, terminal):
        text = render(shared).replace("\xa0", " ")
        assert "96 % confidence" not in text
        assert "95 % confidence" in text
        assert "96 %" in text


def test_a_bound_that_found_nothing_keeps_its_share_of_the_error():
    refused = log(bound(0.5), bound(None, None, method="one_run_fdp", confidence=0.99, reason="why not"))
    assert "(95 % confidence)" in claims.said(refused)


def test_the_confidence_of_what_is_only_shown_is_its_own():
    alone = log(bound(2.0, confidence=0.9, judged=False))
    assert claims.level(alone, alone.epsilon[0]) == 0.9
    assert claims.power(log(bound(0.5, confidence=0.95)))[-1] == (
        "95 % confidence: if what it assumes holds, the bound that counts exceeds the true ε in at most 5 % of such "
        "audits."
    )


def test_the_quoted_bound_is_the_one_settled_beforehand():
    one = log(bound(3.0, method="larger"), bound(1.0, primary=True))
    assert claims.quoted(one).value == 1.0
    assert [row.method for row in claims.rows(one)] == ["one_run", "larger"]


@pytest.mark.parametrize(
    ("one", "level"),
    [
        (log(bound(3.0)), "high"),
        (log(bound(1.0)), "moderate"),
        (log(bound(0.1)), "low"),
        (log(bound(0.1, 0.2)), "unknown"),
        (log(bound(0.6), claim=0.5), "high"),
        (log(bound(0.1), claim=0.5), "low"),
        (log(bound(0.1), claim=9.0), "unknown"),
        (log(bound(0.1), checks=[Check(id="canaries-alike", level="error", message="alike")]), "unknown"),
        (log(status="interrupted"), "unknown"),
    ],
)
def test_the_verdict_of_a_canary_audit(one, level):
    assert verdict(one).level == level
    assert verdict(one).sentence


def test_a_page_of_a_canary_audit_says_what_was_done_and_what_was_not():
    page = html(log(bound(2.0, primary=True, reason="a caveat"), bound(None, None, reason="why not"), claim=1.0))
    for words in (
        "Does the claim hold?", "does not hold", "one record more or less", "A total leak shows", "exceeds the claim",
        "a caveat", "why not", "refused", "a total leak would show", "A note.", "fair coin",
        "records with a wrong label",
        "Whether a claim is true",
    ):  # fmt: skip
        assert words in page, words
    assert 'class="bar risky"' in page
    assert "No shadow models were used" not in page


def test_an_ordinary_page_shows_the_claim_beside_its_bounds():
    page = html(log(bound(0.5), claim=4.0, canary=False))
    assert "Does the claim hold?" in page
    assert 'href="#claim"' in page
    assert "What the attacks found" in page
    assert 'id="claim"' not in html(log(canary=False))


def test_markup_in_a_method_stays_text():
    page = html(log(bound(0.5, method=EVIL, assumption=EVIL, reason=EVIL), claim=4.0))
    assert EVIL not in page
    assert EVIL not in markdown(log(bound(0.5, method=EVIL), claim=4.0))


def test_a_terminal_without_signs_gets_words():
    assert "≥" in terminal(log(bound(0.5)))
    assert all(len(line) <= 100 for line in terminal(log(bound(0.5), bound(0.1, method="x"), claim=4.0)).splitlines())
