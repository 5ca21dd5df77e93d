"""The per-record table: one line per audited record. It says who was a member, so it is as sensitive as the data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vestige.errors import DataError

FILE = "records.csv"
_FACTS = ("id", "label", "group", "member", "posterior", "posterior_low", "posterior_high", "exposure")


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
    writer.writerow([*_FACTS, *attacks])
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


def from_csv(text: str, source: str = "the text") -> list[RecordRow]:
    """Read what `to_csv` wrote; raise DataError when it is something else."""
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    attacks = header[len(_FACTS) :]
    if tuple(header[: len(_FACTS)]) != _FACTS or not attacks:
        raise DataError(f"Expected {source} to be a table of records, as an audit writes it, got other columns.")
    rows = []
    for number, cells in enumerate(lines, start=2):
        try:
            identity, label, group, member, *rest = cells
            risk = [float(cell) if cell else None for cell in rest[:4]]
            scores = dict(zip(attacks, map(float, rest[4:]), strict=True))
            rows.append(
                RecordRow(
                    id=identity,
                    label=label,
                    group=group,
                    member=bool(int(member)),
                    posterior=risk[0],
                    posterior_low=risk[1],
                    posterior_high=risk[2],
                    exposure=risk[3],
                    scores=scores,
                )
            )
        except (ValueError, IndexError) as error:
            raise DataError(f"Line {number} of {source} is not a record of an audit: {error}.") from error
    return rows


def beside(log: Path) -> list[RecordRow]:
    """Return the table of records that was written next to a log (a file, or the folder that holds it); or nothing."""
    file = (log if log.is_dir() else log.parent) / FILE
    if not file.is_file():
        return []
    try:
        return from_csv(file.read_text(encoding="utf-8"), f"'{file}'")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Could not read the table of records '{file}': {error}.") from error
