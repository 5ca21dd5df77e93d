"""The heat map of a grid: what each field says and how warm it is, row by row and facet by facet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vestige.grid.correlation import STRONGEST
from vestige.grid.expand import KNOWLEDGE, SUBJECT, THREAT
from vestige.grid.results import GridCell, GridLog, GridResult
from vestige.log import Figure
from vestige.report.wording import count, listed, number, percent, rate, sentence, share

WARMEST = 48
"""Per cent of the warm colour in the hottest field: more would leave the figure on it too little contrast."""

SEES = {"label": "Sees labels only", "score": "Sees scores", "white_box": "Sees the weights"}
COLUMN: dict[str, Callable[[str], str]] = {
    "data": lambda value: {"same": "same data", "disjoint": "disjoint data"}.get(value, f"data of {value}"),
    "architecture": lambda value: "same architecture" if value == "same" else f"as {value}",
    "hyperparameters": lambda value: "known hyperparameters" if value == "known" else value,
    "labels": lambda value: f"{value} labels",
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the heat map: what it says, how warm AUC and TPR are (per cent of colour), and its hint."""

    auc: str = ""
    tpr: str = ""
    auc_heat: int = 0
    tpr_heat: int = 0
    hint: str = ""
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An attack in one facet."""

    attack: str
    fields: list[Field]
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Facet:
    """One threat model against one target: its rows, and which attacks could not always run, with the reason."""

    title: str
    rows: list[Row]
    absent: list[tuple[str, str]]


def varied(grid: GridLog, axes: Sequence[str]) -> list[str]:
    """Return those axes of which the grid has more than one value."""
    return [axis for axis in axes if len(grid.axes.get(axis, [])) > 1]


def key_of(cell: GridCell, axes: Sequence[str]) -> tuple[str, ...]:
    """Return a cell's place on some axes."""
    return tuple(cell.place.get(axis, "") for axis in axes)


def stance(cell: GridCell) -> tuple[str, ...]:
    """Return a cell's target and threat model."""
    return key_of(cell, (*SUBJECT, *THREAT))


def columns(grid: GridLog) -> list[tuple[str, ...]]:
    """Return the states of knowledge, in the grid's order."""
    return list(dict.fromkeys(key_of(cell, KNOWLEDGE) for cell in grid.cells))


def column_words(grid: GridLog, key: Sequence[str]) -> list[str]:
    """Return a state of knowledge in a few words, only what sets it apart from the others."""
    kept = varied(grid, KNOWLEDGE)
    words = [COLUMN[axis](value) for axis, value in zip(KNOWLEDGE, key, strict=True) if axis in kept]
    return words or ["as configured"]


def facet_words(grid: GridLog, key: Sequence[str]) -> str:
    """Return a threat model and target in a few words."""
    place, several = dict(zip((*SUBJECT, *THREAT), key, strict=True)), varied(grid, (*SUBJECT, *THREAT))
    words = [SEES.get(place["access"], place["access"])]
    if "queries" in several:
        limit = place["queries"]
        words.append("as many queries as it likes" if limit == "any number" else f"{limit} queries per record")
    words += [place[axis] for axis in SUBJECT if axis in several]
    return " · ".join(words)


def shown_rate(grid: GridLog) -> float | None:
    """Return the first false-positive rate that any audit resolved, or the first asked for."""
    for fpr in grid.fpr:
        if any(rate_of(result, fpr).value is not None for cell in grid.cells for result in cell.results):
            return fpr
    return grid.fpr[0] if grid.fpr else None


def rate_of(result: GridResult, fpr: float | None) -> Figure:
    """Return the true-positive rate at a false-positive rate; an empty figure if it was not asked for."""
    return next((point for point in result.tpr if fpr is not None and math.isclose(point.fpr, fpr)), Figure())


def area_heat(value: float) -> int:
    """Return the colour of an AUC: none at 0.5 and below, the warmest at 1, by square roots, as most lie below 0.7."""
    return round(WARMEST * math.sqrt(min(max(2 * value - 1, 0.0), 1.0)))


def rate_heat(value: float, fpr: float) -> int:
    """Return the colour of a rate: none where it is chance, the warmest at 1, evenly in the logarithm."""
    if value <= fpr:
        return 0
    return round(WARMEST * math.log(value / fpr) / math.log(1 / fpr))


def field_of(result: GridResult | None, cell: GridCell | None, fpr: float | None) -> Field:
    """Return one field; a blank one says why in its hint."""
    if result is None or result.status != "ok" or result.auc.value is None:
        if cell is None or cell.status == "missing":
            return Field(word="missing", hint="This audit was not reached.")
        if cell.status in ("refused", "failed") and result is None:
            return Field(word="no audit" if cell.status == "refused" else "failed", hint=sentence(cell.reason))
        if result is None:
            return Field(word="–", hint="Not among this adversary's attacks.")
        word = "failed" if result.status == "failed" else "cannot"
        return Field(word=word, hint=sentence(result.reason or result.auc.reason))
    point = rate_of(result, fpr)
    hint = [f"AUC {number(result.auc)}"]
    if fpr is not None:
        told = f"{share(point)} %" if point.value is not None else f"withheld: {point.reason}"
        hint.append(f"TPR at {rate(fpr)} FPR {told}")
    hint.append(count(result.shadow_models, "shadow model"))
    return Field(
        auc=f"{result.auc.value:.3f}",
        tpr="–" if point.value is None else percent(point.value, table=True),
        auc_heat=area_heat(result.auc.value),
        tpr_heat=0 if point.value is None or fpr is None else rate_heat(point.value, fpr),
        hint=f"{result.attack}: {'; '.join(hint)}",
    )


def strongest(cell: GridCell | None) -> GridResult | None:
    """Return the result with the largest AUC of a cell."""
    ran = [] if cell is None else [r for r in cell.results if r.status == "ok" and r.auc.value is not None]
    return max(ran, key=lambda r: r.auc.value or 0.0, default=None)


def facets(grid: GridLog) -> list[Facet]:
    """Return the heat map, facet by facet; in each the attacks that find most come first."""
    made, fpr = [], shown_rate(grid)
    for key in dict.fromkeys(stance(cell) for cell in grid.cells):
        cells = {key_of(cell, KNOWLEDGE): cell for cell in grid.cells if stance(cell) == key}
        places = [cells.get(column) for column in columns(grid)]
        names = list(dict.fromkeys(r.attack for cell in cells.values() for r in cell.results))
        lines = {name: [_named(cell, name) for cell in places] for name in names}
        ran = {name: [r for r in line if r is not None and r.status == "ok"] for name, line in lines.items()}
        order = sorted((n for n in names if ran[n]), key=lambda n: -max(r.auc.value or 0.0 for r in ran[n]))
        rows = [
            Row(attack=name, fields=[field_of(r, cell, fpr) for r, cell in zip(lines[name], places, strict=True)])
            for name in order
        ]
        if len(order) != 1:
            top = [field_of(strongest(cell), cell, fpr) for cell in places]
            rows.insert(0, Row(attack=STRONGEST.removeprefix("the "), fields=top, best=True))
        made.append(Facet(title=facet_words(grid, key), rows=rows, absent=_absent(lines)))
    return made


def _named(cell: GridCell | None, name: str) -> GridResult | None:
    return None if cell is None else next((r for r in cell.results if r.attack == name), None)


def _absent(lines: dict[str, list[GridResult | None]]) -> list[tuple[str, str]]:
    """Return (attacks, reason) for attacks that did not run with some knowledge, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, line in lines.items():
        for why in dict.fromkeys(r.reason for r in line if r is not None and r.status != "ok"):
            reasons.setdefault(why or "no reason was recorded", []).append(name)
    return [(listed(names), sentence(why)) for why, names in reasons.items()]


def said(grid: GridLog) -> list[str]:
    """Return in a few sentences what the grid found: the strongest adversary of each facet, and the least they know."""
    lines = []
    for key in dict.fromkeys(stance(cell) for cell in grid.cells):
        cells = [cell for cell in grid.cells if stance(cell) == key]
        found = [(cell, best) for cell in cells if (best := strongest(cell)) is not None]
        if not found:
            lines.append(f"{facet_words(grid, key)}: no attack ran.")
            continue
        cell, best = max(found, key=lambda pair: pair[1].auc.value or 0.0)
        told = f"{best.attack} finds most, AUC {number(best.auc)}"
        if len(columns(grid)) > 1:
            told += f", with {listed(column_words(grid, key_of(cell, KNOWLEDGE)))}"
            alike = [pair for pair in found if pair[0].target == cell.target]
            least, weak = min(alike, key=lambda pair: pair[1].auc.value or 0.0)
            if least is not cell:
                words = listed(column_words(grid, key_of(least, KNOWLEDGE)))
                told += f"; of the same target it finds least with {words}: AUC {number(weak.auc)} ({weak.attack})"
        lines.append(f"{facet_words(grid, key)}: {told}.")
    return lines
