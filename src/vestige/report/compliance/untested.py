"""What was not tested: attacks that did not run, figures withheld, adversaries, data and leaks left out."""

from __future__ import annotations

from vestige.log import AttackResult, AuditLog, Figure
from vestige.report.compliance.likelihood import unrun
from vestige.report.compliance.schema import Gap
from vestige.report.threat import STATUS, targets
from vestige.report.wording import count, listed, model_kind, rate, sentence

KINDS = {
    "attack": "Attacks that did not run",
    "figure": "Figures withheld",
    "adversary": "Adversaries",
    "data": "Models and data",
    "leak": "Other leaks",
}
STRONGER = {
    "label": "Adversaries who see scores, or the weights.",
    "score": "Adversaries who see the weights or gradients.",
}

LEAKS = [
    Gap(kind="leak", text=text, sources=["/attacks"])
    for text in (
        "Extraction, inversion and reconstruction of training data.",
        "Inference of attributes, and of properties of the whole data set.",
        "What the records, the server and its logs reveal by themselves.",
        "Attacks not yet invented.",
    )
]


def untested(log: AuditLog) -> list[Gap]:
    """Return every gap, attack by attack and figure by figure."""
    return [*_attacks(log), *_figures(log), *_adversaries(log), *_data(log), *LEAKS]


def _attacks(log: AuditLog) -> list[Gap]:
    found = [
        Gap(
            kind="attack",
            text=f"{result.title}, which {STATUS[result.status]}: {_why(result)}",
            sources=[f"/attacks/{k}"],
        )
        for k, result in enumerate(log.attacks)
        if result.status != "ok"
    ]
    found += [
        Gap(kind="attack", text=f"{name}, which was asked for and is not there.", sources=["/config/audit/attacks"])
        for name in unrun(log)
    ]
    if not log.attacks and log.canary is None:
        found.append(Gap(kind="attack", text="Every attack: the log holds none.", sources=["/attacks"]))
    return found


def _why(result: AttackResult) -> str:
    return sentence(result.reason or "no reason was recorded")


def _figures(log: AuditLog) -> list[Gap]:
    """Gather the figures withheld for one reason."""
    grouped: dict[tuple[str, str], list[tuple[str, AttackResult]]] = {}
    for k, result in enumerate(log.attacks):
        if result.status != "ok":
            continue
        figures: list[tuple[str, str, Figure]] = [("AUC", f"/attacks/{k}/auc", result.auc)]
        figures += [(f"TPR at {rate(p.fpr)} FPR", f"/attacks/{k}/tpr/{j}", p) for j, p in enumerate(result.tpr)]
        for what, place, figure in figures:
            if figure.value is None and figure.reason:
                grouped.setdefault((what, figure.reason), []).append((place, result))
    found = []
    for (what, reason), those in grouped.items():
        whose = listed([result.title for _, result in those])
        found.append(Gap(kind="figure", text=f"{what} of {whose}: {sentence(reason)}", sources=[p for p, _ in those]))
    if log.risk is None:
        found.append(Gap(kind="figure", text="Risk of single records: not recorded.", sources=["/risk"]))
    found += [
        Gap(kind="figure", text=f"{bound.method}: {sentence(bound.reason)}", sources=[f"/epsilon/{k}"])
        for k, bound in enumerate(log.epsilon)
        if bound.value is None and bound.reason
    ]
    if not log.epsilon:
        found.append(Gap(kind="figure", text="Lower bounds on ε: none was computed.", sources=["/epsilon"]))
    return found


def _adversaries(log: AuditLog) -> list[Gap]:
    found = []
    if log.canary is not None:
        if log.canary.access != "white_box":
            text = "Adversaries who see the steps of the training."
            found.append(Gap(kind="adversary", text=text, sources=["/canary/access"]))
        return found
    if stronger := STRONGER.get(log.target.access):
        found.append(Gap(kind="adversary", text=stronger, sources=["/target/access"]))
    ran = [result for result in log.attacks if result.status == "ok"]
    if all(result.access != "label" for result in ran):
        found.append(Gap(kind="adversary", text="Adversaries who see only labels.", sources=["/attacks"]))
    names = {result.name for result in ran}
    for kinds, text in (
        ({"trajectory", "seqmia"}, "Adversaries who follow the course of a training."),
        ({"model_update"}, "Adversaries who compare the model before and after an update."),
        ({"timing"}, "Adversaries who time the answers."),
    ):
        if not kinds & names:
            found.append(Gap(kind="adversary", text=text, sources=["/attacks"]))
    return found


def _data(log: AuditLog) -> list[Gap]:
    people = log.population
    shape = [count(people.features, "feature")] if people.features else []
    shape += [count(people.classes, "class", "classes")] if people.classes else []
    about = f" on records of {listed(shape)}" if shape else ""
    text = f"Other kinds of model and data: this is a {model_kind(log.target.kind)} model{about}."
    found = [Gap(kind="data", text=text, sources=["/target/kind", "/population"])]
    if targets(log) <= 1 and log.canary is None:
        text = "How the leak varies between trainings: at most one model was audited."
        found.append(Gap(kind="data", text=text, sources=["/attacks"]))
    if log.canary is not None:
        text = f"Records other than these canaries, which are of the kind {log.canary.kind}."
        found.append(Gap(kind="data", text=text, sources=["/canary/kind"]))
    return found
