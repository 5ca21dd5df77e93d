"""The question of anonymity, element by element: what this audit answers of it, and what it cannot."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.log import AuditLog
from vestige.report.compliance.evidence import told
from vestige.report.compliance.schema import Element, Likelihood, Measure, Strongest
from vestige.report.wording import count, listed

UNTESTED = "Every attack in the log is about membership. None was tried that would tell."
ALL: tuple[tuple[str, str, str], ...] = (
    ("extraction", "Extracting training data from the model, probably or surely", UNTESTED),
    ("queries", "Obtaining training data by queries, meant or not", UNTESTED),
    ("attributes", "Inferring attributes of people", UNTESTED),
    ("reconstruction", "Inversion, reconstruction and regurgitation", UNTESTED),
    ("exfiltration", "Theft of the model or of its data", "An audit log says nothing of how the model is kept."),
    ("linking", "Linking records of one person", UNTESTED),
)


def anonymity(log: AuditLog, most: Sequence[Strongest], found: Likelihood, layers: Sequence[Measure]) -> list[Element]:
    """Return the elements; none of them is a conclusion, and no figure of this audit alone makes one."""
    return [
        _membership(log, most, found),
        *(_untested(*each) for each in ALL),
        _design(layers),
        _means(log),
        Element(
            id="access",
            element="Who can reach the model, third parties included",
            answer="for a person",
            text=f"The audit assumed {log.target.access.replace('_', '-')} access. What is given, a person has to say.",
            sources=["/target/access"],
        ),
        Element(
            id="documentation",
            element="Documentation: assessment, advice, measures, tests, residual risk",
            answer="for a person",
            text="This record holds the tests and the measures of one audit. The rest is for a person to add.",
        ),
        Element(
            id="conclusion",
            element="Whether the likelihood of each is insignificant",
            answer="for a person",
            text="This record draws no conclusion.",
        ),
    ]


def _membership(log: AuditLog, most: Sequence[Strongest], found: Likelihood) -> Element:
    element = "Membership inference (singling out: was this record trained on?)"
    shown = [one for one in most if one.tpr.value is not None]
    ran = [result for result in log.attacks if result.status == "ok"]
    if log.canary is not None and log.epsilon:
        text = "Canaries were inserted and guessed; the bounds on ε say how surely. See R7."
        return Element(
            id="membership", element=element, answer="answered in part", text=text, sources=["/canary", "/epsilon"]
        )
    if not shown:
        text = "No attack has a figure at a false-positive rate."
        return Element(id="membership", element=element, answer="not answered", text=text, sources=["/attacks"])
    text = f"{count(len(ran), 'attack')} ran. {told(shown[0])}"
    if found.level == "not assessed":
        text += " The likelihood is not assessed: see R9."
    return Element(
        id="membership",
        element=element,
        answer="answered in part",
        text=text,
        sources=list(dict.fromkeys(["/attacks", *shown[0].sources])),
    )


def _untested(id: str, element: str, text: str) -> Element:
    return Element(id=id, element=element, answer="not answered", text=text)


def _design(layers: Sequence[Measure]) -> Element:
    id, element = "design", "Design choices: less data, private training, guarded answers"
    if not layers:
        text = "The log names no defence. Which data were left out, a person knows."
        return Element(id=id, element=element, answer="for a person", text=text)
    named = listed([f"{one.name} (class {one.guarantee})" for one in layers])
    text = f"In force: {named}. Which data were left out, a person knows."
    return Element(id=id, element=element, answer="answered in part", text=text, sources=["/defences"])


def _means(log: AuditLog) -> Element:
    id, element = "means", "Means reasonably likely to be used"
    if not log.attacks and log.canary is None:
        return Element(id=id, element=element, answer="for a person", text="The log holds no attack.")
    parts = [count(log.shadow.count, "shadow model")] if log.shadow.count else []
    parts += [f"{log.cost.target_queries:,} queries"] if log.cost.target_queries else []
    used = f"The audit used {listed(parts)}." if parts else "What the audit used is not recorded."
    return Element(
        id=id,
        element=element,
        answer="for a person",
        text=f"{used} Which means are likely, a person has to say.",
        sources=["/shadow/count", "/cost/target_queries"] if parts else [],
    )
