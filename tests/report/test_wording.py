from __future__ import annotations

import pytest

from report.example_log import example, minimal
from vestige.log import Figure
from vestige.report import wording as w


@pytest.mark.parametrize(
    ("value", "text", "table"),
    [
        (0.2213, "22 %", "22.1 %"),
        (0.0134, "1.3 %", "1.3 %"),
        (0.00134, "0.13 %", "0.13 %"),
        (0.000012, "0.0012 %", "0.0012 %"),
        (0.0, "0 %", "0 %"),
        (1.0, "100 %", "100 %"),
        (0.9996, "99.96 %", "99.96 %"),
    ],
)
def test_percent(value, text, table):
    assert w.percent(value) == text
    assert w.percent(value, table=True) == table


def test_spans_and_shares():
    figure = Figure(value=0.221, low=0.184, high=0.262)
    assert w.span(figure) == "18–26 %"
    assert w.share(figure) == "22.1 [18.4, 26.2]"
    assert w.number(figure) == "0.221 [0.184, 0.262]"
    assert w.share(Figure(value=0.1)) == "10.0"
    assert w.number(Figure(value=0.1)) == "0.100"
    assert w.share(Figure()) == w.number(Figure()) == "–"
    assert w.share(Figure(reason="too few")) == w.number(Figure(reason="too few")) == "withheld"
    assert w.span(Figure(value=0.1)) == ""
    assert w.span(Figure(value=0.0, low=0.0, high=0.0018)) == "0.00–0.18 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0005, "< 1 ms"), (0.0612, "61 ms"), (0.24, "0.24 s"), (27.3, "27 s"), (119.4, "119 s"),
        (192, "3 min 12 s"), (7500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_duration(seconds, text):
    assert w.duration(seconds) == text


def test_rates_counts_and_lists():
    assert [w.rate(x) for x in (0.01, 0.001, 0.0001, 0.3)] == ["1 %", "0.1 %", "0.01 %", "30 %"]
    assert w.count(1, "query", "queries") == "1 query"
    assert w.count(4000, "record") == "4,000 records"
    assert w.listed([]) == ""
    assert w.listed(["a", "b", "c"]) == "a, b and c"
    assert w.size(812) == "812 MB"
    assert w.size(1234) == "1.2 GB"
    assert w.sentence("too few") == "Too few."
    assert w.sentence("Why?") == "Why?"
    assert w.sentence("") == ""
    assert w.model_kind("TorchRecipe") == w.model_kind("torch") == "torch"


def test_confidence_is_the_configured_one():
    assert w.confidence(minimal()) == 0.95
    other = example().model_copy(update={"config": {"audit": {"confidence": 0.9}}})
    assert w.confidence(other) == 0.9
    assert w.confidence(example().model_copy(update={"config": {"audit": {"confidence": "much"}}})) == 0.95
