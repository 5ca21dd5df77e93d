from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from report.example_log import example, failed, interrupted, minimal, untrustworthy
from vestige.log import AttackResult, AuditLog, Figure, Histogram, Risk, Slice, TprPoint
from vestige.report import card, charts, risk_charts
from vestige.report.html import notes, render
from vestige.report.svg import Axis, shortened
from vestige.report.verdict import verdict

LOGS = [example, minimal, failed, interrupted, untrustworthy]
VOID = {"meta", "br", "link", "hr", "img", "input", "wbr"}
EVIL = "<script>alert(1)</script>\"'&{{ 7*7 }}</style></svg>"


class Page(HTMLParser):
    """A page's elements, its text, and whether every element was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.children: dict[int, list[str]] = {}
        self.open: list[tuple[str, int]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        for _, number in self.open:
            self.children[number].append(tag)
        self.children[len(self.elements)] = []
        if tag not in VOID:
            self.open.append((tag, len(self.elements)))
        self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{WORD JOINER}", "").split())

    def of(self, tag: str) -> list[tuple[dict[str, str | None], list[str]]]:
        return [(attrs, self.children[k]) for k, (name, attrs) in enumerate(self.elements) if name == tag]


@pytest.fixture(params=LOGS, ids=lambda make: make.__name__)
def log(request) -> AuditLog:
    return request.param()


def test_page_is_whole_and_self_contained(log):
    text = render(log)
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert len(text) < 1_500_000
    assert not re.search(r"(?:https?:)?//[a-z]|url\(|@import", text)
    loading = {"src", "srcset", "action", "data", "poster", "background", "xlink:href"}
    for tag, attrs in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "img", "form"}
        assert not loading & attrs.keys()
        assert not any(name.startswith("on") for name in attrs)
        assert (attrs.get("href") or "#").startswith("#")


def test_ids_are_unique_and_references_lead_somewhere(log):
    page = Page(render(log))
    ids = Counter(attrs["id"] for _, attrs in page.elements if "id" in attrs)
    assert max(ids.values()) == 1
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attrs.get(name) or "").split()) <= ids.keys()
        if "href" in attrs:
            assert attrs["href"][1:] in ids


def test_tables_have_captions_and_headers_and_charts_have_titles(log):
    page = Page(render(log))
    for _, children in page.of("table"):
        assert children[0] == "caption"
        assert "thead" in children
        assert "th" in children
    for attrs, _ in page.of("th"):
        assert attrs.get("scope") in {"col", "row", "rowgroup"}
    for attrs, children in page.of("svg"):
        assert attrs.get("aria-hidden") == "true" or {"title", "desc"} <= set(children)
    assert page.of("html")[0][0]["lang"] == "en"
    assert Counter(tag for tag, _ in page.elements)["h1"] == 1


def test_table_rows_span_the_same_number_of_columns(log):
    for body in re.findall(r"<table.*?</table>", render(log), re.DOTALL):
        rows, carried = [], 0
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
            cells = re.findall(r"<t[hd]\b[^>]*>", row)
            wide = sum(int((re.search(r'colspan="(\d+)"', cell) or [0, 1])[1]) for cell in cells)
            rows.append(wide + (1 if carried > 0 else 0))
            span = re.search(r'rowspan="(\d+)"', row)
            carried = int(span[1]) - 1 if span else carried - 1
        assert len(set(rows)) == 1, rows


def test_the_page_opens_with_the_verdict(log):
    page = Page(render(log))
    said = " ".join(verdict(log).sentence.split())
    assert said in page.text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_example_shows_every_part():
    text = Page(render(example())).text.replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "High leakage", "15.1 %", "30.0 %", "0.863", "withheld", "2,000 non-members cannot resolve", "near_duplicates",
        "Set data.duplicates", "Gate failed: 1 of 2 rules", "user-4943", "cluster 5",
        "48 models trained, 16 from the store", "27 s", "812 MB", "The adversary assumed",
        "What was not tested", "Glossary",
        "How each figure is defined", "Carlini et al., S&P 2022", "weight_decay", "packages.torch", "ε is at least",
        "AUC within each class", "32.8 points",
    ):  # fmt: skip
        assert words in text, words
    ids = {attrs["id"] for _, attrs in Page(render(example())).elements if "id" in attrs}
    drawn = {"roc", "compared", "averaged", "scores-0", "scores-3", "posterior", "calibration", "exposure"}
    assert {f"{name}-title" for name in drawn | {"slices-class", "overfitting", "spending"}} <= ids


def test_failed_attacks_are_shown_with_their_reasons():
    text = Page(render(failed())).text
    assert "failed: a record has no OUT model" in text
    assert "skipped: needs white_box access" in text
    assert "Status: partial" in text
    assert "withheld: The 40 non-members cannot resolve a false-positive rate of 1 %." in text.replace("\xa0", " ")


def test_figures_withheld_for_some_attacks_get_footnotes():
    log = example()
    coarse = AttackResult(name="coarse", tpr=[TprPoint(fpr=0.01, reason="only 2 distinct scores")])
    log = log.model_copy(update={"attacks": [*log.attacks, coarse]})
    assert notes(log) == {"only 2 distinct scores": 1}
    assert "Only 2 distinct scores." in Page(render(log)).text
    assert notes(example()) == {}


def hostile() -> AuditLog:
    """The example with markup in every text that a user or a file can set."""
    log = example()
    risk = log.risk
    assert risk is not None
    return log.model_copy(
        update={
            "name": EVIL,
            "created": EVIL,
            "config": {
                EVIL: {EVIL: EVIL},
                "audit": {"confidence": EVIL},
                "shadow": {"data": EVIL},
                "defences": [{"kind": EVIL}],
            },
            "provenance": {EVIL: [EVIL], "vestige": EVIL},
            "population": log.population.model_copy(update={"source": EVIL, "fingerprint": EVIL}),
            "target": log.target.model_copy(update={"kind": EVIL, "recipe": EVIL, "access": EVIL}),
            "shadow": log.shadow.model_copy(update={"design": EVIL}),
            "attacks": [
                r.model_copy(
                    update={
                        "label": f"{EVIL}{k}",
                        "params": {EVIL: EVIL},
                        "paper": EVIL,
                        "reason": EVIL,
                        "access": EVIL,
                        "tpr": [p.model_copy(update={"reason": EVIL}) for p in r.tpr],
                        "status": "failed" if k == 3 else "ok",
                    }
                )
                for k, r in enumerate(log.attacks)
            ],
            "risk": risk.model_copy(
                update={
                    "attack": EVIL,
                    "slices": [part.model_copy(update={"name": EVIL}) for part in risk.slices],
                    "records": [record.model_copy(update={"id": EVIL, "label": EVIL}) for record in risk.records],
                }
            ),
            "epsilon": [e.model_copy(update={"method": EVIL, "assumption": EVIL}) for e in log.epsilon],
            "checks": [
                c.model_copy(update={"id": EVIL, "message": EVIL, "cure": EVIL, "cause": EVIL}) for c in log.checks
            ],
            "findings": [f.model_copy(update={"id": EVIL, "attack": EVIL, "message": EVIL}) for f in log.findings],
        }
    )


@pytest.mark.parametrize("make", [render, card.render])
def test_markup_in_data_stays_text(make):
    text = make(hostile())
    assert "<script" not in text
    assert "49" not in re.findall(r"alert\(1\)[^<]{0,60}", text)
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text


def test_partial_risk_is_drawn_as_far_as_it_goes():
    log = example().model_copy(update={"risk": Risk(attack="loss")})
    assert "Who is at risk" in render(log)
    grouped = Risk(
        attack="loss",
        slices=[
            Slice(kind="group", name="a", members=3, nonmembers=0, auc=Figure(reason="no non-members")),
            Slice(kind="class", name="b", members=3, nonmembers=4, auc=Figure(value=0.2)),
        ],
    )
    page = Page(render(example().model_copy(update={"risk": grouped})))
    assert "AUC within each group" in page.text
    assert page.text.count("withheld") >= 1


def test_many_slices_are_drawn_in_part_and_tabled_in_full():
    parts = [
        Slice(kind="class", name=f"class {k:03}", members=9, nonmembers=9, auc=Figure(value=0.5 + k / 400))
        for k in range(150)
    ]
    risk = Risk(attack="loss", slices=parts)
    chart = str(risk_charts.slices(risk, "class"))
    assert chart.count("<circle") == risk_charts.SLICES
    assert "class 149" in chart
    assert "class 000" in chart
    assert "All 150 classes as a table" in render(example().model_copy(update={"risk": risk}))


def test_a_thousand_records_and_classes_stay_small():
    log = example()
    assert log.risk is not None
    big = log.risk.model_copy(update={"records": log.risk.records * 50, "slices": log.risk.slices * 30})
    assert len(render(log.model_copy(update={"risk": big}))) < 1_500_000


def test_leading_attacks_are_distinct_and_keep_plain_loss():
    names = [r.name for r in charts.leading(example())]
    assert len(names) == len(set(names)) == charts.SERIES
    assert names[0] == "rmia"
    assert names[-1] == "loss"
    assert charts.leading(minimal()) == []


def test_roc_points_lie_where_the_figures_say():
    log = example()
    best = charts.leading(log)[0]
    chart = str(charts.roc(log, [best]))
    x = Axis(low=0.0005, high=1, start=52, end=460, log=True)
    y = Axis(low=0.0005, high=1, start=410, end=30, log=True)
    for point in best.tpr[1:]:
        assert f'cx="{x(point.fpr):.1f}" cy="{y(point.value):.1f}"'.replace(".0", "") in chart.replace(".0", "")


def test_a_tall_bin_does_not_hide_the_tails():
    flat, tall = (
        Histogram(edges=[0, 1, 2], members=[share, 1 - share], nonmembers=[1 - share, share]) for share in (0.75, 0.01)
    )
    heights = []
    for bins in (flat, tall):
        chart = str(charts.histogram(AttackResult(name="loss", histogram=bins), 0))
        assert "square-root heights" in chart
        heights.append(222 - float(re.findall(r'fill member" points="46,222 46,([0-9.]+)', chart)[0]))
    assert heights[1] / 170 == pytest.approx((0.01 / (0.99 * 1.06)) ** 0.5, abs=1e-3)
    level = Histogram(edges=[0, 1, 2, 3, 4], members=[0.25] * 4, nonmembers=[0.25] * 4)
    assert "square-root" not in str(charts.histogram(AttackResult(name="loss", histogram=level), 0))


def test_a_rate_below_the_axis_is_drawn_hollow():
    rows = [("gap", Figure(value=0.0, low=0.0, high=0.004)), ("loss", Figure(value=0.02, low=0.01, high=0.03))]
    chart = str(charts.forest("x", rows, log=True, chance=0.01, title="t"))
    assert chart.count('class="hollow s0"') == 1
    assert chart.count('class="dot s0"') == 1


def test_axes():
    log = Axis(low=0.0005, high=1, start=0, end=100, log=True)
    assert log.ticks() == pytest.approx([0.001, 0.01, 0.1, 1])
    assert log(0) == 0
    assert log(1) == 100
    assert log(math_middle := (0.0005**0.5)) == pytest.approx(50), math_middle
    assert all(0.0005 <= v <= 1 for v in log.minor())
    line = Axis(low=-3, high=11, start=0, end=140)
    assert line.ticks(6) == pytest.approx([0, 5, 10])
    assert line(-3) == 0
    assert line(4) == 70
    assert line.minor() == []
    assert shortened("modified_entropy class", 10) == "modified_…"
    assert shortened("loss", 4) == "loss"


def test_card_is_a_fragment(log):
    text = card.render(log)
    assert text.startswith("<div")
    assert text.endswith("</div>")
    Page(text)
    assert "http" not in text
    assert len(text) < 20_000
