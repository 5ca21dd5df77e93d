from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from report.example_log import example, failed, interrupted, minimal, untrustworthy
from vestige.log import AttackResult, TprPoint
from vestige.report.terminal import print_summary, render
from vestige.report.verdict import verdict

LOGS = [example, minimal, failed, interrupted, untrustworthy]


def shown(log, width: int, **options) -> str:
    out = io.StringIO()
    print_summary(log, Console(file=out, width=width, legacy_windows=False, **options))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("make", LOGS)
def test_every_line_fits(make, width):
    text = shown(make(), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


@pytest.mark.parametrize("make", LOGS)
def test_the_verdict_comes_last(make):
    log = make()
    text = " ".join(shown(log, 80).split())
    assert text.endswith(verdict(log).sentence)


def test_eighty_columns_keep_what_matters_and_say_what_is_gone():
    text = shown(example(), 80)
    assert "0.863 [0.847, 0.880]" in text
    assert "30.0 [28.0, 32.0]" in text
    assert "15.1 [13.6, 16.7]" in text
    assert "Too narrow to show: queries, time, balanced accuracy and in practice." in text
    assert "The TPR at 0.01 % FPR is withheld" in text
    wide = shown(example(), 200)
    assert "Too narrow" not in wide
    assert "77.9 [76.6, 79.2]" in wide
    assert "1.2 → 31.2" in wide


def test_numbers_keep_their_percent_sign():
    for width in range(60, 100):
        assert not any(line.lstrip().startswith("%") for line in shown(example(), width).splitlines())


def test_colour_only_on_a_terminal():
    assert "\x1b[" in shown(example(), 80, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[" not in render(example())


def test_checks_gate_and_cost_are_there():
    text = " ".join(render(example()).split())
    assert "! warning near_duplicates: 38 records" in text
    assert "✗ gate failed tpr@0.01 (rmia)" in text
    assert "✓ gate passed auc (gap)" in text
    assert "64 shadow models · 48 models trained, 16 from the store · 27 s · 12,000 queries · 812 MB memory" in text


def test_attacks_that_did_not_run_are_named_with_their_reason():
    text = render(failed())
    assert "✗ lira failed: A record has no OUT model." in text
    assert "✗ nasr skipped: Needs white_box access." in text


def test_a_partly_withheld_column_refers_to_its_reason():
    loss = example().attack("loss")
    gone = AttackResult(name="coarse", tpr=[TprPoint(fpr=p.fpr, reason="only 2 distinct scores") for p in loss.tpr])
    text = render(example().model_copy(update={"attacks": [loss, gone]}))
    assert "withheld (1)" in text
    assert "(1) Only 2 distinct scores." in text


def test_an_ascii_terminal_gets_ascii():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict", newline="\n")
    print_summary(example(), Console(file=out, width=90, legacy_windows=False))
    out.flush()
    text = out.buffer.getvalue().decode("ascii")
    assert "28-32 %" in text


def test_a_name_with_brackets_is_not_markup():
    log = example().model_copy(update={"name": "[bold red]x[/bold red]"})
    assert "[bold red]x[/bold red]" in shown(log, 80)
