"""What the adversary of an audit was given, and what the audit says nothing about; both are read off the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vestige.log import AuditLog
from vestige.report import canaries, defended
from vestige.report.wording import count, listed, rate, sentence

SEEN = {
    "label": "The predicted label of any record they ask about, nothing more.",
    "score": "The model's scores for every class, for any record they ask about.",
    "white_box": "The model itself: its weights, gradients and activations.",
}


STATUS = {"failed": "was asked for and failed", "skipped": "was asked for and skipped"}


def _section(log: AuditLog, name: str) -> Mapping[str, Any]:
    value = log.config.get(name)
    return value if isinstance(value, Mapping) else {}


def defences(log: AuditLog) -> list[str]:
    """Return the names of the defences that were audited."""
    layers = log.config.get("defences")
    if not isinstance(layers, list):
        return []
    return [str(layer.get("kind", "?")) for layer in layers if isinstance(layer, Mapping)]


def targets(log: AuditLog) -> int:
    """Return how many models took the target's place."""
    return max((len(result.targets) for result in log.attacks), default=0)


def knowledge(log: AuditLog) -> list[tuple[str, str]]:
    """Return what the adversary could see, knew and had, as (topic, sentence)."""
    if log.canary is not None:
        return canaries.knowledge(log.canary)
    shadow = _section(log, "shadow")
    facts = [("Sees", SEEN.get(log.target.access, f"What {log.target.access} access shows."))]
    if log.target.kind == "updated":
        facts.append(("Compares", _update(log)))
    if _section(log, "audit").get("timing"):
        facts.append(("Also sees", "How long each answer takes."))
    records = log.population.records or log.population.members + log.population.nonmembers
    labels = "but not their labels; the model's own answer stands in for them"
    labels = "with their true labels" if _section(log, "audit").get("labels", "true") == "true" else labels
    facts.append(("Has", f"The records in question, {labels}: {count(records, 'record')}."))
    if log.population.held_out:
        facts.append(
            (
                "Also has",
                f"{count(log.population.held_out, 'record')} from the same source that no model was trained on.",
            )
        )
    if log.shadow.count:
        data = shadow.get("data", "same")
        source = "the same source as the target's" if data == "same" else f"another source ({data})"
        shape = (
            "the same recipe as the target"
            if shadow.get("architecture", "same") == "same"
            else "another recipe than the target's"
        )
        guess = ", ".join(f"{key} {value}" for key, value in log.shadow.guessed.items())
        shape += f" with guessed hyperparameters ({guess})" if guess else ""
        facts.append(("Can train", f"{count(log.shadow.count, 'shadow model')} by {shape}, on records from {source}."))
    else:
        facts.append(("Can train", "Nothing: no shadow models were used."))
    queries = max((r.queries_per_record for r in log.attacks if r.status == "ok"), default=0)
    if queries:
        facts.append(("May ask", f"Up to {count(queries, 'query', 'queries')} about each record."))
    kept = defences(log)
    facts.append(("Faces", defended.faced(log, kept)))
    facts.append(("Does not know", "Which of the records the target was trained on. No attack is ever shown this."))
    return facts


def _update(log: AuditLog) -> str:
    """Return which snapshots there are, and who a member is."""
    update = _section(log, "update")
    member = "removed" if update.get("kind") == "unlearn" else "added" if update else "added or removed"
    steps = int(update.get("steps", 1))
    updates = "its update" if steps == 1 else f"each of {steps} updates"
    return f"The model before {updates} with the model after; a member is a record that was {member}."


def untested(log: AuditLog) -> list[str]:
    """Return what this audit cannot speak about, most relevant first."""
    if log.canary is not None:
        return canaries.untested(log.canary)
    gaps = [
        sentence(f"the attack {r.title}, which {STATUS[r.status]}: {r.reason or 'no reason was recorded'}")
        for r in log.attacks
        if r.status != "ok"
    ]
    gaps += defended.unrun(log)
    stronger = {"label": "scores or weights", "score": "the weights, gradients or training snapshots"}.get(
        log.target.access
    )
    if stronger:
        gaps.append(f"Adversaries who see {stronger} of the model. They can only do better than the ones here.")
    if all(r.access != "label" for r in log.attacks if r.status == "ok"):
        gaps.append("Adversaries who see only labels. Hiding the scores would not by itself make this model safe.")
    resolved = [p.fpr for r in log.attacks for p in r.tpr if p.value is not None]
    withheld = sorted({p.fpr for r in log.attacks for p in r.tpr if p.value is None} - set(resolved))
    if withheld:
        gaps.append(
            f"False-positive rates of {listed([rate(fpr) for fpr in withheld])}: too few non-members to resolve them."
        )
    if targets(log) <= 1:
        gaps.append(
            "How much the leak varies between training runs: one model was audited. The intervals cover the "
            "choice of records only."
        )
    if not log.epsilon:
        gaps.append(
            "A lower bound on ε of differential privacy: none was computed. A low verdict is no guarantee of any ε."
        )
    gaps.append("Attacks not yet invented, and records unlike the ones audited.")
    gaps.append(
        "Other leaks: reconstruction of training data, inference of attributes, or what the records themselves reveal."
    )
    return gaps
