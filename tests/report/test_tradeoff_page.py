"""The Pareto page and its texts: every figure, every reason, nothing unescaped, nothing loaded from elsewhere."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from command_line import vestige
from tradeoff.fake_points import candidate, log_of, result, usual
from vestige.log_parts import Figure
from vestige.report.tradeoff_chart import pareto, style_of
from vestige.report.tradeoff_words import leak, points_lost, recommendations, times
from vestige.tradeoff.judge import judged
from vestige.tradeoff.parts import Claimed, Planted
from vestige.tradeoff.results import TradeoffLog

NASTY = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Collects the page's words and links, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag != "script"
        if tag not in ("meta", "wbr", "br", "img", "path", "circle", "polyline", "polygon", "rect", "line"):
            self.open.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag):
        if tag not in ("path", "circle", "polyline", "polygon", "rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(log):
    reader = Reader()
    reader.feed(log.render("html"))
    assert reader.open == []
    return reader, " ".join(
        " ".join(reader.words).replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "").split()
    )


def test_the_page_has_every_candidate_and_every_reason():
    log = judged(usual())
    reader, words = read(log)
    assert reader.links == []
    for text in ("undefended", "weak", "strong", "silly", "it works for no such recipe".capitalize(), "odd"):
        assert text.lower() in words.lower()
    assert "40.0 %" in words
    assert "30 ×" in words
    assert "1, 2, 3" in words
    assert "90.0 %" in words


def test_what_is_written_in_a_config_stays_text():
    nasty = candidate("009-x", NASTY, 0.85, {NASTY: 0.1}, settings={NASTY: NASTY})
    log = judged(log_of(*usual().points, nasty)).model_copy(update={"name": NASTY})
    html = log.render("html")
    assert NASTY not in html
    assert "&lt;script&gt;" in html
    assert read(log)
    assert NASTY not in log.render("md")


@pytest.mark.parametrize("points", [[], usual().points[:1], usual().points[-1:]])
def test_few_or_no_figures_make_a_page_too(points):
    log = judged(log_of(*points))
    read(log)
    for format in ("md", "csv", "text", "json"):
        assert isinstance(log.render(format), str)


def test_the_csv_has_the_figures_themselves():
    log = judged(usual())
    rows = {row["candidate"]: row for row in csv.DictReader(io.StringIO(log.render("csv")))}
    assert float(rows["000-undefended"]["leakage"]) == 0.4
    assert float(rows["002-strong"]["cost"]) == 30
    assert rows["003-silly"]["dominated_by"] == "000-undefended 001-weak 002-strong"
    assert rows["004-odd"]["leakage"] == ""
    assert rows["004-odd"]["reason"] == "it works for no such recipe"


def said(log):
    return [" ".join((one.question, one.answer, *one.costs, *one.unknown)) for one in recommendations(log)]


def test_recommendations_say_what_it_costs_and_what_is_not_known():
    (text,) = said(judged(usual(), leak_at_most=0.05))
    for words in (
        "at most 5 %",
        "Use strong",
        "accuracy 80 %",
        "lost against no defence: 10.0 points",
        "30 ×",
        "allows for that",
    ):
        assert words in text
    assert "not sure" in said(judged(usual(), leak_at_most=0.035))[0]
    (none,) = said(judged(usual(), leak_at_most=0.001))
    assert "No candidate does" in none
    assert "strong" in none
    assert "Train as you do now" in said(judged(usual(), lose_at_most=0))[0]


def test_an_average_that_hides_records_that_stand_out_says_so():
    planted = Planted(kind="mislabelled", count=9, runs=1, tpr=[result("x", 0.9).tpr[0]])
    hidden = candidate("001-labels", "labels", 0.89, {"gap": 0.01}, planted=planted, labels_only=True)
    (one,) = recommendations(judged(log_of(usual().points[0], hidden), leak_at_most=0.05))
    assert "Use labels" in one.answer
    assert "That is the average: 90 % of canaries are recognised." in one.answer
    assert one.tone == "moderate"
    assert any("label alone" in line for line in one.costs)
    plain = candidate("001-labels", "labels", 0.89, {"gap": 0.01}, exposed=0.04)
    (one,) = recommendations(judged(log_of(usual().points[0], plain), leak_at_most=0.05))
    assert "average:" not in one.answer
    assert one.tone == "low"


def test_who_is_better_by_figures_alone_is_named_and_one_answer_is_not_told_twice():
    unsure = candidate("001-unsure", "unsure", 0.89, {"loss": 0.01}, status="partial")
    honest = candidate("002-honest", "honest", 0.7, {"loss": 0.01})
    (one,) = recommendations(judged(log_of(usual().points[0], unsure, honest), leak_at_most=0.05))
    assert "Use honest" in one.answer
    assert "By its figures unsure is better (accuracy 89 %, leakage 1.0 %)" in one.answer
    first, second = recommendations(judged(usual(), leak_at_most=0.3, lose_at_most=1))
    assert first.costs != second.costs == ["What it costs and what is not known: as above."]


def test_a_proof_is_told_with_the_cost_of_tuning():
    claim = Claimed(epsilon=3.0, delta=1e-5, guarantee="G1", accountant="PLD", tuned=9.1)
    private = candidate("001-dp", "DP-SGD", 0.8, {"loss": 0.01}, claim=claim, guarantee="G1")
    (text,) = said(judged(log_of(usual().points[0], private), leak_at_most=0.05))
    assert "Proven: ε = 3 at δ = 1e-05 (PLD); with the choice of its settings ε = 9.1." in text
    left_out = private.model_copy(update={"claim": claim.model_copy(update={"tuned": None, "why": "it has no ledger"})})
    (text,) = said(judged(log_of(usual().points[0], left_out), leak_at_most=0.05))
    assert "not covered: it has no ledger" in text


def test_figures_are_written_as_they_are_meant():
    assert points_lost(Figure(value=-0.0001, low=-0.01, high=0.02)) == "0.0 [−1.0, 2.0]"
    assert points_lost(Figure()) == "–"
    assert (times(None), times(1.0), times(35.2), times(0.0471)) == ("–", "1 ×", "35 ×", "0.047 ×")
    assert leak(Figure(value=0.001, low=0.0, high=0.004), 0.005).startswith("at most")
    assert "too few" in leak(Figure(reason="too few"), 0.01)


def test_the_picture_marks_every_placed_candidate_once():
    log = judged(usual())
    svg = str(pareto(log))
    assert len(re.findall(r'class="number[^"]*"', svg)) == 4
    assert svg.count("number leads") == 3
    assert "staircase" in svg
    styles = {style_of(str(k), [str(j) for j in range(12)]) for k in range(12)}
    assert len(styles) == 12


def test_show_and_report_read_the_folder(tmp_path):
    judged(usual()).save(tmp_path)
    shown = vestige("show", str(tmp_path))
    assert shown.code == 0
    assert "undefended" in shown.out
    made = vestige("report", str(tmp_path), "-f", "md", "-o", str(tmp_path / "t.md"))
    assert made.code == 0
    assert "Utility against leakage" in (tmp_path / "t.md").read_text()
    refused = vestige("report", str(tmp_path), "-f", "sarif")
    assert refused.code == 2
    assert "has the formats" in refused.err
    assert TradeoffLog.load(tmp_path).name == "fake"
