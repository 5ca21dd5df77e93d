"""What a canary audit means, what its adversary had, and what it says nothing about."""

from __future__ import annotations

import math

from vestige.log import AuditLog, CanaryFacts
from vestige.report.claims import ADJACENCY, level, number, quoted, said, standing
from vestige.report.wording import count, rate, sentence

KINDS = {
    "natural": "records as they are",
    "mislabelled": "records with a wrong label",
    "out_of_distribution": "noise with a random label",
    "duplicated": "records as they are, several copies of each",
    "blank": "nearly empty records with a random label",
    "gradient": "directions planted in the gradient of each step",
}
SEEN = {
    "label": "The predicted label of each canary.",
    "score": "The trained model's answers for each canary.",
    "white_box": "The gradient that every training step releases.",
}


def odds(epsilon: float) -> float:
    """Return how often a guess may be right, at even odds, under ε-differential privacy."""
    return 1 / (1 + math.exp(-epsilon))


def meaning(log: AuditLog) -> tuple[str, list[str]]:
    """Return the one sentence of the verdict, and what else a careful reader should know."""
    best = quoted(log)
    if best is None or best.value is None:
        why = {"interrupted": "it was interrupted"}.get(log.status, "no bound could be computed")
        return f"No verdict: this canary audit showed nothing, because {why}.", [
            sentence(c.message) for c in log.checks
        ]
    sure = rate(level(log, best))
    shown = (
        f"canaries show that this training leaks at least ε = {number(best.value)} ({sure} confidence, {best.method})"
    )
    if best.kind == "estimate":
        shown = f"an estimate, not a bound, puts ε at about {number(best.value)} ({best.method})"
    elif best.value == 0:
        shown = f"canaries showed no leak: ε ≥ 0 ({sure} confidence, {best.method})"
    state = standing(log)
    text = said(log) if state in ("refuted", "toothless") else f"{shown[:1].upper()}{shown[1:]}."
    lines = [] if state in ("unclaimed", "refuted", "toothless") else [said(log)]
    if best.value > 0:
        lines.append(
            f"With such an ε the surest guesses about a record may be right {100 * odds(best.value):.0f} % of the time "
            "or more, at even odds."
        )
    if best.ceiling is not None:
        lines.append(
            f"A total leak would have shown ε ≥ {number(best.ceiling)}; the true ε may be far above the bound."
        )
    return text, lines


def knowledge(canary: CanaryFacts) -> list[tuple[str, str]]:
    """Return what the adversary of a canary audit could see, knew and had."""
    copies = f", {canary.copies} copies of each" if canary.copies > 1 else ""
    facts = [
        ("Sees", SEEN.get(canary.access, f"What {canary.access} access shows.")),
        ("Has", f"{count(canary.count, 'canary', 'canaries')}: {KINDS.get(canary.kind, canary.kind)}{copies}."),
        ("Trainings", f"{count(canary.runs, 'training')}; {count(canary.always, 'further record')} in every one."),
        ("Coins", f"One fair coin for each canary and training: {canary.included:,} in, {canary.left_out:,} out."),
        ("Scores by", f"{canary.score.replace('_', ' ')}, joined to the coins by record id."),
    ]
    if canary.references:
        facts.append(
            ("Can train", f"{count(canary.references, 'model')} with coins of their own, to calibrate scores.")
        )
    facts.append(("Neighbours differ in", f"{ADJACENCY[canary.adjacency]}; the coin's unit is {canary.unit}."))
    facts.append(("Does not know", "How the coins fell. No score is ever shown this."))
    return facts


def untested(canary: CanaryFacts) -> list[str]:
    """Return what a canary audit cannot speak about."""
    gaps = []
    if canary.access != "white_box":
        gaps.append("Adversaries who see the training's steps. They can only do better than the one here.")
    if canary.kind in ("natural", "duplicated"):
        gaps.append("Records that are easier to recognise than these: mislabelled ones or outliers may show more.")
    else:
        gaps.append("Ordinary records: these canaries are made to be recognised, as a worst case.")
    if canary.kind == "gradient":
        gaps.append("How gradients of records are made: a planted direction enters after the model's backward pass.")
    if canary.runs == 1:
        gaps.append("How the leak varies between trainings: one was audited. The bound holds for all the same.")
    gaps.append("Whether a claim is true: a lower bound can refute one, and never prove one.")
    return gaps
