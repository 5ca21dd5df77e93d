"""The grid's page: every figure once in the map and once with its interval, and why a field is empty."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from command_line import vestige
from vestige.grid.expand import AXES
from vestige.grid.results import Correlation, GridCell, GridLog, GridResult
from vestige.log import TprPoint
from vestige.log_parts import Divergence, Figure
from vestige.report.grid_map import WARMEST, area_heat, column_words, columns, facets, rate_heat, said

NASTY = "<script>alert(1)</script>"


def point(value, low=None, high=None):
    return TprPoint(fpr=0.01, value=value, low=low, high=high, reason="" if value is not None else "too few")


def result(name, area=None, rate=None, status="ok", reason=""):
    auc = Figure() if area is None else Figure(value=area, low=area - 0.02, high=area + 0.02)
    tpr = [] if area is None else [point(rate, rate and rate / 2, rate and 2 * rate)]
    return GridResult(attack=name, name=name.partition("[")[0], status=status, reason=reason, auc=auc, tpr=tpr)


def made():
    cells = []
    for access in ("label", "score"):
        for data in ("same", "disjoint", NASTY):
            place = dict(zip(AXES, ("digits", "mlp", access, "any number", data, "same", "known", "true"), strict=True))
            results = [result("gap", 0.56, 0.0)]
            if access == "score":
                lira = (
                    result("lira", 0.81, 0.12) if data == "same" else result("lira", status="skipped", reason="no IN")
                )
                results += [lira, result("loss[class]", 0.61, None)]
            refused = data == NASTY
            cells.append(
                GridCell(
                    id=f"{access}-{len(cells)}",
                    place=place,
                    status="refused" if refused else "complete",
                    reason="the data is no data" if refused else "",
                    log="" if refused else f"cells/{len(cells)}/audit.json",
                    target=data,
                    results=[] if refused else results,
                    divergence=[]
                    if refused
                    else [
                        Divergence(signal="loss", value=Figure(value=0.2, low=0.1, high=0.3), plain=0.21, chance=0.01)
                    ],
                )
            )
    axes = {axis: list(dict.fromkeys(cell.place[axis] for cell in cells)) for axis in AXES}
    correlation = Correlation(
        signal="loss", attack="lira", targets=5, pearson=Figure(value=0.87, low=0.1, high=0.99), spearman=0.9
    )
    return GridLog(name=f"toy {NASTY}", axes=axes, fpr=[0.01], cells=cells, correlations=[correlation], seconds=12.0)


class Reader(HTMLParser):
    """Collects the map's fields, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.fields, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag not in ("meta", "wbr", "br", "img", "path", "circle"):
            self.open.append(tag)
        if tag == "td" and "title" in told:
            self.fields.append(told["title"])
        self.outside += [v for k, v in attrs if k in ("src", "href") and not v.startswith(("#", "cells/"))]
        assert tag != "script"

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    return made().render("html")


def test_the_page_is_whole_safe_and_loads_nothing(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.outside == []
    assert NASTY not in page
    assert "default-src 'none'" in page


def test_every_field_has_a_hint_with_its_intervals_or_its_reason(page):
    reader = Reader()
    reader.feed(page)
    # Two blocks: gap by 3 columns; strongest, lira, loss and gap by 3 columns.
    assert len(reader.fields) == 3 + 12
    lira = [hint for hint in reader.fields if hint.startswith("lira:")]
    assert len(lira) == 2  # in its own row, and as the strongest
    assert lira[0] == "lira: AUC 0.810 [0.790, 0.830]; TPR at 1 % FPR 12.0 [6.0, 24.0] %; 0 shadow models"
    assert reader.fields.count("No IN.") == 1
    assert reader.fields.count("The data is no data.") == 5
    assert any("TPR at 1 % FPR withheld: too few" in hint for hint in reader.fields)


def test_figures_stand_in_the_table_with_their_intervals_and_link_to_the_audit(page):
    assert "0.810 [0.790, 0.830]" in page.partition('id="figures"')[2]
    assert 'href="cells/3/report.html"' in page
    assert "0.87" in page.partition('id="predictor"')[2]
    assert "0.200 [0.100, 0.300], chance 0.010" in page


def test_attacks_are_ordered_by_what_they_find_below_the_strongest():
    log = made()
    score = facets(log)[1]
    assert [row.attack for row in score.rows] == ["strongest attack", "lira", "loss[class]", "gap"]
    assert [row.best for row in score.rows] == [True, False, False, False]
    assert [field.auc for field in score.rows[0].fields] == ["0.810", "0.610", ""]
    assert score.absent == [("lira", "No IN.")]
    assert [column_words(log, key) for key in columns(log)] == [["same data"], ["disjoint data"], [f"data of {NASTY}"]]
    assert said(log)[1].startswith("Sees scores: lira finds most, AUC 0.810 [0.790, 0.830], with same data")


def test_colour_grows_with_the_leak_and_chance_has_none():
    assert area_heat(0.5) == area_heat(0.3) == 0
    assert area_heat(1.0) == rate_heat(1.0, 0.01) == WARMEST
    heats = [area_heat(value) for value in (0.5, 0.55, 0.6, 0.7, 0.9, 1.0)]
    assert heats == sorted(set(heats))
    assert rate_heat(0.01, 0.01) == rate_heat(0.0, 0.01) == 0
    assert rate_heat(0.1, 0.01) == WARMEST // 2


def contrast(first, second):
    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_figures_are_legible_on_the_warmest_field_by_day_and_night(page, scheme):
    """The mixture is taken in sRGB here, which lies within a few steps of the one in OKLab that browsers draw."""
    themes = re.findall(r"--card: (#\w+); --ink: (#\w+);.*?--s0: (#\w+);", page, re.DOTALL)
    card, ink, warm = ([int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in themes[scheme])
    mixed = [WARMEST / 100 * w + (1 - WARMEST / 100) * c for w, c in zip(warm, card, strict=True)]
    assert contrast(ink, mixed) > 4.5


def test_markdown_and_csv_hold_the_same_figures():
    log = made()
    text = log.render("md")
    assert "| lira | 0.810 (12.0 %) | cannot | no audit |" in text
    assert "**Sees scores**" in text
    assert NASTY not in text
    rows = list(csv.DictReader(io.StringIO(log.render("csv"))))
    assert len(rows) == 2 * 1 + 2 * 3 + 2
    lira = next(row for row in rows if row["attack"] == "lira" and row["status"] == "ok")
    assert (lira["auc"], lira["auc_low"], lira["tpr@0.01"], lira["data"]) == ("0.81", "0.79", "0.12", "same")
    assert any(row["audit"] == "refused" and row["reason"] == "the data is no data" for row in rows)


def test_a_narrow_terminal_gets_letters_for_columns():
    from rich.console import Console

    from vestige.report.grid_text import print_grid

    def drawn(width):
        out = io.StringIO()
        print_grid(made(), Console(file=out, width=width, color_system=None))
        return out.getvalue()

    wide, narrow = drawn(140), drawn(50)
    assert "0.810 (12.0 %)" in wide
    assert "A: same data" not in wide
    assert "A: same data" in narrow
    assert re.search(r"lira +0\.810 +– +–", narrow)


def test_the_command_line_runs_shows_and_reports_a_grid(tmp_path):
    pytest.importorskip("sklearn")
    config = tmp_path / "small.toml"
    config.write_text(
        'name = "small"\n[data]\nsource = "digits"\nlimit = 400\n[recipe]\nkind = "sklearn"\n'
        'model = "sklearn.tree:DecisionTreeClassifier"\n[shadow]\ncount = 2\n[audit]\nfpr = [0.05]\n'
        '[grid]\naccess = ["label", "score"]\nattacks = ["gap", "loss"]\n'
    )
    out = tmp_path / "out"
    ended = vestige("audit", config, "--grid", "--out", out, "--set", f"store={tmp_path / 'store'}")
    assert ended.code in (0, 4), ended.err
    assert "Sees labels only" in ended.out
    assert "2 of 2 audits ran" in ended.out
    assert (out / "grid.html").exists()
    assert len(list(out.glob("cells/*/report.html"))) == 2
    shown = vestige("show", out)
    assert "Sees scores" in shown.out
    reported = vestige("report", out, "--format", "csv")
    assert reported.out.count("\n") == 1 + 4
    failed = vestige("audit", config, "--grid", "--baseline", out, "--out", out)
    assert failed.code == 2
    assert "--baseline goes with a single audit" in failed.err
