"""Rights, life of the model, California, limits and plain words (R11 to R15)."""

from __future__ import annotations

from vestige.report.compliance.reading import Reader, missing, person, recorded, section
from vestige.report.compliance.schema import Likelihood, Section, Statement
from vestige.report.wording import number, sentence


def rights(reader: Reader) -> Section:
    """R11: rights of those concerned, and what the audit shows of an unlearning."""
    return section(
        "R11",
        "Rights of those concerned",
        [
            person("R11.access", "Access and objection", "How are requests answered where they concern the model?"),
            person("R11.erasure", "Erasure", "What happens to the model when a record has to go?"),
            _unlearning(reader),
        ],
        "gdpr",
    )


def _unlearning(reader: Reader) -> Statement:
    id, topic = "R11.evidence", "Evidence about unlearning"
    ran = [(k, one) for k, one in enumerate(reader.log.attacks) if one.name == "model_update" and one.status == "ok"]
    if reader.text("/config/update/kind") != "unlearn" or not ran:
        return missing(id, topic, "The log holds no comparison of a model before and after an unlearning.")
    k, best = max(ran, key=lambda pair: pair[1].auc.value or 0.0)
    text = (
        f"Removed records are told from others with an AUC of {number(best.auc)}, where one half is chance. "
        "A figure at chance shows no difference at this power, and no more."
    )
    return recorded(id, topic, text, f"/attacks/{k}/auc", "/config/update/kind")


def lifecycle(reader: Reader) -> Section:
    """R12: when to test again."""
    return section(
        "R12",
        "Life of the model",
        [
            recorded("R12.when", "Audited on", f"{reader.log.created}; nothing later is covered.", "/created"),
            person(
                "R12.triggers",
                "When to test again",
                "For example: retraining, new data, a change of what is answered, a new kind of attack, a set time.",
            ),
            person("R12.monitoring", "Monitoring", "What watches the model, and where?"),
            person("R12.incident", "Incident", "Is a proven disclosure of membership a personal-data breach here?"),
        ],
        "gdpr",
    )


def california() -> Section:
    """R13: the annex for California."""
    return section(
        "R13",
        "California",
        [
            person("R13.applies", "Whether it applies", "Is a risk assessment required, and for which activity?"),
            person("R13.balance", "Benefits and negative impacts", "Which are they, and what safeguards are there?"),
            person("R13.approval", "Information and approval", "Who supplied information, and who approved?"),
        ],
        "ccpa",
    )


def limits(reader: Reader) -> Section:
    """R14: what the figures do not say."""
    warned = [
        recorded(f"R14.{place}", check.id, sentence(check.message), f"/checks/{place}")
        for place, check in enumerate(reader.log.checks)
        if check.level != "info"
    ]
    return section(
        "R14",
        "Limits",
        [
            *warned,
            recorded("R14.untested", "Not tested", "See the list of what was not tested.", "/attacks"),
            recorded(
                "R14.proof",
                "No proof",
                "A low figure says that these attacks, with this knowledge, found little.",
                "/attacks",
            ),
            recorded(
                "R14.self",
                "This audit",
                "It scored records by whether they were trained on, which is itself a use of the data. Keep log and "
                "report as the data are kept.",
                "/population",
            ),
        ],
        "edpb-28-2024",
    )


def plain_words(reader: Reader, found: Likelihood) -> Section:
    """R15: a summary for those whose data it is."""
    log, best = reader.log, found.strongest
    said: Statement = missing("R15.summary", "Summary")
    if log.population.members and log.attacks:
        text = "We tried to find out from the model's answers whose records it was trained on."
        if found.level == "not assessed":
            text += " How likely this is to succeed could not be settled by this test."
        elif found.level == "not distinguishable from chance at this power":
            text += " In this test the attempts were hardly better than guessing."
        else:
            text += f" We rate the chance that this succeeds for a given person as {found.level}."
        said = recorded("R15.summary", "Summary", text, *(best.sources or ["/attacks"]))
    return section(
        "R15",
        "In plain words",
        [
            said,
            person("R15.reader", "For those concerned", "Does this summary suit those it is for? Add how to ask."),
        ],
        "gdpr",
    )
