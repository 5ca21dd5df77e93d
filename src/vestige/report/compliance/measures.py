"""The defences that were in force, with their class of guarantee, and what is left of the risk (R8 to R10)."""

from __future__ import annotations

from collections.abc import Sequence

from vestige.log import AuditLog
from vestige.report import claims
from vestige.report.compliance.evidence import STANDING, told
from vestige.report.compliance.reading import Reader, missing, person, recorded, section
from vestige.report.compliance.schema import Likelihood, Measure, Section, Statement, Strongest
from vestige.report.wording import listed

MEANS = {
    "G1": "It is meant to make the released weights differentially private with respect to the training set.",
    "G2": "It is meant to make the answers differentially private.",
    "G3": "It bounds the loss of utility; nothing is promised about leakage.",
    "G4": "Attacks alone speak for it.",
}
SURVIVES = {
    "G1": "Any attack and any number of queries; not a second use of the data that the claim does not count.",
    "G2": "Any attack through this interface within its budget; not more queries, nor a leak of the weights.",
    "G3": "Says nothing about attacks.",
    "G4": "The attacks that were measured; not necessarily stronger ones.",
}
TESTED = "That someone who asks the model can tell whose records it was trained on. No other risk was tested."


def defended(reader: Reader) -> bool | None:
    """Return whether defences were in force, None where the log does not say."""
    if reader.log.defences:
        return True
    layers = reader.at("/config/defences")
    return bool(layers) if isinstance(layers, list) else None


def measures(log: AuditLog) -> list[Measure]:
    """Return the defences, each with what its class of guarantee means."""
    return [
        Measure(
            name=layer.name,
            guarantee=layer.guarantee,
            means=MEANS.get(layer.guarantee, ""),
            survives=SURVIVES.get(layer.guarantee, ""),
            params=layer.params,
            claim=layer.claim,
            paper=layer.paper,
            source=f"/defences/{k}",
        )
        for k, layer in enumerate(log.defences)
    ]


def running() -> Section:
    """R8: what watches the model while it serves."""
    asked = "An audit log does not describe the server. Which limits, detectors and budgets guard the model?"
    return section(
        "R8",
        "Controls while serving",
        [
            person("R8.controls", "Controls", asked),
            person("R8.logs", "Logs of queries", "How long are they kept, and on which legal basis?"),
            person("R8.incidents", "Incidents", "Has membership inference been attempted, and what was found?"),
        ],
        "gdpr",
        "ico",
    )


def risk(reader: Reader, found: Likelihood, most: Sequence[Strongest], in_force: bool | None) -> Section:
    """R9: likelihood and severity, before and after measures."""
    words = f"{found.level.capitalize()}."
    # A level needs no reason where the evidence is whole; without it, the reasons are the finding.
    said = " ".join([words, *found.reasons]) if found.reasons else words
    if found.level == "not assessed" and found.at_least != "not assessed":
        said += f" What was measured shows it to be at least: {found.at_least}."
    level: Statement = (
        recorded("R9.likelihood", "Likelihood that a member is recognised", said, *found.sources)
        if found.sources
        else missing("R9.likelihood", "Likelihood that a member is recognised", said)
    )
    other = "One log holds one model: audit it without its defences too, or run ‘vestige tradeoff’."
    last = "One log holds one model: audit it under a defence too, or run ‘vestige tradeoff’."
    unsaid = "The log does not say whether defences were in force."
    before = missing("R9.before", "Before measures", other if in_force else unsaid)
    after = missing("R9.after", "After measures", last if in_force is False else unsaid)
    this = "The likelihood above."
    if in_force is False:
        before = recorded("R9.before", "Before measures", f"{this} No defence was in force.", "/config/defences")
    elif in_force:
        names = listed([layer.name for layer in reader.log.defences])
        where = "/defences" if names else "/config/defences"
        after = recorded("R9.after", "After measures", f"{this} In force: {names or 'see the config'}.", where)
    return section(
        "R9",
        "Likelihood and severity",
        [
            recorded("R9.tested", "Risk tested", TESTED, "/attacks"),
            level,
            _measured("R9.measured", "Measured", most),
            person(
                "R9.severity",
                "Severity",
                "How bad would it be for a person to be recognised as a member? See R1 on sensitivity.",
            ),
            before,
            after,
            person("R9.risk", "Risk", "Likelihood and severity taken together, before and after measures."),
        ],
        "gdpr",
        "iso-27559",
    )


def residual(reader: Reader, most: Sequence[Strongest], in_force: bool | None) -> Section:
    """R10: measures, owners and what is left."""
    log = reader.log
    layers: list[Statement | None] = [
        recorded(
            f"R10.measure-{k + 1}",
            one.name,
            f"Class {one.guarantee}. {one.means} Survives: {one.survives} {_claim(one)}".replace("  ", " ").strip(),
            one.source,
        )
        for k, one in enumerate(measures(log))
    ]
    if not layers:
        text = "No defence was in force." if in_force is False else ""
        none = recorded("R10.measures", "Measures", text, "/config/defences") if text else None
        layers = [none or missing("R10.measures", "Measures")]
    left = "Left after the measures above"
    return section(
        "R10",
        "Measures and residual risk",
        [
            *layers,
            None
            if log.claim is None
            else recorded("R10.claim", "The claim, tested", STANDING[claims.standing(log)], "/claim", "/epsilon"),
            missing("R10.left", left, "The log does not say whether defences were in force.")
            if in_force is None
            else _measured("R10.left", left, most),
            person("R10.owner", "Owners and dates", "Who is answerable for each measure, and by when?"),
            person("R10.residual", "Residual risk", "What risk is left, and is it accepted, by whom?"),
            person("R10.prior", "Prior consultation", "Must the supervisory authority be consulted first?"),
        ],
        "gdpr",
    )


def _measured(id: str, topic: str, most: Sequence[Strongest]) -> Statement:
    """Return the most that was found at the smallest rate that has a figure."""
    shown = next((one for one in most if one.tpr.value is not None), None)
    if shown is None:
        return missing(id, topic, "No attack has a figure at a false-positive rate.")
    return recorded(id, topic, told(shown), *shown.sources)


def _claim(one: Measure) -> str:
    claim = one.claim
    if claim is None:
        return "It claims no ε." if one.guarantee in ("G1", "G2") else ""
    if one.guarantee not in ("G1", "G2"):
        return ""
    told = f"Claims ε = {claim.get('epsilon', '–')} at δ = {claim.get('delta', '–')} for one {claim.get('unit', '–')}"
    by = claim.get("accountant")
    return f"{told}, by {by}." if by else f"{told}; the accountant is not recorded."
