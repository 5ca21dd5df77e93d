"""What the reports say of attacks that find the same members, or others."""

from __future__ import annotations

from vestige.log import Agreement, AuditLog, Population, TargetFacts
from vestige.report.agreement import said


def log_of(found):
    people = Population(members=200, nonmembers=200, classes=2)
    return AuditLog(population=people, target=TargetFacts(kind="torch", access="score"), agreement=found)


def test_three_attacks_in_one_sentence_of_every_report():
    found = Agreement(
        fpr=0.01,
        attacks=["loss", "lira", "rmia"],
        caught=[10, 80, 70],
        some=100,
        every=4,
        wrong=0.02,
        jaccard=[[1, 0.05, 0.06], [0.05, 1, 0.6], [0.06, 0.6, 1]],
    )
    words = said(log_of(found))
    assert "the 3 attacks together find 100 of 200 members" in words
    assert "accuse 2" in words
    assert "all of them 4" in words
    assert "most alike for lira and rmia (Jaccard 0.60), least for loss and lira (0.05)" in words
    log = AuditLog.model_validate_json(log_of(found).to_json())
    assert said(log) == words
    for format in ("text", "md", "html"):
        assert "together find" in " ".join(log.render(format).split())


def test_two_attacks_and_none():
    found = Agreement(fpr=0.1, attacks=["a", "b"], caught=[0, 0], some=0, every=0, wrong=0, jaccard=[[None] * 2] * 2)
    assert said(log_of(found)).endswith("all of them 0")
    found = found.model_copy(update={"jaccard": [[1, 0.5], [0.5, 1]]})
    assert said(log_of(found)).endswith("(Jaccard 0.50)")
    assert said(log_of(None)) == ""
