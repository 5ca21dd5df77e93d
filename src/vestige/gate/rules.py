"""Rules on an audit's figures, each judged into a finding.

A rule reads ``[attack.]metric[@fpr][.low|.high]>limit`` and fails when the figure exceeds the limit. Without an
attack it is judged on the worst one. A figure that the audit could not resolve fails too: a gate that cannot be
evaluated must not pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vestige.errors import UsageError
from vestige.gate.figures import AtRisk, Measured, Result, figure_of, shown

End = Literal["value", "low", "high"]
METRICS = ("tpr", "auc", "balanced_accuracy", "records_at_risk")
NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
FIGURE = rf"(?:(?P<attack>.+)\.)?(?P<metric>{'|'.join(METRICS)})(?:@(?P<fpr>{NUMBER}))?(?:\.(?P<end>low|high|value))?"
EXAMPLES = "Examples: tpr@0.001>0.01, auc>0.6, lira.tpr@0.01>0.05, balanced_accuracy.low>0.6, records_at_risk>0.01."


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The largest value of a figure that passes; ``judge`` says which end of its interval is held against the limit."""

    metric: str
    limit: float
    fpr: float | None = None
    attack: str | None = None
    judge: End = "value"

    @property
    def figure(self) -> str:
        """The figure's name, such as ``tpr@0.01``."""
        return self.metric if self.fpr is None else f"{self.metric}@{self.fpr:g}"

    @property
    def id(self) -> str:
        """The rule as it would be written."""
        prefix = "" if self.attack is None else f"{self.attack}."
        suffix = "" if self.judge == "value" else f".{self.judge}"
        return f"{prefix}{self.figure}{suffix}>{self.limit:g}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule, judged. ``value`` is None when the figure could not be resolved, which does not pass."""

    id: str
    attack: str
    metric: str
    value: float | None
    limit: float
    passed: bool
    message: str


def parse_rule(text: str) -> Rule:
    """Return the rule that ``text`` says; raises UsageError when it says none.

    >>> parse_rule("lira.tpr@0.01>0.05").id
    'lira.tpr@0.01>0.05'
    """
    found = re.fullmatch(rf"\s*(?P<figure>[^<>]+?)\s*>\s*(?P<limit>{NUMBER})\s*", text)
    if found is None:
        raise UsageError(f"Expected a rule such as tpr@0.001>0.01, got '{text}'.", hint=EXAMPLES)
    return rule(found["figure"], float(found["limit"]))


def rule(figure: str, limit: float, *, attack: str | None = None, judge: End = "value") -> Rule:
    """Return a rule on ``figure``, written ``[attack.]metric[@fpr][.low|.high]``, or raise UsageError."""
    found = re.fullmatch(FIGURE, figure.strip())
    if found is None:
        raise UsageError(f"Expected a figure among {', '.join(METRICS)}, got '{figure}'.", hint=EXAMPLES)
    metric, fpr = found["metric"], found["fpr"]
    if (metric == "tpr") != (fpr is not None):
        problem = "tpr needs a false-positive rate" if metric == "tpr" else f"{metric} takes no false-positive rate"
        raise UsageError(f"The rule '{figure}' makes no sense: {problem}.", hint=EXAMPLES)
    if fpr is not None and not 0 < float(fpr) < 1:
        raise UsageError(f"Expected a false-positive rate between 0 and 1 in '{figure}', got {fpr}.", hint=EXAMPLES)
    if not 0 <= limit <= 1:
        raise UsageError(f"Expected the limit on '{figure}' to lie between 0 and 1, got {limit:g}.", hint=EXAMPLES)
    ends: dict[str, End] = {"low": "low", "high": "high", "value": "value"}
    return Rule(
        metric=metric,
        limit=float(limit),
        fpr=None if fpr is None else float(fpr),
        attack=found["attack"] or attack,
        judge=ends[found["end"]] if found["end"] else judge,
    )


def judge(rules: Sequence[Rule], results: Sequence[Result], risk: AtRisk | None = None) -> list[Finding]:
    """Return one finding per rule, in order."""
    return [_judge(each, results, risk) for each in rules]


def _judge(rule: Rule, results: Sequence[Result], risk: AtRisk | None) -> Finding:
    best: tuple[float, str, Measured] | None = None
    reasons: list[str] = []
    for attack, figure in _figures(rule, results, risk, reasons):
        end = getattr(figure, rule.judge)
        if end is None:
            reasons.append(figure.reason or "it was not measured")
        elif best is None or end > best[0]:
            best = (float(end), attack, figure)
    if best is None:
        why = reasons[0] if reasons else "no attack has this figure"
        message = f"{rule.figure} could not be resolved: {why.rstrip('.')}. A rule that cannot be judged does not pass."
        return Finding(
            id=rule.id,
            attack=rule.attack or "",
            metric=rule.figure,
            value=None,
            limit=rule.limit,
            passed=False,
            message=message,
        )
    end, attack, figure = best
    passed = end <= rule.limit
    relation = "within" if passed else "above"
    judged = "" if rule.judge == "value" else f", judged by its {rule.judge} end {end:.4g}"
    message = f"{rule.figure} of {attack} is {shown(figure)}{judged}, {relation} the limit of {rule.limit:g}."
    return Finding(
        id=rule.id, attack=attack, metric=rule.figure, value=end, limit=rule.limit, passed=passed, message=message
    )


def _figures(
    rule: Rule, results: Sequence[Result], risk: AtRisk | None, reasons: list[str]
) -> Iterator[tuple[str, Measured]]:
    """Yield (attack, figure) for every attack the rule speaks of; why there is none goes to ``reasons``."""
    if rule.metric == "records_at_risk":
        if risk is None:
            reasons.append("no attack could be calibrated on shadow models")
        elif rule.attack not in (None, risk.attack):
            reasons.append(f"records at risk were judged under {risk.attack}, not {rule.attack}")
        else:
            yield risk.attack, risk.share_at_risk
        return
    named = [one for one in results if rule.attack is None or rule.attack in (one.title, one.name)]
    if not named:
        have = ", ".join(one.title for one in results) or "none"
        reasons.append(
            f"the audit has no attack called '{rule.attack}'; it has {have}" if rule.attack else "no attack ran"
        )
    for result in named:
        if result.status != "ok":
            reasons.append(f"{result.title} {result.status}: {result.reason or 'no reason given'}")
            continue
        figure = figure_of(result, rule.metric, rule.fpr)
        if figure is None:
            rates = ", ".join(f"{point.fpr:g}" for point in result.tpr) or "no rate"
            reasons.append(f"TPR was measured at {rates}, not at {rule.fpr:g}; add it to [audit] fpr")
        else:
            yield result.title, figure
