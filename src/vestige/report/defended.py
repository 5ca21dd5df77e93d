"""What an audit says of the defences in front of the model: what they guarantee, and what aims at them."""

from __future__ import annotations

from vestige.log import AttackResult, AuditLog
from vestige.log_parts import Layer
from vestige.report.wording import listed, percent, span

ABOUT = {
    "G1": "the trained weights are differentially private",
    "G2": "the answers are differentially private",
    "G3": "a bound on what it costs, and nothing about leakage",
    "G4": "nothing about leakage",
}
FORMAL = ("G1", "G2")


def said(log: AuditLog) -> list[str]:
    """Return a sentence or two for each defence that proves nothing: what the attacks aimed at it found."""
    return [_said(log, layer) for layer in log.defences if layer.guarantee not in FORMAL]


def _said(log: AuditLog, layer: Layer) -> str:
    start = f"The defence {layer.name} guarantees {ABOUT.get(layer.guarantee, ABOUT['G4'])} ({layer.guarantee})"
    found = [
        f"{result.title} {percent(result.balanced_accuracy.value)}"
        + (f" ({span(result.balanced_accuracy)})" if span(result.balanced_accuracy) else "")
        for result in aimed(log, layer)
        if result.balanced_accuracy.value is not None
    ]
    if not found:
        return f"{start}: the attacks of this audit are all there is to judge it by."
    return f"{start}. How often attacks that aim at it tell members from others (chance is 50 %): {listed(found)}."


def aimed(log: AuditLog, layer: Layer) -> list[AttackResult]:
    """Return the finished attacks that aim at a defence, in the order of the log."""
    return [
        result
        for result in log.attacks
        if result.status == "ok" and any(result.goes_by(named) for named in layer.adaptive)
    ]


def unrun(log: AuditLog) -> list[str]:
    """Return, for each defence, the attacks aimed at it that were not even asked for."""
    found = []
    for layer in log.defences:
        missing = [_name(one) for one in layer.adaptive if not any(result.goes_by(one) for result in log.attacks)]
        if missing:
            kind, them = ("attacks that aim", "them") if len(missing) > 1 else ("attack that aims", "it")
            found.append(f"The {kind} at the defence {layer.name}: {listed(missing)}. [audit] attacks can name {them}.")
    return found


def faced(log: AuditLog, names: list[str]) -> str:
    """Return what the adversary meets, and whether their shadow models are defended likewise."""
    if not names:
        return "No defence."
    shadow = log.config.get("shadow")
    known = not isinstance(shadow, dict) or shadow.get("defences", "known") == "known"
    many = len(names) > 1
    start = f"The defence{'s' if many else ''} {listed(names)}"
    answers = [layer.name for layer in log.defences if layer.name in names and layer.stage == "answers"]
    passed = f"; having the weights, they get past {listed(answers)}" if answers and _weights(log) else ""
    if known:
        return f"{start}, and adapts to {'them' if many else 'it'}{passed}."
    return f"{start}, and does not know of {'them' if many else 'it'}: the shadow models are undefended{passed}."


def _weights(log: AuditLog) -> bool:
    return log.target.access == "white_box"


def _name(named: str | dict[str, object]) -> str:
    if isinstance(named, str):
        return named
    params = named.get("params", {})
    values = ", ".join(f"{k} = {v}" for k, v in params.items()) if isinstance(params, dict) else ""
    return f"{named.get('name')}{f' ({values})' if values else ''}"
