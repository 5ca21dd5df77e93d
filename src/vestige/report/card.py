"""The report as a card for notebooks: the verdict, the strongest attacks, and whether to believe them."""

from __future__ import annotations

from vestige.log import AuditLog
from vestige.report.html import LEVELS, at, environment, states
from vestige.report.verdict import ranked, resolved_rates, verdict
from vestige.report.wording import confidence, number, rate, share

SHOWN = 5
TONES = {"high": "#c8372d", "moderate": "#a86c00", "low": "#23845a", "unknown": "#77808f"}
"""Readable on white and on near-black alike, as a notebook does not say which it has."""


def render(log: AuditLog) -> str:
    """Return the log as an HTML fragment with its styles inline."""
    said, best, asked = verdict(log), ranked(log), resolved_rates(log)
    page = (
        environment()
        .get_template("card.html")
        .render(
            log=log,
            verdict=said,
            tone=TONES[said.level],
            level=rate(confidence(log)),
            level_words=LEVELS[said.level],
            heads=["Attack", "AUC", *(f"TPR at {rate(fpr)} FPR, %" for fpr in asked)],
            table=[[r.title, number(r.auc), *(share(at(r, fpr)) for fpr in asked)] for r in best[:SHOWN]],
            more=max(0, len(best) - SHOWN),
            states=states(log),
        )
    )
    return page.strip()
