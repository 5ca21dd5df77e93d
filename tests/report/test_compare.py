from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.example_log import example, failed, minimal, untrustworthy
from vestige.log import AttackResult, AuditLog, Figure, PerTarget, Population, Risk, TprPoint
from vestige.metrics import auc, roc, tprs_at
from vestige.record_table import RecordRow
from vestige.report.compare import changes, difference, render_comparison
from vestige.seeds import rng


def moved(log: AuditLog, name: str, **fields: Figure) -> AuditLog:
    attacks = [r.model_copy(update=fields) if r.name == name else r for r in log.attacks]
    return log.model_copy(update={"attacks": attacks})


def test_nothing_changed():
    text = render_comparison(example(), example())
    assert "Nothing changed beyond noise in 31 figures." in text
    assert {change.outcome for change in changes(example(), example())} == {"within noise"}


def test_a_real_change_is_told_from_noise_both_ways():
    worse = moved(example(), "loss", auc=Figure(value=0.9, low=0.89, high=0.91))
    assert "1 figure leaks more, of 31 compared" in render_comparison(example(), worse)
    assert "1 figure leaks less, of 31 compared" in render_comparison(worse, example())
    noise = moved(example(), "loss", auc=Figure(value=0.765, low=0.745, high=0.785))
    assert "Nothing changed beyond noise" in render_comparison(example(), noise)


def test_difference_is_the_normal_one_for_symmetric_intervals():
    gap = difference(Figure(value=0.5, low=0.47, high=0.53), Figure(value=0.6, low=0.56, high=0.64))
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.1, 0.05, 0.15))


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_difference_turns_round_when_the_audits_do(numbers):
    a, b, c = sorted(numbers[:3])
    x, y, z = sorted(numbers[3:])
    old, new = Figure(low=a, value=b, high=c), Figure(low=x, value=y, high=z)
    forth, back = difference(old, new), difference(new, old)
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert forth.low <= forth.value <= forth.high


def test_withheld_and_bare_figures_are_not_compared():
    assert difference(Figure(reason="few"), Figure(value=0.1)).value is None
    bare = difference(Figure(value=0.2), Figure(value=0.1))
    assert bare.value == pytest.approx(-0.1)
    assert bare.low is None


def test_doubts_about_the_comparison_are_said():
    text = render_comparison(example(), untrustworthy())
    assert "an error-level check says not to believe the new audit" in text
    text = render_comparison(example(), failed())
    assert "the records differ" in text
    assert "the new audit is partial" in text
    assert "numbers of shadow models differ (64, then 0)" in text


def test_nothing_in_common():
    text = render_comparison(minimal(), example())
    assert "nothing can be compared" in text
    assert "|" not in text


def test_rows_line_up_as_plain_text():
    rows = [line for line in render_comparison(example(), example()).splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1


def table(member: np.ndarray, **scores: np.ndarray) -> list[RecordRow]:
    nothing = {"posterior": None, "posterior_low": None, "posterior_high": None, "exposure": None}
    return [
        RecordRow(
            id=f"r{k}",
            label="x",
            group="",
            member=bool(member[k]),
            scores={name: float(s[k]) for name, s in scores.items()},
            **nothing,
        )
        for k in range(len(member))
    ]


def audited(name: str, member: np.ndarray, fprs: tuple[float, ...] = (0.05,), **scores: np.ndarray) -> AuditLog:
    """A log of these scores, with its table of records."""
    results = []
    for attack, s in scores.items():
        curve = roc(s[member], s[~member])
        points = [TprPoint(fpr=f, **vars_of(e)) for f, e in zip(fprs, tprs_at(curve, fprs), strict=True)]
        results.append(AttackResult(name=attack, auc=Figure(**vars_of(auc(curve))), tpr=points))
    population = Population(members=int(member.sum()), nonmembers=int((~member).sum()), classes=2, fingerprint="same")
    log = AuditLog(name=name, population=population, target=example().target, attacks=results)
    return log.with_records(table(member, **scores))


def vars_of(estimate):
    return {part: getattr(estimate, part) for part in ("value", "low", "high", "method", "reason")}


def drawn(seed: int = 0, n: int = 2000) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    draw = rng(seed, "compare")
    member, common = np.arange(n) % 2 == 0, draw.normal(size=n)
    close = {f"close{k}": common + 0.2 * draw.normal(size=n) + shift * member for k, shift in enumerate((1.0, 1.08))}
    return member, close


def test_the_same_records_make_the_difference_surer():
    member, scores = drawn()
    old = audited("old", member, loss=scores["close0"])
    new = audited("new", member, loss=scores["close1"])
    paired, alone = changes(old, new), changes(old.with_records([]), new)
    for one, other in zip(paired, alone, strict=True):
        assert one.difference.value == other.difference.value
        assert one.difference.high - one.difference.low < 0.6 * (other.difference.high - other.difference.low)
        assert "correlation 0." in one.difference.method
    assert paired[0].outcome == "worse"
    assert alone[0].outcome == "within noise"
    assert "All are paired by record" in render_comparison(old, new)
    assert "paired" not in render_comparison(old.with_records([]), new)


def test_the_order_of_the_records_does_not_matter():
    member, scores = drawn(1)
    old, new = audited("old", member, loss=scores["close0"]), audited("new", member, loss=scores["close1"])
    turned = new.with_records(new.record_table[::-1])
    assert changes(old, turned)[0].difference == changes(old, new)[0].difference


def test_a_table_of_another_audit_is_not_used():
    member, scores = drawn(2)
    old, new = audited("old", member, loss=scores["close0"]), audited("new", member, loss=scores["close1"])
    strange = [
        new.with_records(table(member, loss=rng(9, "x").normal(size=len(member)))),
        new.with_records(new.record_table[:-1]),
        new.with_records(table(member, other=scores["close1"])),
        new.model_copy(update={"population": new.population.model_copy(update={"fingerprint": "other"})}).with_records(
            new.record_table
        ),
    ]
    for one in strange:
        assert changes(old, one)[0].difference.method == "mover"


def test_means_over_several_targets_are_not_paired_by_the_first():
    member, scores = drawn(3)
    old, new = audited("old", member, loss=scores["close0"]), audited("new", member, loss=scores["close1"])
    several = [PerTarget(target=k, auc=0.7, tpr=[0.1]) for k in range(2)]
    many = new.model_copy(update={"attacks": [new.attacks[0].model_copy(update={"targets": several})]})
    assert changes(old, many.with_records(new.record_table))[0].difference.method == "mover"


def test_one_audit_given_twice_compares_its_attacks():
    member, scores = drawn(4)
    assert not [note for note in render_comparison(example(), example()).splitlines() if "its attacks" in note]
    weak = rng(5, "weak").normal(size=len(member)) + 0.2 * member
    log = audited("both", member, loss=scores["close0"], lira=scores["close1"], gap=weak)
    found = changes(log, log)
    assert [c.attack for c in found] == ["lira", "lira", "gap", "gap"]
    assert [c.outcome for c in found if c.metric == "AUC"] == ["worse", "better"]
    text = render_comparison(log, log)
    assert "its attacks against loss" in text
    assert "stronger" in text
    assert "weaker" in text
    assert text.count("Strongest") == text.count("Before:") == 0


def test_the_yardstick_is_the_attack_chosen_on_shadow_models():
    member, scores = drawn(6)
    log = audited("both", member, loss=scores["close0"], lira=scores["close1"])
    chosen = log.model_copy(update={"risk": Risk(attack="lira")}).with_records(log.record_table)
    assert {c.attack for c in changes(chosen, chosen)} == {"loss"}
