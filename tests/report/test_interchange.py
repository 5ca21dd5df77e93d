from __future__ import annotations

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest

from report.example_log import example, failed, interrupted, minimal, untrustworthy
from report.test_html import EVIL, hostile
from vestige.errors import StoreError, UsageError
from vestige.log import FORMATS, SUFFIXES, AuditLog, Check
from vestige.report.markdown import plain
from vestige.report.verdict import verdict

LOGS = [example, minimal, failed, interrupted, untrustworthy, hostile]


@pytest.fixture(params=LOGS, ids=lambda make: make.__name__)
def log(request) -> AuditLog:
    return request.param()


def test_every_format_renders_every_log(log):
    for name in FORMATS.names():
        text = log.render(name)
        assert isinstance(text, str)
        assert text.strip()


def test_json_is_the_log(log):
    assert AuditLog.from_json(log.render("json")) == log


def test_csv_has_one_row_per_attack(log):
    rows = list(csv.DictReader(io.StringIO(log.render("csv"))))
    assert [row["attack"] for row in rows] == [result.title for result in log.attacks]
    for row, result in zip(rows, log.attacks, strict=True):
        assert row["status"] == result.status
        assert row["auc"] == ("" if result.auc.value is None else repr(result.auc.value))
        for point in result.tpr:
            assert row[f"tpr@{point.fpr:g}"] == ("" if point.value is None else repr(point.value))


def test_sarif_follows_the_basics_of_the_standard(log):
    document = json.loads(log.render("sarif"))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert len(ids) == len(set(ids))
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert len(rule["properties"]["tags"]) <= 20
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"[\w./%-]+", place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] >= 1
        assert re.fullmatch("[0-9a-f]{64}", result["partialFingerprints"]["vestigeRule/v1"])
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is (log.status == "complete")
    assert invocation["exitCode"] == log.exit_code
    failing = sum(not f.passed for f in log.findings)
    assert len(run["results"]) == failing + len(log.checks)


def test_sarif_alerts_keep_their_identity_when_figures_move():
    def prints(log: AuditLog) -> list[str]:
        (run,) = json.loads(log.render("sarif"))["runs"]
        return [result["partialFingerprints"]["vestigeRule/v1"] for result in run["results"]]

    log = example()
    moved = log.model_copy(
        update={
            "created": "2027-01-01T00:00:00+00:00",
            "findings": [f.model_copy(update={"value": 0.3, "message": "other words"}) for f in log.findings],
        }
    )
    assert prints(log) == prints(moved)
    assert len(set(prints(log))) == len(prints(log))
    assert not set(prints(log)) & set(prints(log.model_copy(update={"name": "another"})))


def test_sarif_points_at_the_configuration():
    log = example().model_copy(update={"provenance": {"config_file": "audits/my model.toml"}})
    (run,) = json.loads(log.render("sarif"))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "audits/my%20model.toml", "uriBaseId": "%SRCROOT%"}


def test_junit_counts_its_cases(log):
    root = ElementTree.fromstring(log.render("junit"))
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(attribute)) == len(suite.findall(f"testcase/{kind}"))
    assert len([c for c in cases if c.get("classname") == "vestige.gate"]) == len(log.findings)
    assert len([c for c in cases if c.get("classname") == "vestige.checks"]) == len(log.checks)
    failing = sum(not f.passed for f in log.findings) + sum(c.level == "error" for c in log.checks)
    assert int(suite.get("failures")) == failing
    assert suite.find("system-out").text == verdict(log).sentence


def test_junit_survives_characters_that_xml_forbids():
    log = example().model_copy(update={"checks": [Check(id="a\x00b", level="error", message="\x1b[31m\ud800")]})
    root = ElementTree.fromstring(log.render("junit"))
    assert root.find(".//testcase[@classname='vestige.checks']").get("name") == "a\ufffdb"


def test_markdown_tables_are_even_and_text_is_escaped(log):
    text = log.render("md")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
    assert "<script" not in text
    assert text.count("<details>") == text.count("</details>") == 2
    assert plain(verdict(log).sentence) in text


def test_plain_neutralises_markdown_but_leaves_names_alone():
    assert plain("attack_r [0.1, 0.2]") == "attack_r [0.1, 0.2]"
    assert plain("[x](javascript:y)") == r"[x\](javascript:y)"
    assert plain("**a** | `b`\n# c") == r"\*\*a\*\* \| \`b\` \# c"
    assert plain("_a_ <b>") == r"\_a\_ &lt;b&gt;"


def test_report_picks_the_format_from_the_ending(tmp_path):
    log = example()
    for suffix, name in SUFFIXES.items():
        path = log.report(tmp_path / "deep" / f"out{suffix}")
        assert path.read_text(encoding="utf-8") == log.render(name)
    assert log.report(tmp_path / "x", format="md").read_text(encoding="utf-8") == log.render("md")


def test_report_says_what_it_expected(tmp_path):
    with pytest.raises(UsageError, match=r"ending in one of \.html.*got 'report\.pdf'"):
        example().report(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match=r"among html, json, md, csv, sarif, junit, text, compliance, .*got 'pdf'"):
        example().report(tmp_path / "x", format="pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Could not write"):
        example().report(tmp_path / "file" / "report.html")


def test_repr_is_one_line_and_html_is_a_card(log):
    assert "\n" not in repr(log) or "\n" in log.name
    assert repr(log) == str(log)
    assert repr(log).startswith("<AuditLog ")
    assert log._repr_html_().startswith("<div")


def test_repr_names_the_highest_lower_end():
    assert repr(example()) == (
        "<AuditLog location30-mlp: complete, 11 of 11 attacks, highest AUC 0.863 [0.847, 0.880] (rmia), gate failed>"
    )
    assert repr(minimal()) == "<AuditLog audit: complete, 0 of 0 attacks>"


def test_summary_shows_itself():
    text = example().summary()
    assert repr(text) == str(text) == example().render("text")


def test_frame_has_a_row_per_attack(log):
    pandas = pytest.importorskip("pandas")
    frame = log.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [result.title for result in log.attacks]
    if log.attacks:
        first = log.attacks[0]
        assert frame["auc"].iloc[0] == first.auc.value
        assert frame["status"].iloc[0] == first.status


def test_evil_text_reaches_csv_unchanged():
    rows = list(csv.DictReader(io.StringIO(hostile().render("csv"))))
    assert rows[0]["attack"] == f"{EVIL}0"
