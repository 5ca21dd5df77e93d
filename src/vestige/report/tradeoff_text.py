"""A trade-off as text: for the terminal, for Markdown, and as a table for spreadsheets."""

from __future__ import annotations

import io
from csv import DictWriter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vestige.log_parts import Figure
from vestige.report.markdown import plain
from vestige.report.tradeoff_words import (
    beaten_by,
    claim_of,
    measured,
    name_of,
    numbers,
    points_lost,
    recommendations,
    states,
    times,
)
from vestige.report.wording import count, duration, percent, rate, sentence, span
from vestige.tradeoff.results import TradeoffLog, TradeoffPoint

WIDTH = 110
TONES = {"good": "green", "warn": "yellow", "bad": "red"}


def table(log: TradeoffLog) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the column names and one row per candidate; figures are shares, what is not known None."""
    rows: list[dict[str, Any]] = []
    for point in log.points:
        row: dict[str, Any] = {"candidate": point.id, "method": point.method, "name": name_of(point)}
        row |= {"status": point.status, "reason": point.reason}
        figures = {
            "accuracy": point.utility.accuracy,
            "balanced_accuracy": point.utility.balanced,
            "accuracy_lost": point.accuracy_lost,
            "leakage": point.leakage,
            "most_exposed": point.exposed,
            "canaries": point.canary,
        }
        for name, figure in figures.items():
            row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        row |= {"fpr": log.fpr, "attack": point.attack, "most_exposed_attack": point.exposed_attack}
        row |= {"worst_class_accuracy": point.utility.worst_class, "log_loss": point.utility.log_loss}
        row |= {"training_seconds": point.seconds, "cost": point.cost, "guarantee": point.guarantee}
        claim = point.claim
        row |= {"epsilon": None if claim is None else claim.epsilon, "delta": None if claim is None else claim.delta}
        row |= {"epsilon_tuned": None if claim is None else claim.tuned}
        row |= {"epsilon_measured": measured(point)}
        row |= {"on_front": point.on_front, "dominated_by": " ".join(point.dominated_by)}
        rows.append(row)
    return list(rows[0]) if rows else [], rows


def csv(log: TradeoffLog) -> str:
    """Return one row per candidate as comma-separated values; what is not known is empty."""
    names, rows = table(log)
    out = io.StringIO()
    writer = DictWriter(out, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _cells(log: TradeoffLog, point: TradeoffPoint, *, brief: bool) -> list[str]:
    def share(figure: Figure) -> str:
        if figure.value is None:
            return "–"
        within = "" if brief or not span(figure) else f" ({span(figure, table=True)})"
        return f"{percent(figure.value, table=True)}{within}"

    return [
        f"{numbers(log)[point.id]}{'*' if point.on_front else ''}",
        name_of(point),
        share(point.utility.accuracy),
        points_lost(Figure(value=point.accuracy_lost.value) if brief else point.accuracy_lost),
        share(point.leakage),
        share(point.exposed),
        share(point.canary),
        times(point.cost),
        *([_promise(point)] if brief else [point.guarantee or "none", claim_of(point)]),
        beaten_by(point, numbers(log)),
    ]


def _promise(point: TradeoffPoint) -> str:
    """Write the class of a guarantee, and ε where one is promised: ``G1 ε 3``."""
    promised = point.claim is not None and point.guarantee in ("G1", "G2")
    return f"{point.guarantee} ε {claim_of(point)}" if promised else point.guarantee or "none"


def _heads(log: TradeoffLog, *, brief: bool) -> list[str]:
    leak = "Leakage" if log.fpr is None else f"TPR at {rate(log.fpr)}"
    tail = ["Most exposed", "Canaries", "Cost", *(["Class"] if brief else ["Class", "ε"]), "Beaten by"]
    return ["No.", "Candidate", "Accuracy", "Points lost", leak, *tail]


def markdown(log: TradeoffLog) -> str:
    """Return the trade-off as Markdown: the recommendations, and one row per candidate."""
    lines = [f"### Utility against leakage: {plain(log.name)}", ""]
    for one in recommendations(log):
        lines += [f"**{plain(one.question)}.** {plain(one.answer)}", ""]
        lines += [f"- {plain(line)}" for line in (*one.costs, *one.unknown)] + [""]
    lines += [f"| {' | '.join(_heads(log, brief=False))} |", "|--:|:--|" + "--:|" * 9]
    placed = [point for point in log.points if point.placed]
    lines += [f"| {' | '.join(plain(text) for text in _cells(log, point, brief=False))} |" for point in placed]
    lines += ["", "* on the front. Intervals allow for the number of attacks.".replace("* ", "\\* ", 1), ""]
    lines += [f"- {plain(name_of(p))}: {plain(sentence(why))}" for p in log.points if (why := _why(p))]
    ending = f"{count(len(log.points), 'candidate')} · {duration(log.seconds)} · {plain(log.created)}"
    return "\n".join([*lines, "", f"<sub>{ending}</sub>"]) + "\n"


def _why(point: TradeoffPoint) -> str:
    return "" if point.placed else point.reason or point.leakage.reason or point.utility.accuracy.reason


def print_tradeoff(log: TradeoffLog, console: Console) -> None:
    """Print the candidates as a table, what did not run, and what to use."""
    console.print(Text(log.name, style="bold"), highlight=False)
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    beaten = any(point.dominated_by for point in log.points)
    heads = _heads(log, brief=True) if beaten else _heads(log, brief=True)[:-1]
    for k, head in enumerate(heads):
        drawn.add_column(
            Text(head.replace(" ", "\n", 1)),
            justify="left" if k == 1 else "right",
            overflow="fold",
            min_width=12 if k == 1 else len(max(head.split(), key=len)),
        )
    for point in log.points:
        if point.placed:
            style = "bold" if point.on_front else "dim" if point.dominated_by else ""
            drawn.add_row(*(Text(text) for text in _cells(log, point, brief=True)[: len(heads)]), style=style)
    console.print(drawn)
    console.print(Text("* on the front; intervals are in the page and the CSV", style="dim"), highlight=False)
    console.print()
    for point in log.points:
        if (why := _why(point)) and point.status != "missing":
            console.print(Text(f"✗ {name_of(point)}: {sentence(why)}", style="yellow"), highlight=False)
    for sign, tone, words in states(log):
        console.print(Text(f"{sign} {words}", style=TONES[tone]), highlight=False)
    console.print(Text(duration(log.seconds), style="dim"), highlight=False)
    for one in recommendations(log):
        console.print()
        console.print(Text(f"{one.question}?", style="dim"), highlight=False)
        console.print(Text(one.answer, style="bold"), highlight=False)
        for line in (*one.costs, *one.unknown):
            console.print(Text(f"  {line}"), highlight=False)


def text(log: TradeoffLog) -> str:
    """Return what the terminal shows as plain text."""
    out = io.StringIO()
    print_tradeoff(log, Console(file=out, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
