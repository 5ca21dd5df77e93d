"""The coverage benchmark's figures as Markdown tables: shares of excesses, medians, seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mechanisms import ASKED, DELTA, EXTRA, MECHANISMS, PURE
from simulation import error_of, holds, share_of

Row = dict[str, Any]
NONE = "–"
JOINT = "/"  # without blanks, so that a cell stays on one line

SHARES = (
    "Percent of audits, with {sizes} canaries. A method that is wrong exactly as often as permitted shows 5 % give or "
    "take the standard error (SE, in points); one that stays at or below 5 % + 2 SE holds. *refused*: the method "
    "declined, as it must where the mechanism was not declared Gaussian."
)
AWKWARD = (
    f"A quarter of the audits each, at δ = {DELTA:g}; mechanisms that give coins away are otherwise randomised "
    "response with ε = 1, and δ is the probability that they do. Where all coins are given away at once, methods that "
    "take scores for independent promise nothing, and are left out."
)
MEDIANS = (
    "{sizes} canaries; the first row is the truth. Ceiling: the most that the method could have shown had the leak "
    "been total. Milliseconds: processor time of a call, the median of the slowest column. TF Privacy knows δ = 0 "
    "only, at which a Gaussian mechanism has no finite ε."
)
CURVES = "Percent of audits in which `claim_on_curve` broke the true claim (permitted: 5 %) and one of half its size."


def page(found: dict[str, Any]) -> str:
    """Return all tables."""
    rows: list[Row] = sorted(found["rows"], key=_ours_first)
    asked = [mechanism.name for mechanism in ASKED]
    sizes = found["records"]
    shown = " / ".join(f"{size:,}" for size in sizes)
    pure, extra = ([mechanism.name for mechanism in some] for some in (PURE, EXTRA))
    sections = [
        (f"How often a bound exceeded the truth, δ = {DELTA:g}", SHARES, shares(rows, asked, DELTA, sizes)),
        ("The same for pure mechanisms, δ = 0", "", shares(rows, pure, 0.0, sizes, tools=("Vestige",))),
        ("Awkward cases", AWKWARD, shares(rows, extra, None, sizes, tools=("Vestige",))),
        (f"What they show: median bounds, δ = {DELTA:g}", MEDIANS, medians(rows, asked, sizes)),
        ("Claims tested along their whole curve", CURVES, curves(rows, asked, sizes)),
    ]
    parts = [verdict(rows)]
    for title, words, figures in sections:
        if figures:
            parts += [f"### {title}", *([words.format(sizes=shown)] if words else []), figures]
    if found.get("noise"):
        parts += ["### AUC and TPR of noise", noise(sorted(found["noise"], key=_ours_first))]
    notes = [*crashes(rows), *found.get("skipped", [])]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def verdict(rows: Sequence[Row]) -> str:
    """Return the result for Vestige's bounds in a sentence or two."""
    own = [row for row in rows if row["tool"] == "Vestige"]
    judged = [row for row in own if row["kind"] != "estimate" and share_of(row) is not None]
    failed = [row for row in judged if not holds(row)]
    crashed = sum(row["crashes"] for row in own)
    again = sum("first" in row for row in judged)
    audits = sum(row["audits"] for row in judged)
    held = f"{len(judged) - len(failed)} of {len(judged)} cells of Vestige's bounds hold ({audits:,} bounds computed)"
    more = f"; {again} that lay beyond at first were judged on five times as many fresh audits (†)" if again else ""
    sentences = [f"**{held}{more}; {crashed} crashes.**"]
    sentences += [
        f"Fails: {row['method']}, {MECHANISMS[row['mechanism']].words}, {row['canaries']:,} canaries, "
        f"δ = {row['delta']:g}: {share_of(row):.2%} of {row['audits']:,}."
        for row in failed
    ]
    return "\n".join(sentences)


def shares(
    rows: Sequence[Row], names: Sequence[str], delta: float | None, sizes: Sequence[int], tools: Sequence[str] = ()
) -> str:
    """Return the percentages in which each method's bound exceeded the truth, one row a method."""
    chosen = [row for row in rows if row["mechanism"] in names and row["kind"] != "test"]
    if delta is None:
        chosen = [row for row in chosen if row["delta"] == MECHANISMS[row["mechanism"]].at]
    else:
        chosen = [row for row in chosen if row["delta"] == delta or row["tool"].startswith("TF")]

    def cell(row: Row) -> str:
        share = share_of(row)
        if not row["due"]:
            return "refused" if not row["audits"] else "**answered**"
        if share is None:
            return NONE
        return _percent(share, row)

    lines = []
    for (tool, method), group in _methods(chosen, tools):
        judged = [row for row in group if share_of(row) is not None]
        if not judged:
            continue
        counts = sorted({row["audits"] for row in judged if "first" not in row} or {row["audits"] for row in judged})
        fewest = min(judged, key=lambda row: row["audits"] if "first" not in row else 10**9)
        if group[0]["kind"] == "estimate":
            result = "estimate"
        else:
            result = "holds" if all(map(holds, judged)) and not sum(row["crashes"] for row in group) else "**fails**"
        lines.append([_title(tool, method), result, *(_joined(group, name, sizes, cell) for name in names)])
        lines[-1] += [f"{100 * error_of(fewest):.2f}", _range(counts)]
    head = ["method", "verdict", *(MECHANISMS[name].words for name in names), "SE", "audits"]
    return table(head, lines) if lines else ""


def medians(rows: Sequence[Row], names: Sequence[str], sizes: Sequence[int]) -> str:
    """Return each method's median bound, its ceiling and its time."""
    chosen = [row for row in rows if row["mechanism"] in names and row["kind"] != "test"]
    chosen = [row for row in chosen if row["delta"] == DELTA or row["tool"].startswith("TF")]
    if not chosen:
        return ""
    names = [name for name in names if name != names[0]]
    truths = {row["mechanism"]: row["truth"] for row in chosen if row["tool"] == "Vestige"}
    lines = [["**truth**", *(f"{truths[name]:.2f}" if name in truths else NONE for name in names), "", ""]]
    for (tool, method), group in _methods(chosen):
        line = [_title(tool, method)]
        line += [_joined(group, name, sizes, lambda row: _number(row["median"], ".2f")) for name in names]
        line.append(_joined(group, names[-1], sizes, lambda row: _number(row.get("ceiling"), ".2f")))
        line.append(JOINT.join(_number(_slowest(group, size)) for size in sizes))
        lines.append(line)
    return table(["method", *(MECHANISMS[name].words for name in names), "ceiling", "ms a call"], lines)


def curves(rows: Sequence[Row], names: Sequence[str], sizes: Sequence[int]) -> str:
    """Return how often `claim_on_curve` broke a true claim and a claim of half the size."""
    chosen = [row for row in rows if row["kind"] == "test" and row["mechanism"] in names and row["delta"] == DELTA]
    if not chosen:
        return ""

    def true(row: Row) -> str:
        return _percent(share_of(row) or 0.0, row)

    def half(row: Row) -> str:
        return NONE if row["mechanism"] == ASKED[0].name else f"{100 * row['median']:.0f}"

    lines = [
        [what, *(_joined(chosen, name, sizes, cell) for name in names)]
        for what, cell in (("true claim broken", true), ("half-sized claim broken", half))
    ]
    return table(["", *(MECHANISMS[name].words for name in names)], lines)


def noise(found: Sequence[Row]) -> str:
    """Return mean AUC and TPR at 1 % of scores that know nothing, for each tool."""
    lines = [
        [
            row["tool"],
            f"{row['repeats']:,}",
            f"{row['auc']:.4f} ± {row['auc_error']:.4f}",
            f"{row['tpr']:.5f} ± {row['tpr_error']:.5f}",
        ]
        for row in found
    ]
    size = found[0]["size"]
    return table(["tool", "repeats", f"mean AUC, {size} per side", "mean TPR at 1 % FPR"], lines)


def crashes(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each method that crashed."""
    answer = []
    for (tool, method), group in _methods(rows):
        count = sum(row["crashes"] for row in group)
        if count:
            first = next(row["first_crash"] for row in group if row["crashes"])
            answer.append(f"{tool} {method} crashed in {count:,} audits: {first}")
    return answer


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return one Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _methods(rows: Sequence[Row], tools: Sequence[str] = ()) -> list[tuple[tuple[str, str], list[Row]]]:
    """Return rows by tool and method, in the order in which they come."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if not tools or row["tool"] in tools:
            groups.setdefault((row["tool"], row["method"]), []).append(row)
    return list(groups.items())


def _ours_first(row: Row) -> tuple[bool, str]:
    return row["tool"] != "Vestige", row["tool"].lower()


def _joined(group: Sequence[Row], name: str, sizes: Sequence[int], cell: Callable[[Row], str]) -> str:
    """Return a mechanism's cells by number of canaries, said once when all are alike."""
    by_size = {row["canaries"]: row for row in group if row["mechanism"] == name}
    cells = [cell(by_size[size]) if size in by_size else NONE for size in sizes]
    return cells[0] if len(set(cells)) == 1 and not cells[0][:1].isdigit() else JOINT.join(cells)


def _percent(share: float, row: Row) -> str:
    """Return a share in percent, bold when it is too large, with a mark when fresh audits decided it."""
    text = f"{100 * share:.0f}" if share in (0, 1) or share >= 0.0995 else f"{100 * share:.1f}"
    text += "†" if "first" in row else ""
    return text if holds(row) else f"**{text}**"


def _slowest(group: Sequence[Row], size: int) -> float | None:
    """Return the milliseconds of a call in the slowest cell of this many canaries."""
    return max((1e3 * row["seconds"] for row in group if row["canaries"] == size and row["seconds"]), default=None)


def _title(tool: str, method: str) -> str:
    name, _, design = method.partition(", ")
    if tool != "Vestige":
        return f"{tool}: {method}"
    return f"`{name}`, {design}" if design else f"**`{name}`**"


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,}–{counts[-1]:,}"


def _number(value: float | None, form: str = "") -> str:
    if value is None:
        return NONE
    if form and value < 100:
        return format(value, form)
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
