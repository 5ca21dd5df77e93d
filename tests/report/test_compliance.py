"""The compliance record: figures stand where their sources say, gaps are said, and nothing is concluded."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from report.example_log import example, failed, interrupted, minimal, untrustworthy
from report.test_html import EVIL, Page, hostile
from vestige.errors import UsageError
from vestige.log import (
    AttackResult,
    AuditLog,
    CanaryFacts,
    Check,
    Claim,
    Epsilon,
    Figure,
    Layer,
    Population,
    TprPoint,
)
from vestige.report.compliance import ComplianceRecord, record
from vestige.report.compliance.likelihood import likelihood, strongest
from vestige.report.compliance.reading import ABSENT, Reader, resolve
from vestige.report.compliance.references import BANDS, FPR
from vestige.report.compliance.schema import MARKS, Statement

CLAIM = {"epsilon": 4.0, "delta": 1e-5, "unit": "record", "accountant": "an accountant 0.6"}


def fine() -> AuditLog:
    """The example, with every attack resolved at the rate where the likelihood is read."""
    log = example()
    attacks = [r for r in log.attacks if r.tpr]
    return log.model_copy(update={"attacks": attacks, "risk": log.risk})


def defended() -> AuditLog:
    layers = [
        Layer(name="dp_sgd", guarantee="G1", params={"epsilon": 4.0}, paper="Abadi et al.", claim=CLAIM),
        Layer(name="top_k", guarantee="G4", params={"k": 3}),
    ]
    config = {**example().config, "defences": [{"kind": "dp_sgd"}, {"kind": "top_k"}]}
    config["shadow"] = {**config["shadow"], "defences": "known"}
    claim = Claim(epsilon=4.0, delta=1e-5, assumptions=["batches are Poisson samples of rate 0.09"])
    bound = Epsilon(method="one_run", assumption="fair coins", delta=1e-5, value=1.234, ceiling=5.678, confidence=0.96)
    update = {"defences": layers, "config": config, "claim": claim, "epsilon": [bound]}
    return fine().model_copy(update=update)


def canaries() -> AuditLog:
    facts = CanaryFacts(kind="mislabelled", count=600, included=301, left_out=299, always=900, primary="one_run")
    return defended().model_copy(update={"canary": facts, "shadow": minimal().shadow, "risk": None})


LOGS = [example, fine, defended, canaries, minimal, failed, interrupted, untrustworthy]


@pytest.fixture(params=LOGS, ids=lambda make: make.__name__)
def log(request) -> AuditLog:
    return request.param()


def numbers(value: Any) -> set[float]:
    """Every number below a value, those inside texts too."""
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        return {float(value)}
    if isinstance(value, str):
        return {float(found.replace(",", "")) for found in NUMBER.findall(value)}
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return set().union(*map(numbers, items))


NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?!\w)")


def occurs(token: str, known: set[float]) -> bool:
    """Whether a number as written is one of these, or a hundred times one, rounded to its own places."""
    token = token.rstrip(",")
    if "e" in token:
        return float(token) in known
    shown, places = float(token.replace(",", "")), len(token.partition(".")[2])
    return any(abs(shown - round(scale * v, places)) < 1e-9 for v in known for scale in (1, 100)) or any(
        float(f"{v:.2g}") == shown for v in known
    )


def sourced(made: ComplianceRecord):
    """Yield (what, its text, its sources) of everything that the record says."""
    for one in made.statements():
        if one.standing == "recorded":
            yield one.id, one.text, one.sources
    for element in made.anonymity:
        yield element.id, element.text, element.sources
    for gap in made.untested:
        yield gap.text, gap.text, gap.sources


OWN = {100 * FPR, FPR}
"""The rate at which this tool reads the likelihood."""


def test_every_number_stands_where_its_source_says(log):
    plain = json.loads(log.to_json())
    count = 0
    for what, text, sources in sourced(record(log)):
        known = OWN.union(*(numbers(resolve(plain, pointer)) for pointer in sources))
        # Names hold digits of their own, and so does a count of attacks.
        known |= {float(len(plain["attacks"])), float(len([r for r in plain["attacks"] if r["status"] == "ok"]))}
        for token in NUMBER.findall(re.sub(r"\bR\d+\b", "", text)):
            assert occurs(token, known), (what, token, text, sources)
            count += 1
    assert count > (0 if log == minimal() else 5)


def test_the_test_of_numbers_would_notice_one_that_is_made_up():
    plain = json.loads(example().to_json())
    assert not occurs("17.3", numbers(resolve(plain, "/attacks/7/tpr/1")))
    assert occurs("15.1", numbers(resolve(plain, "/attacks/8/tpr/1")))


def test_every_source_leads_somewhere(log):
    plain = json.loads(log.to_json())
    for what, _, sources in sourced(record(log)):
        for pointer in sources:
            assert resolve(plain, pointer) is not ABSENT, (what, pointer)
    made = record(log)
    for part in (*made.tests, *made.measures, *(made.at_risk.most_exposed if made.at_risk else ())):
        assert resolve(plain, part.source) is not ABSENT


def test_typed_figures_are_the_logs(log):
    made = record(log)
    assert [(t.attack, t.auc, t.rates) for t in made.tests] == [(r.title, r.auc, r.tpr) for r in log.attacks]
    assert made.bounds == log.epsilon
    if made.at_risk is not None:
        assert made.at_risk.slices == log.risk.slices
        assert [one.id for one in made.at_risk.most_exposed] == [one.id for one in log.risk.records]


def test_the_record_is_versioned_valid_and_the_same_each_time(log):
    text = log.render("compliance")
    assert text == AuditLog.from_json(log.to_json()).render("compliance")
    made = ComplianceRecord.model_validate_json(text)
    assert made == record(log)
    assert (made.format, made.version) == ("vestige.compliance", 1)
    with pytest.raises(ValidationError):
        ComplianceRecord.model_validate_json(text.replace('"version": 1', '"version": 2', 1))


def test_the_record_has_the_fields_of_an_assessment_in_order(log):
    made = record(log)
    assert [section.id for section in made.sections] == [f"R{k}" for k in range(16)]
    ids = [one.id for one in made.statements()]
    assert len(ids) == len(set(ids))
    for section in made.sections:
        assert all(one.id.startswith(f"{section.id}.") for one in section.statements)
    open_to_people = {one.id for one in made.statements() if one.standing == "person"}
    assert {"R1.purpose", "R1.basis", "R1.sensitivity", "R3.dpo", "R9.severity", "R10.residual"} <= open_to_people
    assert {one.id for one in made.anonymity} >= {"membership", "extraction", "queries", "attributes", "conclusion"}
    assert {one.standing for one in made.references} == {"confirm"}
    known = {one.id for one in made.references}
    assert {basis for section in made.sections for basis in section.basis} <= known


def test_a_log_that_lacks_facts_says_so():
    by = {one.id: one for one in record(minimal()).statements()}
    for id in (
        "R0.tool", "R0.packages", "R0.revision", "R0.seed", "R0.data", "R0.recipe", "R1.records", "R1.source",
        "R2.utility", "R4.size", "R4.settings", "R4.gap", "R4.duplicates", "R4.augmentation", "R5.has", "R5.can-train",
        "R5.faces", "R5.means", "R6.attacks", "R6.average", "R6.at-risk", "R6.blind", "R7.claim", "R7.bounds",
        "R9.measured", "R9.before", "R9.after", "R10.measures", "R10.left", "R11.evidence", "R15.summary",
        "A.intervals",
    ):  # fmt: skip
        assert by[id].standing == "not_recorded", id
    made = record(minimal())
    assert made.defended is None
    assert made.confidence is None
    assert made.likelihood.level == "not assessed"
    for text in (minimal().render("compliance-md"), Page(minimal().render("html")).text):
        assert "not recorded" in text
        assert "No defence was in force" not in text
    assert all(one.entry == "" for one in made.statements())


def test_a_check_that_passed_is_recorded_and_one_that_was_not_made_is_not():
    quiet = fine().model_copy(update={"checks": []})
    by = {one.id: one for one in record(quiet).statements()}
    assert (by["R6.blind"].standing, by["R6.blind"].sources) == ("recorded", ["/checked/2"])
    assert by["R6.blind"].text == "The check was made and raised no doubt."
    assert "Passed: few-nonmembers and outputs-tied." in by["R6.checks"].text
    assert "duplicates (warning)" in by["R6.checks"].text
    page = Page(fine().render("html")).text.replace("\u00a0", " ")
    assert "Checks that passed: few-nonmembers, outputs-tied." in page
    unmade = quiet.model_copy(update={"checked": [one for one in quiet.checked if one.id != "blind-baseline"]})
    said = {one.id: one for one in record(unmade).statements()}["R6.blind"]
    assert (said.standing, said.text) == ("not_recorded", "This check was not made.")


def test_a_log_from_before_checks_were_recorded_is_read_and_says_that_it_does_not_know():
    old = json.loads(fine().model_copy(update={"checks": []}).to_json())
    del old["checked"]
    by = {one.id: one for one in record(AuditLog.from_json(json.dumps(old))).statements()}
    assert by["R6.blind"].standing == by["R6.checks"].standing == "not_recorded"
    assert "only where it raised a doubt" in by["R6.blind"].text


def test_no_defence_is_only_said_where_the_log_says_it():
    said = {one.id: one.text for one in record(fine()).statements()}
    assert said["R10.measures"] == "No defence was in force."
    assert said["R9.before"].startswith("The likelihood above. No defence")


def test_each_attack_that_did_not_run_is_listed_with_its_reason():
    gaps = [gap.text for gap in record(failed()).untested if gap.kind == "attack"]
    assert len(gaps) == 2
    assert any("lira" in text and "failed" in text and "A record has no OUT model." in text for text in gaps)
    assert any("nasr" in text and "skipped" in text and "Needs white_box access." in text for text in gaps)
    for text in (failed().render("compliance-md"), Page(failed().render("html")).text):
        assert "nasr, which was asked for and skipped: Needs white_box access." in text


def test_an_attack_that_was_asked_for_and_is_gone_is_listed():
    log = fine()
    config = {**log.config, "audit": {**log.config["audit"], "attacks": ["rmia", "nasr", {"name": "seqmia"}, "quick"]}}
    made = record(log.model_copy(update={"config": config}))
    assert [g.text.split(",")[0] for g in made.untested if g.kind == "attack"] == ["nasr", "seqmia"]
    assert made.likelihood.level == "not assessed"


def test_figures_withheld_are_listed_once_for_each_reason():
    gaps = [gap for gap in record(example()).untested if gap.kind == "figure"]
    (withheld,) = [gap for gap in gaps if gap.text.startswith("TPR at 0.01 % FPR")]
    assert len(withheld.sources) == 10
    assert "10,000 are needed" in withheld.text


@pytest.mark.parametrize(
    ("high", "level"),
    [
        (0.002, "not distinguishable from chance at this power"), (0.0021, "low"), (0.01, "low"),
        (0.011, "medium"), (0.1, "medium"), (0.101, "high"), (1.0, "high"),
    ],
)  # fmt: skip
def test_likelihood_is_read_from_the_largest_upper_end(high, level):
    point = TprPoint(fpr=0.001, value=0.0015, low=0.0, high=high)
    other = TprPoint(fpr=0.001, value=0.0018, low=0.0, high=0.0019)
    log = minimal().model_copy(
        update={"attacks": [AttackResult(name="loss", tpr=[point]), AttackResult(name="rmia", tpr=[other])]}
    )
    found = likelihood(log)
    assert found.level == level
    assert found.strongest.attack == "rmia"
    assert found.strongest.upper == high
    assert found.sources == ["/attacks/1/tpr/0", "/attacks/0/tpr/0"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "interrupted"},
        {"status": "partial"},
        {"attacks": []},
        {"checks": [Check(id="blind-baseline", level="error", message="they differ by themselves")]},
        {"canary": CanaryFacts(kind="natural", count=10)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_lost_evidence_never_lowers_the_likelihood(change):
    assert likelihood(fine()).level == "high"
    lost = likelihood(fine().model_copy(update=change))
    assert lost.level == "not assessed"
    assert lost.reasons


@pytest.mark.parametrize("lost", ["value", "high", "skipped", "gone", "all"])
def test_an_attack_without_its_figure_never_lowers_the_likelihood(lost):
    attacks = list(fine().attacks)
    for k, result in enumerate(attacks):
        points = [p.model_copy(update={lost: None}) if lost in ("value", "high") else p for p in result.tpr]
        attacks[k] = result.model_copy(update={"tpr": [] if lost == "all" else points})
        if lost == "skipped" and result.name == "rmia":
            attacks[k] = AttackResult(name="rmia", status="skipped", reason="no models")
    config = dict(fine().config)
    if lost == "gone":
        config["audit"] = {**config["audit"], "attacks": [r.name for r in attacks]}
        attacks = [r for r in attacks if r.name != "rmia"]
    assert likelihood(fine().model_copy(update={"attacks": attacks, "config": config})).level == "not assessed"


def test_a_refuted_claim_or_a_warning_does_not_hide_the_figures():
    checks = [
        Check(id="epsilon-claim", level="error", message="refuted"),
        Check(id="few-nonmembers", level="warning", message="few"),
    ]
    assert likelihood(fine().model_copy(update={"checks": checks})).level == "high"


def test_an_adversary_who_does_not_adapt_settles_nothing():
    log = defended()
    config = {**log.config, "shadow": {**log.config["shadow"], "defences": "unknown"}}
    found = likelihood(log.model_copy(update={"config": config}))
    assert found.level == "not assessed"
    assert "did not adapt" in found.reasons[0]


def test_what_was_shown_stands_although_something_is_missing():
    found = likelihood(fine().model_copy(update={"status": "partial"}))
    assert (found.level, found.at_least) == ("not assessed", "high")
    some = TprPoint(fpr=0.001, value=0.06, low=0.02, high=0.2)
    weaker = minimal().model_copy(update={"attacks": [AttackResult(name="loss", tpr=[some])], "status": "partial"})
    assert likelihood(weaker).at_least == "medium"
    chance = TprPoint(fpr=0.001, value=0.001, low=0.0001, high=0.004)
    quiet = minimal().model_copy(update={"attacks": [AttackResult(name="loss", tpr=[chance])], "status": "partial"})
    assert likelihood(quiet).at_least == "not assessed"


shares = st.integers(0, 1_000_000).map(lambda n: n / 1_000_000)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=5), shares)
def test_one_attack_more_never_lowers_the_level(ends, more):
    def made(pairs):
        points = [TprPoint(fpr=FPR, value=(a + b) / 2, low=min(a, b), high=max(a, b)) for a, b in pairs]
        attacks = [AttackResult(name=f"a{k}", tpr=[point]) for k, point in enumerate(points)]
        return minimal().model_copy(update={"attacks": attacks})

    order = [band.level for band in BANDS]
    before, after = (likelihood(made(pairs)).level for pairs in (ends, [*ends, (more, more)]))
    assert order.index(after) >= order.index(before)
    assert strongest(made(ends), FPR).upper == max(max(pair) for pair in ends)


def test_measures_carry_their_class_and_their_claim():
    made = record(defended())
    assert [(one.name, one.guarantee, one.claim) for one in made.measures] == [
        ("dp_sgd", "G1", CLAIM), ("top_k", "G4", None),
    ]  # fmt: skip
    said = {one.id: one for one in made.statements()}
    assert "Claims ε = 4.0 at δ = 1e-05 for one record, by an accountant 0.6." in said["R10.measure-1"].text
    assert "ε" not in said["R10.measure-2"].text
    assert said["R10.claim"].text.endswith("That is no proof that the claim holds.")
    assert said["R9.before"].standing == "not_recorded"
    assert "dp_sgd and top_k" in said["R9.after"].text
    weak = Layer(name="dp_sgd", guarantee="G1")
    said = {one.id: one for one in record(defended().model_copy(update={"defences": [weak]})).statements()}
    assert "It claims no ε." in said["R10.measure-1"].text


def test_a_refuted_claim_is_said_beside_the_measures():
    over = defended().epsilon[0].model_copy(update={"value": 4.5})
    said = {one.id: one.text for one in record(defended().model_copy(update={"epsilon": [over]})).statements()}
    assert "does not hold" in said["R10.claim"]


def test_a_statement_is_recorded_if_and_only_if_it_has_a_source():
    with pytest.raises(ValidationError, match="names its sources"):
        Statement(id="R1.x", topic="x", standing="recorded", text="x")
    with pytest.raises(ValidationError, match="names its sources"):
        Statement(id="R1.x", topic="x", standing="person", text="x", sources=["/name"])


BANNED = r"anonymous|anonymi[sz]ed|compliant|gdpr-safe|no risk|risk-free|lawful(?! basis)|erased|safe\b"


def test_no_conclusion_is_drawn(log):
    made = record(log)
    texts = [one.text for one in made.statements()] + [one.text for one in (*made.anonymity, *made.untested)]
    for text in texts:
        assert not re.search(BANNED, text, re.IGNORECASE), text
    assert {one.answer for one in made.anonymity if one.id in ("conclusion", "documentation", "access")} == {
        "for a person"
    }
    assert not any(one.answer == "answered" for one in made.anonymity)


def test_records_are_named_by_id_alone_and_markdown_names_none():
    log = example()
    made = json.loads(record(log).to_json())
    exposed = made["at_risk"]["most_exposed"]
    assert [one["id"] for one in exposed] == [one.id for one in log.risk.records]
    assert {key for one in exposed for key in one} == {"id", "exposure", "posterior", "source"}
    for text in (log.render("compliance-md"), log.render("md")):
        assert "user-" not in text
    grouped = [part.model_copy(update={"kind": "group", "name": "Ada Lovelace"}) for part in log.risk.slices]
    named = log.model_copy(update={"risk": log.risk.model_copy(update={"slices": grouped})})
    assert "Ada" not in named.render("compliance-md")
    assert "One group: AUC" in named.render("compliance-md")


def section_of(text: str) -> str:
    start = text.index('<section aria-labelledby="compliance">')
    return text[start : text.index("</section>", start) + len("</section>")]


def test_the_section_of_the_page_is_whole(log):
    page = Page(section_of(log.render("html")))
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    headings = [
        "Likelihood and severity", "Measures and residual risk", "The question of anonymity", "Records at risk",
        "What was not tested", "Every other field", "What is assumed", "Texts that ask for this",
    ]  # fmt: skip
    places = [text.index(words) for words in headings]
    assert places == sorted(places)
    for section in record(log).sections:
        assert section.id in ("R9", "R10") or f"{section.id} · {section.title}" in text
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "input", "form"}
    for one in record(log).statements():
        assert " ".join(one.text.split()) in text
    for mark in MARKS.values():
        assert mark in text
    assert log.render("html").count('href="#compliance"') == 1


def test_markdown_holds_every_field(log):
    text = log.render("compliance-md")
    for one in record(log).statements():
        if one.standing != "recorded":
            assert f"*({MARKS[one.standing]})*" in text
    assert text.count("\n## ") == 16 + 4
    assert "<details><summary>For an impact assessment</summary>" in log.render("md")


def test_markup_in_the_log_stays_text():
    log = hostile()
    layer = Layer(name=EVIL, params={EVIL: EVIL}, guarantee=EVIL, paper=EVIL, claim={"epsilon": EVIL, "unit": EVIL})
    claim = Claim(epsilon=1.0, unit=EVIL, accountant=EVIL, assumptions=[EVIL], excludes=[EVIL])
    failed_ = AttackResult(name=EVIL, status="skipped", reason=EVIL)
    log = log.model_copy(update={"defences": [layer], "claim": claim, "attacks": [*log.attacks, failed_]})
    part = section_of(log.render("html"))
    assert "<script" not in part
    page = Page(part)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text
    for name in ("md", "compliance-md"):
        assert "<script" not in log.render(name)
    assert ComplianceRecord.model_validate_json(log.render("compliance"))


def test_pointers_follow_the_standard():
    tree = {"a/b": [{"m~n": 1}], "": 0, "x": None}
    assert resolve(tree, "/a~1b/0/m~0n") == 1
    assert resolve(tree, "/") == 0
    assert resolve(tree, "") is tree
    assert resolve(tree, "/x") is None
    assert resolve(tree, "/a~1b/1") is ABSENT
    assert resolve(tree, "/x/y") is ABSENT


def test_a_reader_tells_zero_from_nothing():
    reader = Reader.of(minimal().model_copy(update={"config": {"seed": 0, "name": ""}}))
    assert reader.has("/config/seed")
    assert not reader.has("/config/name")
    assert not reader.has("/config/absent")
    assert reader.text("/config/seed") == "0"


def test_bands_of_ones_own_are_used_and_kept():
    bands = [BANDS[0].model_copy(update={"up_to": 0.5}), BANDS[-1]]
    made = record(fine(), bands=bands)
    assert made.bands == bands
    assert made.likelihood.level == BANDS[0].level


def test_a_grid_of_figures_without_a_reason_is_still_a_log():
    log = minimal().model_copy(
        update={
            "population": Population(members=5, nonmembers=5, classes=0),
            "attacks": [AttackResult(name="loss", auc=Figure(), tpr=[TprPoint(fpr=0.01)])],
        }
    )
    assert record(log).likelihood.level == "not assessed"
    with pytest.raises(UsageError, match="compliance"):
        log.render("dpia")
