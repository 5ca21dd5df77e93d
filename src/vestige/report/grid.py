"""A grid as one HTML page: a heat map of attacks by knowledge, for every threat model, and the figures beneath it."""

from __future__ import annotations

import json
import math
import re

from markupsafe import Markup, escape

from vestige.grid.expand import KNOWLEDGE, SUBJECT
from vestige.grid.results import GridCell, GridLog
from vestige.report.grid_map import (
    COLUMN,
    area_heat,
    column_words,
    columns,
    facet_words,
    facets,
    key_of,
    rate_heat,
    rate_of,
    said,
    shown_rate,
    stance,
    varied,
)
from vestige.report.html import environment, flat
from vestige.report.wording import count, duration, number, share


def breakable(name: str) -> Markup:
    """Let a long name of an attack break where its parts meet."""
    return Markup(re.sub(r"([_\[=])", r"\1<wbr>", str(escape(name))))


def states(grid: GridLog) -> list[tuple[str, str, str]]:
    """Return in one line each how the grid ended: (sign, tone, words)."""
    ran = [cell for cell in grid.cells if cell.status in ("complete", "partial")]
    whole = grid.status == "complete"
    lines = [("✓" if whole else "✗", "good" if whole else "bad", f"{len(ran)} of {len(grid.cells)} audits ran")]
    if grid.status == "interrupted":
        lines.append(("!", "warn", "Interrupted; the same command goes on"))
    doubted = [cell for cell in grid.cells if cell.doubts]
    if doubted:
        lines.append(("✗", "bad", f"{count(len(doubted), 'audit')} not to be trusted"))
    failed = [cell for cell in grid.cells if cell.failed_rules]
    if failed:
        lines.append(("✗", "bad", f"The gate failed in {count(len(failed), 'audit')}"))
    return lines


def targets(grid: GridLog) -> list[tuple[str, list[str]]]:
    """Return each target once: its name, and of each signal the divergence, its interval and what chance shows."""
    made: dict[str, tuple[str, list[str]]] = {}
    axes = [*varied(grid, SUBJECT), *(axis for axis in ("data",) if axis in varied(grid, ("data",)))]
    for cell in grid.cells:
        if cell.divergence and cell.target not in made:
            names = [COLUMN["data"](cell.place[axis]) if axis == "data" else cell.place[axis] for axis in axes]
            values = [f"{number(one.value)}, chance {one.chance:.3f}" for one in cell.divergence]
            made[cell.target] = (" · ".join(names) or grid.name, values)
    return list(made.values())


def render(grid: GridLog) -> str:
    """Return the grid as an HTML page."""
    fpr = shown_rate(grid)
    signals = list(dict.fromkeys(one.signal for cell in grid.cells for one in cell.divergence))
    pages = environment().overlay()
    pages.filters = {**pages.filters, "breakable": breakable}
    return pages.get_template("grid.html").render(
        grid=grid,
        said=said(grid),
        states=states(grid),
        subtitle=_subtitle(grid),
        columns=[column_words(grid, key) for key in columns(grid)],
        facets=facets(grid),
        fpr=fpr,
        stops=[(value, area_heat(value)) for value in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)],
        rates=[] if fpr is None else [(value, rate_heat(value, fpr)) for value in _stops(fpr)],
        tables=tables(grid),
        refused=[c for c in grid.cells if c.status in ("refused", "failed", "missing")],
        signals=signals,
        targets=targets(grid),
        correlations=grid.correlations,
        trained=sum(cell.trained for cell in grid.cells),
        duration=duration(grid.seconds),
        words_of=lambda cell: _words(grid, cell),
        guesses=_guesses(grid),
        provenance=flat(grid.provenance) if grid.provenance else [],
        config=json.dumps(grid.config, indent=2, ensure_ascii=False, default=str),
        version=str(grid.provenance.get("vestige", "")),
    )


def _subtitle(grid: GridLog) -> str:
    attacked = len({cell.target for cell in grid.cells if cell.target})
    when = grid.created.replace("T", " ").removesuffix("+00:00")
    return f"{count(len(grid.cells), 'audit')} · {count(attacked, 'target')} · {when} UTC"


def _words(grid: GridLog, cell: GridCell) -> str:
    return ", ".join([facet_words(grid, stance(cell)), *column_words(grid, key_of(cell, KNOWLEDGE))])


def _stops(fpr: float) -> list[float]:
    decades = [10.0**k for k in range(math.ceil(math.log10(fpr) - 1e-9), 1)]
    return [fpr, *(value for value in decades if value > fpr * 1.001)]


def _guesses(grid: GridLog) -> list[tuple[str, str]]:
    """Return what was guessed, once for each state of knowledge."""
    made = {
        cell.place["hyperparameters"]: ", ".join(f"{key} = {value}" for key, value in flat(cell.guessed))
        for cell in grid.cells
        if cell.guessed
    }
    return list(made.items())


def tables(grid: GridLog) -> list[tuple[str, list[float], list[list[str]], list[str]]]:
    """Return for each facet its title, the rates, its rows of text and where each row's audit is."""
    made = []
    rates = [f for f in grid.fpr if any(rate_of(r, f).value is not None for c in grid.cells for r in c.results)]
    for key in dict.fromkeys(stance(cell) for cell in grid.cells):
        rows, links = [], []
        for cell in grid.cells:
            if stance(cell) != key:
                continue
            words = ", ".join(column_words(grid, key_of(cell, KNOWLEDGE)))
            for r in cell.results:
                points = [rate_of(r, fpr) for fpr in rates]
                if r.status == "ok":
                    texts = [f"{share(point)} %" if point.value is not None else "withheld" for point in points]
                    rows.append([words, r.attack, number(r.auc), *texts, str(r.shadow_models)])
                    links.append(cell.log.replace("audit.json", "report.html"))
        made.append((facet_words(grid, key), rates, rows, links))
    return made
