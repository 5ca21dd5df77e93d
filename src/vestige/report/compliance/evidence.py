"""What was tested (R6), and what is claimed beside what was measured (R7)."""

from __future__ import annotations

from vestige.log import AuditLog
from vestige.report import claims
from vestige.report.compliance.likelihood import strongest
from vestige.report.compliance.reading import Reader, missing, recorded, section
from vestige.report.compliance.schema import Section, Statement, Strongest, Test
from vestige.report.compliance.training import doubts
from vestige.report.verdict import rates, withheld
from vestige.report.wording import count, listed, number, percent, rate, sentence, span

NOT_OF_THIS_KIND = "Not tested: every attack in the log is about membership."


def tests(log: AuditLog) -> list[Test]:
    """Return every attack of the log, those that did not run too."""
    return [
        Test(
            attack=result.title,
            access=result.access,
            status=result.status,
            reason=result.reason,
            params=result.params,
            auc=result.auc,
            rates=result.tpr,
            queries_per_record=result.queries_per_record,
            shadow_models=result.shadow_models,
            source=f"/attacks/{k}",
        )
        for k, result in enumerate(log.attacks)
    ]


def most(log: AuditLog) -> list[Strongest]:
    """Return the most that any attack found, for each false-positive rate asked for."""
    return [strongest(log, fpr) for fpr in rates(log)]


def tested(reader: Reader) -> Section:
    """R6: the tests and their power."""
    log = reader.log
    ran = [result for result in log.attacks if result.status == "ok"]
    return section(
        "R6",
        "The tests",
        [
            recorded("R6.attacks", "Attacks that ran", f"{listed([r.title for r in ran])}.", "/attacks")
            if ran
            else missing("R6.attacks", "Attacks that ran", "No attack finished."),
            *(_most(one, k) for k, one in enumerate(most(log))),
            _average(reader),
            *_resolution(log),
            doubts(reader, "R6.blind", "Blind baseline (records without the model)", "blind-baseline"),
            _checked(log),
            *_canaries(log),
            recorded("R6.extraction", "Extraction of training data", NOT_OF_THIS_KIND, "/attacks"),
            recorded("R6.attributes", "Inference of attributes", NOT_OF_THIS_KIND, "/attacks"),
            recorded("R6.inversion", "Inversion and reconstruction", NOT_OF_THIS_KIND, "/attacks"),
        ],
        "edpb-28-2024",
        "cnil",
        "ico",
        "nist",
        "iso-27559",
    )


def told(one: Strongest) -> str:
    """Say the most that was found at one rate."""
    ends = f" ({span(one.tpr)})" if span(one.tpr) else ""
    text = f"{one.attack} recognises {percent(one.tpr.value or 0.0)} of the members{ends} at {rate(one.fpr)} false "
    text += "accusations; guessing would recognise as many as it accuses falsely."
    if one.upper is not None:
        text += f" No attack's interval ends above {percent(one.upper)}."
    return text


def _most(one: Strongest, k: int) -> Statement:
    id, topic = f"R6.strongest-{k + 1}", f"Largest over attacks, at {rate(one.fpr)}"
    if one.tpr.value is None:
        return missing(id, topic, sentence(one.tpr.reason) if one.tpr.reason else "")
    return recorded(id, topic, told(one), *one.sources)


def _average(reader: Reader) -> Statement:
    found = [(k, r) for k, r in enumerate(reader.log.attacks) if r.status == "ok" and r.auc.value is not None]
    if not found:
        return missing("R6.average", "Averaged over thresholds")
    k, best = max(found, key=lambda pair: pair[1].auc.value or 0.0)
    text = f"Largest AUC {number(best.auc)} ({best.title}), where one half is chance."
    return recorded("R6.average", "Averaged over thresholds", text, f"/attacks/{k}/auc", f"/attacks/{k}/name")


def _resolution(log: AuditLog) -> list[Statement]:
    found = []
    for place, (fpr, reason) in enumerate(withheld(log), 1):
        places = [
            f"/attacks/{k}/tpr/{j}"
            for k, result in enumerate(log.attacks)
            for j, point in enumerate(result.tpr)
            if point.fpr == fpr and point.reason == reason
        ]
        topic = f"Power at {rate(fpr)}"
        if places:
            found.append(recorded(f"R6.power-{place}", topic, f"Withheld: {sentence(reason)}", *places))
    return found


def _checked(log: AuditLog) -> Statement:
    """Return which checks of itself the audit made, passed or not."""
    id, topic = "R6.checks", "Checks of the audit itself"
    if not log.checked:
        return missing(id, topic, "The log does not say which checks were made.")
    doubtful = [f"{one.id} ({one.outcome})" for one in log.checked if one.outcome != "passed"]
    fine = [one.id for one in log.checked if one.outcome == "passed"]
    said = [f"Raised a doubt: {listed(doubtful)}."] if doubtful else []
    said += [f"Passed: {listed(fine)}."] if fine else []
    return recorded(id, topic, " ".join(said), "/checked")


def _canaries(log: AuditLog) -> list[Statement]:
    canary = log.canary
    if canary is None:
        return []
    told = f"{count(canary.count, 'canary', 'canaries')} of the kind {canary.kind} in {count(canary.runs, 'training')}."
    found = [recorded("R6.canaries", "Canaries", told, "/canary")]
    if canary.power.message:
        found.append(recorded("R6.reach", "Power", sentence(canary.power.message), "/canary/power"))
    return found


def claimed(reader: Reader) -> Section:
    """R7: formal claims and what was measured against them."""
    log = reader.log
    facts = [] if log.claim is None else claims.facts(log.claim)
    statements: list[Statement | None] = [
        recorded(f"R7.{topic.lower().replace(' ', '-')}", topic, words, "/claim") for topic, words in facts
    ]
    if log.claim is None:
        text = "The log holds no claim of differential privacy."
        if any(layer.claim for layer in log.defences):
            text = "The log holds no claim for the whole, though single defences make one."
        statements.append(missing("R7.claim", "Claim", text))
    for k, bound in enumerate(log.epsilon):
        if bound.value is None:
            text = f"No figure: {sentence(bound.reason)}" if bound.reason else "No figure."
        else:
            sign = "≥" if bound.kind == "bound" else "≈"
            alone = f", alone {rate(bound.confidence)} sure" if bound.kind == "bound" else ", an estimate and no bound"
            text = f"ε {sign} {bound.value:.2f} at δ = {bound.delta:g}{alone}."
            text += "" if bound.ceiling is None else f" A total leak would have shown {bound.ceiling:.2f}."
        statements.append(recorded(f"R7.bound-{k + 1}", f"Measured by {bound.method}", text, f"/epsilon/{k}"))
    if not log.epsilon:
        statements.append(missing("R7.bounds", "Measured", "The log holds no lower bound on ε."))
    if log.claim is not None:
        standing = claims.standing(log)
        statements.append(recorded("R7.standing", "How the claim stands", STANDING[standing], "/claim", "/epsilon"))
        if not log.claim.excludes:
            statements.append(missing("R7.uncovered", "Releases that no claim covers"))
    return section("R7", "Formal claims", statements, "edpb-28-2024")


STANDING = {
    "refuted": "A bound that counts exceeds the claim: the claim does not hold.",
    "held": "No bound that counts exceeds the claim, though one could have. That is no proof that the claim holds.",
    "toothless": "No bound could have exceeded the claim, whatever was trained: this audit adds nothing for it.",
    "untested": "The claim was not tested: no bound that counts could be computed.",
    "unclaimed": "Nothing is claimed.",
}
