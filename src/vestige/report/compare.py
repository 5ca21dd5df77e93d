"""What changed between two audits, and whether it is more than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from vestige.log import AttackResult, AuditLog, Figure
from vestige.report.markdown import plain
from vestige.report.verdict import asked_at, rates, verdict
from vestige.report.wording import count, listed, number, rate, sentence, share

TAIL = 0.025


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one attack, before and after; ``difference`` is after minus before, with its interval."""

    attack: str
    metric: str
    old: Figure
    new: Figure
    difference: Figure

    @property
    def outcome(self) -> str:
        """Say ``worse``, ``better`` or ``within noise``; larger figures mean more leakage."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "cannot be compared"
        return "worse" if low > 0 else "better" if high < 0 else "within noise"


def difference(old: Figure, new: Figure, tries: int = 1) -> Figure:
    """Return new minus old with an interval recovered from theirs, as for independent audits (Zou & Donner 2008).

    Widened to hold for all of ``tries`` comparisons together (Bonferroni). Audits of the same records are positively
    dependent, for which this interval is wider than it needs to be.
    """
    if old.value is None or new.value is None:
        return Figure(reason="one of the two was withheld")
    gap = new.value - old.value
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return Figure(value=gap)
    normal = NormalDist()
    wider = normal.inv_cdf(1 - TAIL / tries) / normal.inv_cdf(1 - TAIL)
    below = wider * math.hypot(new.value - new.low, old.high - old.value)
    above = wider * math.hypot(new.high - new.value, old.value - old.low)
    return Figure(value=gap, low=gap - below, high=gap + above, method="mover")


def _pairs(old: AuditLog, new: AuditLog) -> list[tuple[AttackResult, AttackResult]]:
    before = {result.title: result for result in old.attacks if result.status == "ok"}
    return [(before[r.title], r) for r in new.attacks if r.status == "ok" and r.title in before]


def changes(old: AuditLog, new: AuditLog) -> list[Change]:
    """Return the AUC, and the TPR at each rate that both were asked for, of every attack that both ran."""
    judged: list[tuple[str, str, Figure, Figure]] = []
    common = [fpr for fpr in rates(new) if any(math.isclose(fpr, other, rel_tol=1e-9) for other in rates(old))]
    for a, b in _pairs(old, new):
        figures: list[tuple[str, Figure, Figure]] = [("AUC", a.auc, b.auc)]
        figures += [
            (f"TPR at {rate(fpr)} FPR", asked_at(a, fpr) or Figure(), asked_at(b, fpr) or Figure()) for fpr in common
        ]
        judged += [(b.title, m, x, y) for m, x, y in figures if x.value is not None or y.value is not None]
    tries = max(1, len(judged))
    return [
        Change(attack=attack, metric=metric, old=x, new=y, difference=difference(x, y, tries))
        for attack, metric, x, y in judged
    ]


def _differences(old: AuditLog, new: AuditLog) -> list[str]:
    """Return reasons why the two audits may not be comparable."""
    notes = []
    if old.population.fingerprint != new.population.fingerprint:
        notes.append("the records differ")
    if old.target.access != new.target.access:
        notes.append(f"the access differs ({old.target.access}, then {new.target.access})")
    if old.shadow.count != new.shadow.count:
        notes.append(f"the numbers of shadow models differ ({old.shadow.count}, then {new.shadow.count})")
    for name, log in (("old", old), ("new", new)):
        if log.status != "complete":
            notes.append(f"the {name} audit is {log.status}")
        if any(check.level == "error" for check in log.checks):
            notes.append(f"an error-level check says not to believe the {name} audit")
    return notes


def _summary(found: list[Change]) -> str:
    if not found:
        return "No attack has figures in both audits, so nothing can be compared."
    worse, better = ([c for c in found if c.outcome == word] for word in ("worse", "better"))
    if not worse and not better:
        return f"Nothing changed beyond noise in {count(len(found), 'figure')}."
    parts = [
        f"{count(len(some), 'figure')} leak{'s' if len(some) == 1 else ''} {word}"
        for some, word in ((worse, "more"), (better, "less"))
        if some
    ]
    return f"Beyond noise, {listed(parts)}, of {len(found)} compared."


def render_comparison(old: AuditLog, new: AuditLog) -> str:
    """Return what changed from one audit to the next as Markdown that also reads as plain text."""
    found, notes = changes(old, new), _differences(old, new)
    lines = [f"### {plain(old.name)} → {plain(new.name)}", "", f"**{plain(_summary(found))}**", ""]
    if notes:
        lines += [plain(sentence(f"take care: {listed(notes)}")), ""]
    rows = []
    for change in found:
        write = number if change.metric == "AUC" else share
        cells = [
            change.attack,
            change.metric + ("" if change.metric == "AUC" else ", %"),
            write(change.old),
            write(change.new),
        ]
        gap = change.difference.value
        amount = "–" if gap is None else f"{gap:+.3f}" if change.metric == "AUC" else f"{100 * gap:+.1f}"
        rows.append([*(plain(cell) for cell in cells), amount, change.outcome])
    if rows:
        table = [["Attack", "Figure", "Before", "After", "Change", "Beyond noise?"], *rows]
        widths = [max(len(row[k]) for row in table) for k in range(6)]
        ruled = [table[0], [":" + "-" * (width - 1) for width in widths], *rows]
        lines += [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in ruled
        ]
        lines += [
            "",
            ("Changes are judged on intervals of the difference that hold for all figures together, at 95 %."),
            "",
        ]
    lines += [f"Before: {plain(verdict(old).sentence)}", "", f"After: {plain(verdict(new).sentence)}", ""]
    return "\n".join(lines)
