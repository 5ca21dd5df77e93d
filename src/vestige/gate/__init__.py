"""The gate: judge an audit by rules, or against an earlier audit."""

from vestige.gate.baseline import Change, Verdict, compare, findings_of
from vestige.gate.figures import AtRisk, Measured, MeasuredAt, Result, figure_of, shown
from vestige.gate.rules import METRICS, End, Finding, Rule, judge, parse_rule, rule

__all__ = [
    "METRICS",
    "AtRisk",
    "Change",
    "End",
    "Finding",
    "Measured",
    "MeasuredAt",
    "Result",
    "Rule",
    "Verdict",
    "compare",
    "figure_of",
    "findings_of",
    "judge",
    "parse_rule",
    "rule",
    "shown",
]
