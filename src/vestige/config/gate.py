"""The largest figures that pass, and how a figure is named."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from vestige.config.values import Real, Section

FIGURES = ("tpr", "auc", "balanced_accuracy", "records_at_risk")


class GateRule(Section):
    """One rule of [gate]: the largest value that passes, and which end of the interval is judged."""

    max: Real
    attack: str | None = Field(default=None, description="judge this attack alone; omitted: every attack")
    judge: Literal["value", "low", "high"] = Field(default="value", description="which end of the interval is compared")


class FigureName(NamedTuple):
    """What a rule of the gate judges: a figure of one attack or (None) of all; the rate for ``tpr`` alone."""

    attack: str | None
    figure: str
    fpr: float | None


def figure_name(text: str) -> FigureName:
    """Read ``auc``, ``tpr@0.001`` or ``lira.tpr@0.01``; raises ValueError with a whole sentence.

    >>> figure_name("lira.tpr@0.01")
    FigureName(attack='lira', figure='tpr', fpr=0.01)
    """
    name, at, rate = text.partition("@")
    attack, _, figure = name.strip().rpartition(".")
    expected = f"Expected a figure such as 'auc', 'tpr@0.001' or 'lira.tpr@0.01', got '{text}'."
    if figure not in FIGURES:
        raise ValueError(f"{expected} Figures are: {', '.join(FIGURES)}.")
    if figure != "tpr":
        if at:
            raise ValueError(f"{expected} Only tpr is taken at a false-positive rate.")
        return FigureName(attack or None, figure, None)
    try:
        fpr = float(rate)
    except ValueError:
        fpr = math.nan
    if not 0 < fpr < 1:
        raise ValueError(f"{expected} The rate after '@' lies strictly between 0 and 1.")
    return FigureName(attack or None, figure, fpr)


def _rule(value: Any) -> Any:
    if isinstance(value, int | float):
        return {"max": value}
    if not isinstance(value, dict | GateRule):
        raise ValueError("a number, or a table such as { max = 0.01 }")
    return value


Rule = Annotated[GateRule, BeforeValidator(_rule, json_schema_input_type=float | GateRule)]
