"""The per-record table: one line per audited record. It says who was a member, so it is as sensitive as the data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecordRow:
    """One audited record: the truth, its calibrated posterior with its interval, its exposure, and each attack's
    score.
    """

    id: str
    label: str
    group: str
    member: bool
    posterior: float | None
    posterior_low: float | None
    posterior_high: float | None
    exposure: float | None
    scores: dict[str, float]


def to_csv(rows: Sequence[RecordRow]) -> str:
    """Return the table as CSV, empty when there are no rows."""
    if not rows:
        return ""
    text = io.StringIO()
    attacks = list(rows[0].scores)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["id", "label", "group", "member", "posterior", "posterior_low", "posterior_high", "exposure", *attacks]
    )
    for row in rows:
        risk = (row.posterior, row.posterior_low, row.posterior_high, row.exposure)
        writer.writerow(
            [
                row.id,
                row.label,
                row.group,
                int(row.member),
                *("" if value is None else f"{value:.6g}" for value in risk),
                *(repr(row.scores[attack]) for attack in attacks),
            ]
        )
    return text.getvalue()
