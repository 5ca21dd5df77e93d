"""The attacks as a table for spreadsheets: one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from vestige.log import AttackResult, AuditLog, Figure, Operational


def _spread(name: str, figure: Figure) -> dict[str, Any]:
    return {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}


def _row(result: AttackResult) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "attack": result.title,
        "name": result.name,
        "access": result.access,
        "status": result.status,
        "reason": result.reason,
        **_spread("auc", result.auc),
        **_spread("balanced_accuracy", result.balanced_accuracy),
    }
    for point in result.tpr:
        cells |= _spread(f"tpr@{point.fpr:g}", point)
    landed = result.operational or Operational(fpr_asked=0)
    cells["operational_fpr_asked"] = landed.fpr_asked or None
    cells |= _spread("operational_fpr", landed.fpr) | _spread("operational_tpr", landed.tpr)
    cells |= {
        "between_target_sd": result.between_target_sd,
        "queries_per_record": result.queries_per_record,
        "shadow_models": result.shadow_models,
        "seconds": result.seconds,
    }
    return cells


def table(log: AuditLog) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the column names and one row per attack; rates are shares, not percentages, and withheld figures None."""
    rows = [_row(result) for result in log.attacks]
    widest = max(rows, key=len, default=_row(AttackResult(name="none")))
    columns = list(dict.fromkeys([*widest, *(key for row in rows for key in row)]))
    return columns, rows


def _text(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def render(log: AuditLog) -> str:
    """Return one row per attack as comma-separated values; withheld figures are empty."""
    return _text(*table(log))
