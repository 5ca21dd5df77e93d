"""What changed between two audits, and whether it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vestige.log import AttackResult, AuditLog, Figure
from vestige.metrics.estimate import Estimate
from vestige.metrics.paired import Judged, auc_correlation, joined, judged, tpr_correlations, widening
from vestige.metrics.roc import area
from vestige.record_table import RecordRow
from vestige.report.markdown import plain
from vestige.report.verdict import asked_at, rates, verdict
from vestige.report.wording import confidence, count, listed, number, rate, sentence, share

DRAWS = 200


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


def difference(
    old: Figure, new: Figure, tries: int = 1, *, correlation: float | None = None, level: float = 0.95
) -> Figure:
    """Return new minus old with the interval that theirs imply, given the ``correlation`` of their errors (Zou 2007).

    Widened to hold for all of ``tries`` comparisons together (Bonferroni). Without a correlation they are taken as
    independent; audits of the same records are positively dependent, for which that is wider than it needs to be.
    """
    if old.value is None or new.value is None:
        return Figure(reason="one of the two was withheld")
    method = "mover" if correlation is None else f"mover, correlation {correlation:.2f}"
    gap = joined(_estimate(old), _estimate(new), correlation or 0.0, wider=widening(tries, level), method=method)
    return Figure(value=gap.value, low=gap.low, high=gap.high, method=gap.method)


def _estimate(figure: Figure) -> Estimate:
    return Estimate(value=figure.value, low=figure.low, high=figure.high)


def _pairs(old: AuditLog, new: AuditLog) -> list[tuple[AttackResult, AttackResult]]:
    """Return (before, after) of each attack that ran both times; within one audit, one attack and each other."""
    ran = [result for result in new.attacks if result.status == "ok"]
    if same_audit(old, new):
        first = _yardstick(new, ran)
        return [(first, result) for result in ran if result is not first]
    before = {result.title: result for result in old.attacks if result.status == "ok"}
    return [(before[r.title], r) for r in ran if r.title in before]


def same_audit(old: AuditLog, new: AuditLog) -> bool:
    """Whether both are one audit whose records are known: then its attacks are compared with one another."""
    return old == new and bool(new.record_table) and any(result.status == "ok" for result in new.attacks)


def _yardstick(log: AuditLog, ran: Sequence[AttackResult]) -> AttackResult:
    """Return the attack that the others are held against: chosen on shadow models, or the plain loss, or the first."""
    named = [log.risk.attack] if log.risk is not None else []
    return next((r for name in [*named, "loss"] for r in ran if r.title == name), ran[0])


def changes(old: AuditLog, new: AuditLog) -> list[Change]:
    """Return the AUC, and the TPR at each rate that both were asked for, of every attack that both ran.

    Where the tables of records came with the logs and name the same records, the differences are paired: what makes a
    record easy in both audits cancels. Of one audit given twice, its attacks are compared with one another.
    """
    common = [fpr for fpr in rates(new) if any(math.isclose(fpr, other, rel_tol=1e-9) for other in rates(old))]
    pairs = _pairs(old, new)
    found: list[tuple[str, str, Figure, Figure, float | None]] = []
    for (a, b), links in zip(pairs, correlations(old, new, pairs, common), strict=True):
        figures: list[tuple[str, Figure, Figure]] = [("AUC", a.auc, b.auc)]
        figures += [
            (f"TPR at {rate(fpr)} FPR", asked_at(a, fpr) or Figure(), asked_at(b, fpr) or Figure()) for fpr in common
        ]
        found += [
            (b.title, metric, x, y, link)
            for (metric, x, y), link in zip(figures, links, strict=True)
            if x.value is not None or y.value is not None
        ]
    tries, level = max(1, len(found)), confidence(new)
    return [
        Change(
            attack=attack,
            metric=metric,
            old=x,
            new=y,
            difference=difference(x, y, tries, correlation=link, level=level),
        )
        for attack, metric, x, y, link in found
    ]


def correlations(
    old: AuditLog, new: AuditLog, pairs: Sequence[tuple[AttackResult, AttackResult]], fprs: Sequence[float]
) -> list[list[float | None]]:
    """Return, per pair of results, the correlation of the errors of AUC and of each TPR; None where it is unknown."""
    aligned = _aligned(old, new)
    made: list[list[float | None]] = []
    for a, b in pairs:
        one, other = (_judged(table, result) for table, result in zip(aligned, (a, b), strict=True))
        if one is None or other is None:
            made.append([None] * (1 + len(fprs)))
        else:
            made.append([auc_correlation(one, other), *tpr_correlations(one, other, fprs, draws=DRAWS)])
    return made


def _aligned(old: AuditLog, new: AuditLog) -> tuple[list[RecordRow], list[RecordRow]]:
    """Return both tables with the same records in the same order, or nothing when they name different ones."""
    before = {row.id: row for row in old.record_table}
    after = {row.id: row for row in new.record_table}
    if not before or before.keys() != after.keys() or old.population.fingerprint != new.population.fingerprint:
        return [], []
    return list(before.values()), [after[each] for each in before]


def _judged(table: Sequence[RecordRow], result: AttackResult) -> Judged | None:
    """Return an attack's scores with the truth; None when the table is not the one its figures were made from."""
    if not table or result.auc.value is None or len(result.targets) > 1:
        return None
    if any(result.title not in row.scores for row in table):
        return None
    found = judged([row.scores[result.title] for row in table], [row.member for row in table])
    return found if math.isclose(area(found.curve), result.auc.value, abs_tol=1e-6) else None


def _differences(old: AuditLog, new: AuditLog) -> list[str]:
    """Return reasons why the two audits may not be comparable."""
    notes = []
    if old.population.fingerprint != new.population.fingerprint:
        notes.append("the records differ")
    if old.target.access != new.target.access:
        notes.append(f"the access differs ({old.target.access}, then {new.target.access})")
    if old.shadow.count != new.shadow.count:
        notes.append(f"the numbers of shadow models differ ({old.shadow.count}, then {new.shadow.count})")
    for name, log in [("", new)] if same_audit(old, new) else [("old ", old), ("new ", new)]:
        if log.status != "complete":
            notes.append(f"the {name}audit is {log.status}")
        if any(check.level == "error" and check.id != "epsilon-claim" for check in log.checks):
            notes.append(f"an error-level check says not to believe the {name}audit")
    return notes


WORDS = {"worse": "stronger", "better": "weaker"}


def _summary(found: list[Change], within: bool) -> str:
    if not found:
        return "No attack has figures in both audits, so nothing can be compared."
    worse, better = ([c for c in found if c.outcome == word] for word in ("worse", "better"))
    if not worse and not better:
        verb = "differs" if within else "changed"
        return f"Nothing {verb} beyond noise in {count(len(found), 'figure')}."
    ways = ("is higher", "is lower") if within else ("leaks more", "leaks less")
    several = ("are higher", "are lower") if within else ("leak more", "leak less")
    parts = [
        f"{count(len(some), 'figure')} {one if len(some) == 1 else many}"
        for some, one, many in zip((worse, better), ways, several, strict=True)
        if some
    ]
    return f"Beyond noise, {listed(parts)}, of {len(found)} compared."


def _heading(old: AuditLog, new: AuditLog, within: bool) -> str:
    if not within:
        return f"### {plain(old.name)} → {plain(new.name)}"
    first = _yardstick(new, [result for result in new.attacks if result.status == "ok"])
    return f"### {plain(new.name)}: its attacks against {plain(first.title)}"


def _how(found: Sequence[Change], level: float) -> str:
    paired = sum("correlation" in change.difference.method for change in found)
    text = f"Changes are judged on intervals of the difference that hold for all figures together, at {rate(level)}."
    if not paired:
        return text
    which = "All" if paired == len(found) else f"{paired} of {len(found)}"
    return f"{text} {which} are paired by record, for these models as they are; training them again would vary more."


def _row(change: Change, within: bool) -> list[str]:
    write = number if change.metric == "AUC" else share
    gap = change.difference.value
    amount = "–" if gap is None else f"{gap:+.3f}" if change.metric == "AUC" else f"{100 * gap:+.1f}"
    outcome = WORDS.get(change.outcome, change.outcome) if within else change.outcome
    cells = [change.attack, change.metric + ("" if change.metric == "AUC" else ", %")]
    return [*(plain(cell) for cell in [*cells, write(change.old), write(change.new)]), amount, outcome]


def render_comparison(old: AuditLog, new: AuditLog) -> str:
    """Return what changed from one audit to the next as Markdown that also reads as plain text."""
    within, found, notes = same_audit(old, new), changes(old, new), _differences(old, new)
    lines = [_heading(old, new, within), "", f"**{plain(_summary(found, within))}**", ""]
    if notes:
        lines += [plain(sentence(f"take care: {listed(notes)}")), ""]
    rows = [_row(change, within) for change in found]
    if rows:
        sides = ["Against", "Itself", "Difference"] if within else ["Before", "After", "Change"]
        table = [["Attack", "Figure", *sides, "Beyond noise?"], *rows]
        widths = [max(len(row[k]) for row in table) for k in range(6)]
        ruled = [table[0], [":" + "-" * (width - 1) for width in widths], *rows]
        lines += [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in ruled
        ]
        lines += ["", _how(found, confidence(new)), ""]
    if within:
        return "\n".join([*lines, f"{plain(verdict(new).sentence)}", ""])
    lines += [f"Before: {plain(verdict(old).sentence)}", "", f"After: {plain(verdict(new).sentence)}", ""]
    return "\n".join(lines)
