"""What was processed, by whom and why (R0 to R3): the log knows the records and the model, people know the rest."""

from __future__ import annotations

from vestige.report.compliance.reading import Reader, missing, person, quoted, recorded, section
from vestige.report.compliance.schema import Section, Statement
from vestige.report.wording import count, model_kind, percent

ACCESS = {
    "label": "The audit assumes that others see predicted labels.",
    "score": "The audit assumes that others see scores for every class.",
    "white_box": "The audit assumes that others have the model itself.",
}


def header(reader: Reader) -> Section:
    """R0: which audit this is."""
    versions = reader.table("/provenance/packages")
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return section(
        "R0",
        "This record",
        [
            recorded("R0.audit", "Audit", reader.log.name, "/name"),
            recorded("R0.date", "Date of the audit", reader.log.created, "/created"),
            recorded("R0.status", "Status of the audit", reader.log.status, "/status"),
            quoted(reader, "R0.tool", "Tool", "/provenance/vestige", before="Vestige "),
            recorded("R0.packages", "Versions", told, "/provenance/packages")
            if told
            else missing("R0.packages", "Versions"),
            quoted(reader, "R0.revision", "Revision of the code", "/provenance/revision"),
            quoted(reader, "R0.seed", "Seed", "/config/seed", "/provenance/seed"),
            quoted(reader, "R0.data", "Fingerprint of the data", "/population/fingerprint"),
            quoted(reader, "R0.recipe", "Recipe", "/target/recipe"),
            person("R0.author", "Author and reviewers", "Who wrote this assessment, and who reviewed it?"),
            person("R0.classification", "Classification", "Who may read it?"),
            person("R0.supersedes", "Supersedes", "Which earlier assessment does it replace?"),
        ],
        "gdpr",
    )


def processing(reader: Reader) -> Section:
    """R1: what is processed."""
    target = reader.log.target
    made = "was given already trained" if target.given else "was trained by the audit, by the recipe"
    access = ACCESS.get(target.access, f"The audit assumes {target.access} access.")
    return section(
        "R1",
        "The processing",
        [
            person("R1.purpose", "Purpose", "What is the model for, and why are people's data needed for it?"),
            person("R1.basis", "Lawful basis", "On which legal basis are the data processed?"),
            person("R1.roles", "Roles", "Who is controller, joint controller, processor?"),
            _records(reader),
            recorded("R1.model", "Model", f"A {model_kind(target.kind)} model, which {made}.", "/target"),
            quoted(reader, "R1.source", "Source of the data", "/population/source"),
            person(
                "R1.people",
                "Number of people",
                "How many people do the records belong to? The log counts records, not people.",
            ),
            person("R1.categories", "Categories of data", "Which data are they, and of which special categories?"),
            person(
                "R1.sensitivity",
                "Whether membership is itself sensitive",
                "Does being in this data set say something about a person (none, mild, special category, criminal "
                "matters, minors), and why?",
            ),
            recorded("R1.access", "Access assumed", access, "/target/access"),
            person("R1.release", "Access given", "What is really released, and to whom: weights, scores, labels?"),
            person("R1.retention", "Retention", "How long are data, models and query logs kept?"),
            person("R1.recipients", "Recipients and transfers", "Who receives data or model, and in which countries?"),
        ],
        "gdpr",
        "ccpa",
        "ai-act",
    )


def _records(reader: Reader) -> Statement:
    people = reader.log.population
    if not people.members + people.nonmembers:
        return missing("R1.records", "Records", "The log counts no records.")
    parts = [count(people.members, "member"), count(people.nonmembers, "non-member")]
    parts += [f"{people.held_out:,} held out from every model"] if people.held_out else []
    shape = [count(people.features, "feature")] if people.features else []
    shape += [count(people.classes, "class", "classes")] if people.classes else []
    told = f"{', '.join(parts)}; {' and '.join(shape)}." if shape else f"{', '.join(parts)}."
    return recorded("R1.records", "Records", told, "/population")


def necessity(reader: Reader, defended: bool | None) -> Section:
    """R2: necessity and proportionality."""
    target = reader.log.target
    under = {True: "under the defences", False: "without a defence", None: "as audited"}[defended]
    accuracy = (
        missing("R2.utility", "Utility", "The log holds no accuracy on records outside the training.")
        if target.test_accuracy is None
        else recorded(
            "R2.utility",
            "Utility",
            f"Accuracy {percent(target.test_accuracy)} on records outside the training, {under}; the log gives no "
            "interval for it.",
            "/target/test_accuracy",
        )
    )
    return section(
        "R2",
        "Necessity and proportionality",
        [
            person("R2.minimisation", "Minimisation", "Which fields, records and training runs were left out?"),
            person(
                "R2.alternatives",
                "Alternatives",
                "Would synthetic data, fewer fields or aggregates do, and why are they not used?",
            ),
            accuracy,
            missing(
                "R2.price",
                "What defences cost in utility",
                "One log holds one model. ‘vestige tradeoff’ measures several under the same protocol.",
            ),
            person("R2.choice", "Why this model", "Why this balance of utility and leakage, and not another?"),
        ],
        "gdpr",
    )


def consultation() -> Section:
    """R3: who was asked."""
    return section(
        "R3",
        "Consultation",
        [
            person("R3.dpo", "Data protection officer", "What was advised, and when?"),
            person("R3.people", "Those concerned", "Which views of data subjects were sought, or why not?"),
            person("R3.security", "Security", "Who signed off the security of the model and of its interface?"),
        ],
        "gdpr",
    )
