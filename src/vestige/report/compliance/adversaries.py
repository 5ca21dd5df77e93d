"""Whom the figures assume as the adversary (R5), and the assumptions that everything rests on."""

from __future__ import annotations

from vestige.report import threat
from vestige.report.compliance.reading import Reader, missing, person, recorded, section
from vestige.report.compliance.schema import Section, Statement
from vestige.report.wording import count, duration, listed, rate

TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Sees": ("/target/access", ("/target/access",)),
    "Compares": ("/config/update", ("/config/update", "/target/kind")),
    "Also sees": ("/config/audit/timing", ("/config/audit/timing",)),
    "Has": ("/config/audit", ("/population", "/config/audit")),
    "Also has": ("/population/held_out", ("/population/held_out",)),
    "Can train": ("/config/shadow", ("/shadow", "/config/shadow")),
    "May ask": ("/attacks", ("/attacks",)),
    "Does not know": ("/attacks", ("/attacks",)),
}
"""What `threat.knowledge` speaks of: the place without which it would only suppose, and where its words come from."""


def adversaries(reader: Reader, defended: bool | None) -> Section:
    """R5: actors, knowledge, access and means."""
    told = [_known(reader, topic, words) for topic, words in threat.knowledge(reader.log) if topic != "Faces"]
    return section(
        "R5",
        "Who might try",
        [
            *told,
            _faces(reader, defended),
            _means(reader),
            person("R5.actors", "Actors", "Who could reach the model, third parties too, and what would move them?"),
            person("R5.likely", "Means reasonably likely", "Which of these means is each of them likely to use?"),
            person("R5.excluded", "Actors left out", "Who is left out of this assessment, and why?"),
        ],
        "gdpr",
        "edpb-28-2024",
        "nist",
        "iso-27559",
    )


def _known(reader: Reader, topic: str, words: str) -> Statement:
    id = f"R5.{topic.lower().replace(' ', '-')}"
    if reader.log.canary is not None:
        return recorded(id, topic, words, "/canary")
    needed, sources = TOPICS.get(topic, ("/config", ("/config",)))
    if not reader.has(needed):
        return missing(id, topic)
    return recorded(id, topic, words, *(place for place in sources if reader.has(place)))


def _faces(reader: Reader, defended: bool | None) -> Statement:
    id, topic = "R5.faces", "Faces"
    if defended is None:
        return missing(id, topic, "The log does not say whether defences were in force.")
    if not defended:
        return recorded(id, topic, "No defence.", "/config/defences")
    where = "/defences" if reader.log.defences else "/config/defences"
    names = [layer.name for layer in reader.log.defences] or threat.defences(reader.log)
    told = f"The defence {listed(names)}" if len(names) == 1 else f"The defences {listed(names)}"
    adapts = reader.text("/config/shadow/defences")
    if not adapts:
        return recorded(id, topic, f"{told}; whether the adversary adapts is not recorded.", where)
    end = "and the adversary adapts" if adapts == "known" else "and the adversary does not adapt"
    return recorded(id, topic, f"{told}, {end}.", where, "/config/shadow/defences")


def _means(reader: Reader) -> Statement:
    used, id, topic = reader.log.cost, "R5.means", "Means that the audit used"
    parts = [count(reader.log.shadow.count, "shadow model")] if reader.log.shadow.count else []
    parts += [f"{used.target_queries:,} queries to the target"] if used.target_queries else []
    parts += [f"{duration(used.seconds.total)} of computing on one machine"] if used.seconds.total else []
    if not parts:
        return missing(id, topic)
    return recorded(id, topic, f"{listed(parts)}.", "/shadow/count", "/cost")


def assumptions(reader: Reader) -> list[Statement]:
    """Return what must hold for the figures, and for the claims, to mean what they say."""
    log, found = reader.log, list[Statement]()
    if (level := reader.confidence) is not None:
        told = f"Brackets hold {rate(level)} intervals, each taken alone."
        found.append(recorded("A.intervals", "Intervals", told, "/config/audit/confidence"))
    else:
        found.append(missing("A.intervals", "Intervals", "The log does not say which intervals it holds."))
    if log.attacks and log.canary is None:
        found.append(
            recorded(
                "A.draw",
                "Members and non-members",
                "Both are taken to be draws from one source. Where they differ by themselves, attacks find that too.",
                "/population",
            )
        )
    if log.shadow.count:
        found.append(
            recorded(
                "A.shadow",
                "Shadow models",
                "They are taken to behave like the target"
                + (f"; they were dealt their records by {log.shadow.design}." if log.shadow.design else "."),
                "/shadow",
            )
        )
    for k, said in enumerate([] if log.claim is None else log.claim.assumptions):
        found.append(recorded(f"A.claim-{k + 1}", "The claim", f"{said}.", f"/claim/assumptions/{k}"))
    for k, bound in enumerate(log.epsilon):
        if bound.assumption:
            found.append(recorded(f"A.bound-{k + 1}", bound.method, f"{bound.assumption}.", f"/epsilon/{k}"))
    return found
