"""Check: a named reason to doubt an audit. What causes and cures each is the same every time, and written once here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something that says whether this audit should be believed; level ``error`` means it should not."""

    id: str
    level: Level
    message: str
    cure: str
    cause: str


Made = tuple[str, Check | None]
"""A check that was made: its id, and the doubt that it raised, None where all is well."""


@dataclass(frozen=True)
class Explanation:
    """Why a check is raised, and what to do about it."""

    cause: str
    cure: str


CATALOGUE: Mapping[str, Explanation] = MappingProxyType(
    {
        "blind-baseline": Explanation(
            "Members and non-members differ by themselves, for example because they were collected at different "
            "times or sorted before they were split. Any attack then seems to work, on any model.",
            "Draw members and non-members at random from one pool, or audit a target trained on a random half of "
            "the records.",
        ),
        "duplicates": Explanation(
            "The same record, or nearly the same, is both a member and a non-member, so the truth that scores are "
            "judged by is wrong for it.",
            'Drop duplicates (`[data] duplicates = "drop"`) or give them one group, so that they are split together.',
        ),
        "few-nonmembers": Explanation(
            "A false-positive rate is a count of non-members above a threshold; with fewer than ten of them the "
            "rate is noise.",
            "Audit more non-members, or ask for a larger false-positive rate.",
        ),
        "member-imbalance": Explanation(
            "One side has few records, which widens every interval and makes precision at this mix misleading.",
            "Audit about as many non-members as members.",
        ),
        "prior-used": Explanation(
            "The adversary was told how likely each record is a member, beside what the target shows. An ensemble that "
            "adds this measures the two together, not what the model alone gives away.",
            "Run the ensemble without its prior beside it; a column made from the list of members is no prior.",
        ),
        "missing-in-or-out": Explanation(
            "A record was trained on by all shadow models or by none, so an attack that compares the two has "
            "nothing to compare.",
            "Train more shadow models, or use the balanced design, which guarantees both for every record.",
        ),
        "shadow-accuracy-gap": Explanation(
            "The shadow models are not like the target: another recipe, less data, or a target that was trained "
            "for longer.",
            "Give the recipe that the target was really trained with, and check the size of its training set.",
        ),
        "target-train-mode": Explanation(
            "The target is in training mode: dropout or batch statistics make its answers random or dependent on "
            "the batch.",
            "Call model.eval() before auditing.",
        ),
        "target-not-deterministic": Explanation(
            "The target answered the same query differently, by dropout, by noise added on purpose, or by "
            "unordered arithmetic.",
            "Switch off dropout and other randomness; for a defence that adds noise, let the attacks query "
            "several times.",
        ),
        "target-batch-dependent": Explanation(
            "The answer for a record depends on the records it is asked with, as with batch normalisation in "
            "training mode.",
            "Call model.eval() before auditing, and make preprocessing work on one record at a time.",
        ),
        "outputs-tied": Explanation(
            "Many records get exactly the same score, so thresholds can only move in large steps.",
            "Give the audit logits or unrounded probabilities when the adversary would have them.",
        ),
        "outputs-rounded": Explanation(
            "The target's probabilities carry few digits. That is a weak defence if it is served so, and a loss "
            "of power if only the file was written so.",
            "Export probabilities at full precision, or keep the rounding if the served model rounds.",
        ),
        "outputs-clipped": Explanation(
            "Probabilities are exactly 0 or 1, by clipping or because the type has no more digits, which hides "
            "how sure the target is of its most memorised records.",
            "Give the audit logits, or log-probabilities in float32 or better.",
        ),
        "outputs-softmaxed": Explanation(
            "What was given as logits already sums to one. It is read as probabilities, which resolve confident "
            "answers less well.",
            "Return the layer before the softmax if the adversary would see it; otherwise nothing needs doing.",
        ),
        "all-scores-equal": Explanation(
            "An attack gave every record the same score, so it says nothing.",
            "Look at the signal it reads; a label-only attack on a model that is always right has nothing to see.",
        ),
        "auc-below-half": Explanation(
            "An attack ranks members below non-members. A sign is wrong, rows are out of line with labels or "
            "members, or the list of members is inverted.",
            "Check that features, labels and member list are in one order, and that the list says who was trained on.",
        ),
        "weaker-than-loss": Explanation(
            "An attack with reference models does worse than the plain loss, which it contains: the references "
            "are unlike the target, or too few.",
            "Check the recipe against the target, and train more shadow models.",
        ),
        "operating-point-off": Explanation(
            "A threshold set on shadow models wrongly accuses far more of the target's non-members than it was set "
            "for: the shadow models' answers are not distributed like the target's.",
            "Give the recipe that the target was really trained with (epochs, schedule, size of the training set); "
            "until then do not read the figures in practice as an adversary's.",
        ),
        "canaries-alike": Explanation(
            "The model answers every canary alike, or the score reads something that training does not change. The "
            "bound of zero then comes from the score and says nothing about the training.",
            "Choose another score or access, and check that the model answers differently for different records.",
        ),
        "canaries-could-not-fail": Explanation(
            "With this few coins even a training that gave every canary away could not have shown an ε above the "
            "claim. That no bound exceeds the claim is then no evidence for it.",
            "Take more canaries (`[canary] count`) or more runs, until the ceiling exceeds the claim.",
        ),
        "epsilon-claim": Explanation(
            "The measured lower bound on epsilon exceeds what the training claims. One of them is wrong: "
            "accounting, sampling, clipping, or the bound's assumption.",
            "Check the accountant's inputs against the training loop, and the assumption of the bound.",
        ),
        "claim-untested": Explanation(
            "Lower bounds on epsilon from one training need members that were drawn by independent coins: not a member "
            "list of unknown origin, nor an exact half, nor whole groups.",
            "Leave out [target], so that one is trained here on records drawn by coins, or run `vestige canary`.",
        ),
        "cannot-refute": Explanation(
            "Few records can show only a small epsilon, however much the model leaks.",
            "Audit more records, or run `vestige canary` with more canaries or several trainings.",
        ),
        "interval-wider-than-margin": Explanation(
            "A figure's interval reaches across the gate's limit, so another draw of the same audit may be judged "
            "otherwise.",
            "Audit more records or more targets, or judge the end of the interval instead of the value.",
        ),
    }
)


def check(name: str, level: Level, message: str) -> Check:
    """Return the check called ``name`` with its cause and cure."""
    known = CATALOGUE[name]
    return Check(id=name, level=level, message=message, cause=known.cause, cure=known.cure)
