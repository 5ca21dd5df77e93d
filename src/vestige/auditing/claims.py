"""Does the claim hold? Lower bounds on ε from the audited records' own scores, held against a claimed ε.

One training is one run of the mechanism. If each record came into it by an independent coin, guessing those coins from
one attack's scores bounds ε without a further training (Steinke, Nasr & Jagielski 2023), whatever the scores depend on
besides. Which attack is held against the claim is settled by its name before anything is scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from vestige import checks
from vestige.auditing.protocol import Scores
from vestige.config.claims import ClaimConfig
from vestige.errors import UsageError
from vestige.log import AttackResult, Claim, Epsilon
from vestige.metrics.epsilon import Coins, EpsilonBound, clopper_pearson, gdp_fit, one_run, one_run_fdp
from vestige.metrics.estimate import Array
from vestige.metrics.shares import shares
from vestige.privacy_claim import FORMAL, GAUSSIAN, PrivacyClaim
from vestige.registry import did_you_mean

if TYPE_CHECKING:
    from vestige.auditing.results import Outcome

PREFERRED = ("rmia", "lira", "rmia_offline", "lira_offline", "loss")
"""Of the attacks that an audit runs, the first of these is held against the claim."""

Method = Callable[[float], EpsilonBound]
"""Confidence → what the method finds."""
COUPLED = "all scores come from one training, which couples them"


def declared(config: ClaimConfig) -> PrivacyClaim:
    """Return the claim of a [claim] table; raises UsageError for impossible numbers."""
    fields = config.model_dump(exclude={"attack"})
    return PrivacyClaim(**{**fields, "assumptions": tuple(config.assumptions), "excludes": tuple(config.excludes)})


def claim_of(config: ClaimConfig | None) -> Claim | None:
    """Return the log's form of a claim."""
    return None if config is None else Claim(**config.model_dump(exclude={"attack"}))


def chosen(labels: list[str], asked: str | None) -> str:
    """Return the attack whose scores are held against the claim; raises UsageError when ``asked`` is not run.

    >>> chosen(["loss", "lira", "gap"], None)
    'lira'
    """
    if asked is not None:
        found = next((label for label in labels if label == asked or label.partition("[")[0] == asked), None)
        if found is None:
            raise UsageError(
                f"[claim] attack = '{asked}', and this audit runs {', '.join(labels)}.",
                hint=did_you_mean(asked, labels) or "Add it to [audit] attacks.",
            )
        return found
    named = {label.partition("[")[0]: label for label in reversed(labels)}
    return next((named[name] for name in PREFERRED if name in named), labels[0])


def untestable(outcome: Outcome, claim: PrivacyClaim) -> str:
    """Return why the audited records' scores cannot bound the claimed ε, with what to do, or an empty string."""
    groups = outcome.audit.inputs.records.groups
    if claim.guarantee not in FORMAL:
        return f"a claim of class {claim.guarantee} promises no (ε, δ) that a bound could refute"
    if claim.adjacency != "add_remove":
        return (
            "it is for data sets in which one record is exchanged for another, and this audit leaves records in or "
            "out; state it for adding or removing a record, which accountants give too"
        )
    if outcome.split.coin is None:
        return (
            "the target was given with its members, which were not drawn here by independent coins; leave out [target] "
            "so that one is trained here, or run `vestige canary` on the training function"
        )
    if claim.unit == "record" and groups is not None and len(np.unique(groups)) < len(groups):
        return (
            "records of one group came in or stayed out together; state the claim for whole groups ([claim] unit), or "
            "leave [data] group out"
        )
    return ""


def epsilons(outcome: Outcome) -> list[Epsilon]:
    """Return the bounds on ε at the claimed δ, the quoted one first; empty when nothing is claimed or can be tested."""
    config = outcome.audit.config.claim
    if config is None:
        return []
    claim = declared(config)
    label = chosen([label for label, _ in outcome.audit.attacks], config.attack)
    scores = outcome.scores.get(label)
    if untestable(outcome, claim) or not isinstance(scores, Scores):
        return []
    return bounds(_coins(outcome, scores), claim, label, outcome.audit.config.audit.confidence)


def bounds(coins: Coins, claim: PrivacyClaim, label: str, confidence: float) -> list[Epsilon]:
    """Return every method's ε from one model's ``coins``: first those that count, which hold together.

    A Gaussian mechanism that is declared is part of the claim, so a bound that assumes it may refute it; subsampling
    makes its curve another one, which a Gaussian only comes near. Methods that take the scores of one model for
    independent trials never count.
    """
    judged: dict[str, Method] = {}
    shown: dict[str, Method] = {}
    if claim.mechanism in GAUSSIAN:
        exact = claim.mechanism == "gaussian"

        def curve(level: float) -> EpsilonBound:
            found = one_run_fdp(coins, delta=claim.delta, confidence=level, curve="gaussian", mechanism=claim.mechanism)
            return found if exact else _doubted(found, "subsampled steps are only nearly Gaussian")

        (judged if exact else shown)["one_run_gdp"] = curve
        shown["gdp"] = lambda level: _doubted(
            gdp_fit(coins, mechanism=claim.mechanism, delta=claim.delta, confidence=level), COUPLED
        )
    judged["one_run"] = lambda level: one_run(coins, delta=claim.delta, confidence=level)
    judged["one_run_fdp"] = lambda level: one_run_fdp(coins, delta=claim.delta, confidence=level)
    shown["clopper_pearson"] = lambda level: _doubted(
        clopper_pearson(coins.members, coins.nonmembers, delta=claim.delta, confidence=level), COUPLED
    )
    levels = shares(len(judged), confidence)
    made = [_entry(name, judged[name](level), label, judged=True) for name, level in zip(judged, levels, strict=True)]
    made[0] = made[0].model_copy(update={"primary": True})
    return made + [_entry(name, method(confidence), label, judged=False) for name, method in shown.items()]


def _doubted(found: EpsilonBound, why: str) -> EpsilonBound:
    """Return a figure as the estimate that it is when what it assumes does not hold, with the reason."""
    return dataclasses.replace(found, kind="estimate", reason="; ".join(filter(None, (found.reason, why))))


def _coins(outcome: Outcome, scores: Scores) -> Coins:
    """Return the target's coins with their scores: one per record, or per group, by the mean of its records' scores."""
    rate = outcome.split.coin
    assert rate is not None
    groups, truth = outcome.audit.inputs.records.groups, outcome.truth
    if groups is None:
        return Coins(scores=np.asarray(scores.target, np.float64), included=truth, rate=rate)
    _, codes = np.unique(groups[outcome.split.audited], return_inverse=True)
    sizes = np.bincount(codes)
    sums: Array = np.bincount(codes, weights=scores.target).astype(np.float64)
    means = np.asarray(sums / sizes, dtype=np.float64)
    included = np.bincount(codes, weights=truth) == sizes
    return Coins(scores=means, included=included, rate=rate)


def _entry(name: str, found: EpsilonBound, label: str, *, judged: bool) -> Epsilon:
    fields = {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}
    return Epsilon(**{**fields, "method": name}, attack=label, judged=judged)


def claim_checks(outcome: Outcome, found: list[Epsilon]) -> Iterator[checks.Made]:
    """Yield what is to be said of the claim: refuted, not tested, or not refutable by an audit of this size."""
    config = outcome.audit.config.claim
    if config is None:
        return
    counted = [bound for bound in found if bound.judged and bound.value is not None]
    if not counted:
        yield "claim-untested", checks.claim_untested(config.epsilon, _why(outcome, config, found))
        return
    yield "claim-untested", None
    highest = max(counted, key=lambda bound: bound.value or 0.0)
    level = outcome.audit.config.audit.confidence
    measured = checks.epsilon_claim(config.epsilon, highest.value or 0.0, delta=config.delta, confidence=level)
    yield "epsilon-claim", measured
    ceilings = [bound.ceiling for bound in counted if bound.ceiling is not None]
    if len(ceilings) == len(counted):
        reach = checks.cannot_refute(config.epsilon, max(ceilings), records=len(outcome.split.audited))
        yield "cannot-refute", reach


def _why(outcome: Outcome, config: ClaimConfig, found: list[Epsilon]) -> str:
    reason = untestable(outcome, declared(config))
    if reason or found:
        return reason or next(bound.reason for bound in found if bound.judged)
    label = chosen([label for label, _ in outcome.audit.attacks], config.attack)
    scores = outcome.scores.get(label)
    if isinstance(scores, AttackResult):
        return f"{label}, whose scores were to be held against it, {scores.status}: {scores.reason}"
    return f"the run was interrupted before {label}, whose scores were to be held against it"
