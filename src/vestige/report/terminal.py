"""The summary in a terminal: a table that fits its width, the checks, the gate, the cost, and the verdict last."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vestige.log import AttackResult, AuditLog, Figure
from vestige.report import agreement, claims
from vestige.report.verdict import asked_at, headline_fpr, practical, ranked, resolved_rates, verdict, withheld
from vestige.report.wording import count, duration, listed, model_kind, number, percent, rate, sentence, share, size

COLOURS = {
    "error": "red",
    "warning": "yellow",
    "info": "dim",
    "high": "red",
    "moderate": "yellow",
    "low": "green",
    "unknown": "cyan",
}
SIGNS = {"error": "✗", "warning": "!", "info": "·"}
WIDTH = 100
NARROWEST = 16
"""To this many characters the attacks' names are cut before a column is given up."""

PLAIN = str.maketrans(
    {"–": "-", "→": ">", "…": ".", "‘": "'", "’": "'", "✓": "+", "✗": "x", "·": "-", "ε": "epsilon", "±": "+/-"}
    | {"≥": ">=", "≈": "about ", "δ": "delta", "μ": "mu"}
)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column, and how gladly it is given up when the terminal is narrow: the largest ``spare`` first."""

    head: str
    name: str
    cells: Sequence[str]
    spare: int

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (*self.head.split("\n"), *self.cells))


class _Notes:
    """Numbers the reasons why figures were withheld."""

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}

    def __call__(self, text: str, figure: Figure) -> str:
        if figure.value is not None or not figure.reason:
            return text
        return f"withheld ({self.reasons.setdefault(figure.reason, len(self.reasons) + 1)})"


def _practice(result: AttackResult, fpr: float | None) -> str:
    landed = practical(result, fpr)
    if landed is None or landed.fpr.value is None or landed.tpr.value is None:
        return "–"
    ends = (percent(value, table=True).removesuffix(" %") for value in (landed.fpr.value, landed.tpr.value))
    return " → ".join(ends)


def _columns(log: AuditLog, rows: Sequence[AttackResult], noted: _Notes) -> list[_Column]:
    main = headline_fpr(log)
    columns = [
        _Column(head="attack", name="attack", cells=[r.title for r in rows], spare=0),
        _Column(head="AUC", name="AUC", cells=[noted(number(r.auc), r.auc) for r in rows], spare=1),
    ]
    for fpr in resolved_rates(log):
        points = [asked_at(r, fpr) or Figure() for r in rows]
        cells = [noted(share(point), point) for point in points]
        head, name = f"TPR %\nat {rate(fpr)} FPR", f"TPR at {rate(fpr)} FPR"
        columns.append(_Column(head=head, name=name, cells=cells, spare=0 if fpr == main else 2))
    balanced = [noted(share(r.balanced_accuracy), r.balanced_accuracy) for r in rows]
    columns.append(_Column(head="balanced\naccuracy %", name="balanced accuracy", cells=balanced, spare=5))
    aim = main if main is not None else next((r.operational.fpr_asked for r in rows if r.operational), None)
    if aim is not None:
        head = f"in practice %\nFPR {rate(aim)} → TPR"
        columns.append(_Column(head=head, name="in practice", cells=[_practice(r, aim) for r in rows], spare=4))
    columns.append(_Column(head="queries", name="queries", cells=[str(r.queries_per_record) for r in rows], spare=7))
    columns.append(_Column(head="time", name="time", cells=[duration(r.seconds) for r in rows], spare=6))
    return columns


def _room(columns: Sequence[_Column], width: int) -> int:
    """Return how many characters are left for the first column."""
    return width - sum(column.width + 2 for column in columns[1:])


def _fitting(columns: list[_Column], width: int) -> tuple[list[_Column], list[str]]:
    """Give columns up until the rest fits; return those kept and the names of those given up."""
    kept, lost = list(columns), []
    while len(kept) > 2 and _room(kept, width) < min(kept[0].width, NARROWEST):
        least = max(kept[1:], key=lambda column: column.spare)
        kept.remove(least)
        lost.append(least.name)
    return kept, lost


@dataclass(kw_only=True)
class _Page:
    """A console that wraps lines itself: a number never parts from its percent sign."""

    console: Console

    def plain(self, text: str) -> str:
        return text.translate(PLAIN) if self.console.options.ascii_only else text

    def show(self, text: str = "", style: str = "", hang: int = 0) -> None:
        kept = self.plain(text).replace(" %", "\N{NO-BREAK SPACE}%")
        lines = textwrap.wrap(kept, self.console.width, subsequent_indent=" " * hang, break_on_hyphens=False) or [""]
        for line in lines:
            self.console.print(Text(line.replace("\N{NO-BREAK SPACE}", " "), style=style), no_wrap=True, crop=False)

    def table(self, columns: Sequence[_Column]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        first = max(1, min(columns[0].width, _room(columns, self.console.width)))
        for k, column in enumerate(columns):
            table.add_column(
                Text(self.plain(column.head)),
                justify="right" if k else "left",
                no_wrap=True,
                overflow="ellipsis" if not self.console.options.ascii_only else "crop",
                vertical="bottom",
                max_width=None if k else first,
            )
        for k, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
            table.add_row(*(Text(self.plain(cell)) for cell in cells), style="bold" if k == 0 else "")
        self.console.print(table, highlight=False)


def _bounds(log: AuditLog) -> list[str]:
    """Return a line for each bound on ε, and what the audit could have shown."""
    rows = claims.rows(log)
    if not rows:
        return []
    claimed = "" if log.claim is None else f", claimed ε = {log.claim.epsilon:g} at δ = {log.claim.delta:g}"
    lines = [f"Lower bounds on ε{claimed}"]
    width = max(len(row.method) for row in rows)
    for row in rows:
        reach = "" if row.ceiling == "–" else f" (a total leak: {row.ceiling})"
        level = "" if row.confidence == "–" else f", alone {row.confidence} sure"
        shown = f"≥ {row.value}" if row.value[0].isdigit() else row.value
        lines.append(f"{row.method.ljust(width)}  ε {shown}{reach}{level}, {row.outcome}")
    return [*lines, *(f" {line}" for line in claims.power(log)), ""]


def _remarks(log: AuditLog) -> list[tuple[str, str, str]]:
    """Return (sign, words, colour) for attacks that did not run, checks and gate rules."""
    lines = [
        ("✗", f"{r.title} {r.status}: {sentence(r.reason or 'no reason was recorded')}", "red")
        for r in log.attacks
        if r.status != "ok"
    ]
    for check in log.checks:
        name = check.id if check.level == "info" else f"{check.level} {check.id}"
        words = f"{name}: {sentence(check.message)} {sentence(check.cure)}".rstrip()
        lines.append((SIGNS[check.level], words, COLOURS[check.level]))
    for finding in log.findings:
        words = f"gate {'passed' if finding.passed else 'failed'} {finding.id} ({finding.attack}): "
        style = ("✓", "green") if finding.passed else ("✗", "red")
        lines.append((style[0], words + sentence(finding.message), style[1]))
    return lines


def _cost(log: AuditLog) -> str:
    shadow = log.shadow
    parts = [count(shadow.count, "shadow model") if shadow.count else "no shadow models"]
    if shadow.trained or shadow.reused:
        parts.append(f"{count(shadow.trained, 'model')} trained, {shadow.reused:,} from the store")
    parts += [duration(log.cost.seconds.total), count(log.cost.target_queries, "query", "queries")]
    if log.cost.peak_rss_mb:
        parts.append(f"{size(log.cost.peak_rss_mb)} memory")
    return " · ".join(parts)


def print_summary(log: AuditLog, console: Console) -> None:
    """Print the summary to a console; columns are dropped until it fits, and colour only helps."""
    page, people = _Page(console=console), log.population
    facts = [
        f"{count(people.members, 'member')} and {count(people.nonmembers, 'non-member')}",
        f"{model_kind(log.target.kind)} model",
        f"{log.target.access.replace('_', '-')} access",
    ]
    page.show(log.name, "bold")
    page.show(" · ".join([people.source, *facts] if people.source else facts), "dim")
    page.show()
    rows, noted = ranked(log), _Notes()
    if rows:
        kept, lost = _fitting(_columns(log, rows, noted), console.width)
        page.table(kept)
        for reason, k in noted.reasons.items():
            page.show(f"({k}) {sentence(reason)}", "dim", hang=4)
        for fpr, reason in withheld(log):
            page.show(f"The TPR at {rate(fpr)} FPR is withheld: {sentence(reason)}", "dim", hang=4)
        if lost:
            page.show(f"Too narrow to show: {listed(lost)}.", "dim")
        page.show()
    if alike := agreement.said(log):
        page.show(f"{alike}.", "dim", hang=4)
        page.show()
    for line in _bounds(log):
        page.show(line, "dim" if line.startswith(" ") else "", hang=4)
    for sign, words, colour in _remarks(log):
        page.show(f"{sign} {words}", colour, hang=2)
    page.show(_cost(log), "dim")
    said = verdict(log)
    if said.details and rows:
        page.show(said.details[0], "dim")
    page.show()
    page.show(said.sentence, f"bold {COLOURS[said.level]}")


def render(log: AuditLog) -> str:
    """Return the summary as plain text, 100 columns wide."""
    out = io.StringIO()
    print_summary(log, Console(file=out, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
