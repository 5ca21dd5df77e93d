"""A grid as text: for the terminal, for Markdown, and as a table for spreadsheets."""

from __future__ import annotations

import io
from csv import DictWriter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vestige.grid.expand import AXES
from vestige.grid.results import GridLog
from vestige.report.grid import states
from vestige.report.grid_map import Field, column_words, columns, facets, said, shown_rate
from vestige.report.markdown import plain
from vestige.report.wording import count, duration, rate, sentence

WIDTH = 110
TONES = {"good": "green", "warn": "yellow", "bad": "red"}


def table(grid: GridLog) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the column names and one row per attack and cell; rates are shares, withheld figures None."""
    rows: list[dict[str, Any]] = []
    for cell in grid.cells:
        place = {"cell": cell.id, **{axis: cell.place.get(axis, "") for axis in AXES}, "audit": cell.status}
        if not cell.results:
            rows.append({**place, "reason": cell.reason})
        for result in cell.results:
            figures = {"auc": result.auc} | {f"tpr@{point.fpr:g}": point for point in result.tpr}
            row: dict[str, Any] = {**place, "attack": result.attack, "status": result.status, "reason": result.reason}
            for name, figure in figures.items():
                row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            row |= {"queries_per_record": result.queries_per_record, "shadow_models": result.shadow_models}
            rows.append(row)
    names = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    return names, [{name: row.get(name) for name in names} for row in rows]


def csv(grid: GridLog) -> str:
    """Return one row per attack and cell as comma-separated values; withheld figures are empty."""
    names, rows = table(grid)
    out = io.StringIO()
    writer = DictWriter(out, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def markdown(grid: GridLog) -> str:
    """Return the grid as Markdown: one table, facet by facet."""
    fpr, heads = shown_rate(grid), [plain(", ".join(column_words(grid, key))) for key in columns(grid)]
    lines = [f"### Grid of membership audits: {plain(grid.name)}", ""]
    lines += [f"- {plain(line)}" for line in said(grid)]
    lines += ["", f"| Attack | {' | '.join(heads)} |", "|:--|" + "--:|" * len(heads)]
    notes = []
    for facet in facets(grid):
        lines.append(f"| **{plain(facet.title)}** |" + " |" * len(heads))
        lines += [f"| {plain(row.attack)} | {' | '.join(plain(_brief(f)) for f in row.fields)} |" for row in facet.rows]
        notes += [f"- {plain(facet.title)}: {plain(names)} cannot run. {plain(why)}" for names, why in facet.absent]
    notes += [f"- {plain(cell.id)}: {plain(sentence(cell.reason))}" for cell in grid.cells if cell.reason]
    told = f", and the TPR at {rate(fpr)} FPR" if fpr is not None else ""
    lines += ["", f"AUC{told}. Intervals are in the HTML page and the CSV.", "", *notes]
    ending = f"{count(len(grid.cells), 'audit')} · {duration(grid.seconds)} · {plain(grid.created)}"
    return "\n".join([*lines, "", f"<sub>{ending}</sub>"]) + "\n"


def _letter(k: int) -> str:
    return chr(ord("A") + k) if k < 26 else f"A{k}"


def _brief(field: Field) -> str:
    return f"{field.auc} ({field.tpr})" if field.auc else field.word


def print_grid(grid: GridLog, console: Console) -> None:
    """Print the heat map as tables, one per threat model, and what could not run."""
    fpr, heads = shown_rate(grid), [column_words(grid, key) for key in columns(grid)]
    console.print(Text(grid.name, style="bold"), highlight=False)
    widest = max(map(len, (facet.rows[0].attack for facet in facets(grid) if facet.rows)), default=0)
    widest += sum(3 + max(14, *map(len, words)) for words in heads)
    legend = [f"{_letter(k)}: {', '.join(words)}" for k, words in enumerate(heads)] if widest > console.width else []
    told = "" if fpr is None or legend else f", and the TPR at {rate(fpr)} FPR"
    console.print(Text(f"AUC{told}", style="dim"), highlight=False)
    for line in legend:
        console.print(Text(line, style="dim"), highlight=False)
    heads = [[_letter(k)] for k in range(len(heads))] if legend else heads
    for facet in facets(grid):
        drawn = Table(box=None, title=Text(facet.title, style="bold"), title_justify="left", pad_edge=False)
        drawn.add_column("attack", overflow="fold", min_width=12)
        for head in heads:
            drawn.add_column(Text("\n".join(head)), justify="right", overflow="fold")
        for row in facet.rows:
            short = [field.auc or "–" if legend else _brief(field) for field in row.fields]
            cells = [Text(one, style="" if f.auc else "dim") for one, f in zip(short, row.fields, strict=True)]
            drawn.add_row(Text(row.attack), *cells, style="bold" if row.best else "")
        console.print()
        console.print(drawn)
        for names, why in facet.absent:
            console.print(Text(f"{names}: {why}", style="dim"), highlight=False)
    console.print()
    for cell in grid.cells:
        if cell.reason and cell.status != "missing":
            console.print(Text(f"✗ {cell.id}: {sentence(cell.reason)}", style="yellow"), highlight=False)
    for sign, tone, words in states(grid):
        console.print(Text(f"{sign} {words}", style=TONES[tone]), highlight=False)
    trained = sum(cell.trained for cell in grid.cells)
    console.print(Text(f"{count(trained, 'model')} trained · {duration(grid.seconds)}", style="dim"), highlight=False)
    console.print()
    for line in said(grid):
        console.print(Text(line, style="bold"), highlight=False)


def text(grid: GridLog) -> str:
    """Return what the terminal shows as plain text."""
    out = io.StringIO()
    print_grid(grid, Console(file=out, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
