"""What can be wrong with the places that a command reads from and writes to: logs, stores, folders, disks, pipes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import COMMAND, assert_one_sentence, vestige, vestige_process

CONFIG = """
name = "small"
[data]
source = "people.npz"
[recipe]
kind = "sklearn"
model = "sklearn.naive_bayes:GaussianNB"
[shadow]
count = 8
[audit]
attacks = ["loss", "lira"]
fpr = [0.1]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished audit in it."""
    folder = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    np.savez(folder / "people.npz", x=rng.normal(size=(500, 3)), y=rng.integers(0, 2, 500))
    (folder / "audit.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VESTIGE_STORE", "store")
        assert vestige("audit", "audit.toml", "--out", "out", "--quiet").code == 0
    return folder


@pytest.fixture
def desk(finished, tmp_path, monkeypatch):
    """A copy of it to spoil, without what the store holds."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))
    return tmp_path


def audit(*words):
    return vestige("audit", "audit.toml", "--out", "new", *words)


RULES = {
    "rubbish": (["--fail-on", "lots of leakage"], ["expected", "'lots of leakage'", "examples"]),
    "no limit": (["--fail-on", "auc"], ["expected", "'auc'", "examples"]),
    "a limit above one": (["--fail-on", "auc>60"], ["between 0 and 1", "got 60"]),
    "a rate of zero": (["--fail-on", "tpr@0>0.1"], ["false-positive rate", "between 0 and 1"]),
    "no rate": (["--fail-on", "tpr>0.1"], ["tpr", "needs a false-positive rate"]),
    "a rate not measured": (["--fail-on", "tpr@0.2>0.1"], ["rate of 0.2", "measures 0.1", "add 0.2 to [audit] fpr"]),
    "an attack not run": (["--fail-on", "lirra.auc>0.6"], ["attack 'lirra'", "runs loss, lira", "did you mean 'lira'"]),
    "baseline missing": (["--baseline", "nowhere.json"], ["audit log", "nowhere.json", "No such file"]),
    "baseline no log": (["--baseline", "audit.toml"], ["'audit.toml'", "vestige.audit log", "audit.json"]),
    "baseline binary": (["--baseline", "people.npz"], ["people.npz", "audit log"]),
    "baseline a folder": (["--baseline", "."], ["audit.json", "No such file"]),
}


@pytest.mark.parametrize(("words", "says"), RULES.values(), ids=RULES)
def test_gates_are_refused_before_anything_is_trained(desk, words, says):
    assert_one_sentence(audit(*words), 2, *says)
    assert not (desk / "store" / "signals").exists()


def test_a_figure_that_cannot_be_resolved_does_not_pass(desk):
    ended = audit("--set", "audit.fpr=[0.001]", "--fail-on", "tpr@0.001>0.5")
    assert_one_sentence(ended, 1, "the gate failed", "could not be resolved", "1,000 non-members", "does not pass")
    assert "withheld" in ended.out


def test_an_attack_that_is_skipped_ends_in_exit_code_3(desk):
    ended = audit("--set", "shadow.count=0", "--fail-on", "auc>0.1")
    assert_one_sentence(ended, 3, "incomplete", "lira was skipped", "at least", "shadow models, and there are 0")
    log = json.loads((desk / "new" / "audit.json").read_text())
    assert log["status"] == "partial"
    assert [one["status"] for one in log["attacks"]] == ["ok", "skipped"]


READING = {
    "show nothing": (["show", "nowhere"], ["audit log", "'nowhere'", "no such file"]),
    "show a config": (["show", "audit.toml"], ["'audit.toml'", "vestige.audit log", "audit.json"]),
    "show binary": (["show", "people.npz"], ["people.npz", "audit log"]),
    "show an empty folder": (["show", "store"], ["audit log", "store"]),
    "report a cut log": (["report", "cut.json"], ["'cut.json'", "vestige.audit log", "audit.json"]),
    "report a list": (["report", "list.json"], ["'list.json'", "vestige.audit log"]),
    "report an uneven log": (["report", "uneven.json"], ["'uneven.json'", "attacks.0.roc", "differ in length"]),
    "report a later version": (["report", "later.json"], ["'later.json'", "version 1"]),
    "report onto a folder": (["report", "out", "-o", "."], ["could not write", "'.'"]),
    "report below a file": (["report", "out", "-o", "audit.toml/r.html"], ["could not write", "audit.toml/r.html"]),
    "report where nothing can be": (["report", "out", "-o", "/proc/none/r.html"], ["could not write", "/proc/none"]),
    "compare with nothing": (["compare", "out", "nowhere"], ["audit log", "nowhere"]),
    "compare with a config": (["compare", "audit.toml", "out"], ["'audit.toml'", "vestige.audit log"]),
    "gate without rules": (["gate", "out"], ["no rule to judge by", "--fail-on"]),
    "gate on rubbish": (["gate", "out", "--fail-on", "everything"], ["expected", "'everything'", "examples"]),
    "gate a cut log": (["gate", "cut.json", "--fail-on", "auc>0.5"], ["'cut.json'", "vestige.audit log"]),
    "init over a file": (["init", "audit.toml"], ["'audit.toml' already exists", "nothing was overwritten"]),
    "init an unknown example": (["init", "new.toml", "--example", "digit"], ["no example called 'digit'", "digits"]),
    "init into no folder": (["init", "there/new.toml"], ["could not write", "there/new.toml"]),
    "plan of nothing": (["plan", "nowhere.toml"], ["no config file", "nowhere.toml"]),
    "plan that cannot be": (["plan", "audit.toml", "--set", "data.source=nobody.csv"], ["no file nobody.csv"]),
}


@pytest.mark.parametrize(("words", "says"), READING.values(), ids=READING)
def test_reading_and_writing(desk, words, says):
    text = (desk / "out" / "audit.json").read_text()
    (desk / "cut.json").write_text(text[: len(text) // 2])
    uneven = json.loads(text)
    uneven["attacks"][0]["roc"]["fpr"].pop()
    (desk / "uneven.json").write_text(json.dumps(uneven))
    (desk / "list.json").write_text("[1, 2]")
    (desk / "later.json").write_text(text.replace('"version": 1', '"version": 2', 1))
    (desk / "store").mkdir()
    assert_one_sentence(vestige(*words), 2, *says)
    assert (desk / "audit.toml").read_text() == CONFIG


USAGE = {
    "no verb": ([], "Usage: vestige"),
    "an unknown verb": (["adit"], "No such command 'adit'"),
    "no source": (["audit"], "Missing argument"),
    "an unknown option": (["audit", "audit.toml", "--fast"], "No such option: --fast"),
    "an unknown format": (["report", "out", "--format", "pdf"], "'pdf'"),
    "an unknown listing": (["list", "atacks"], "'atacks' is not one of"),
    "an unknown schema": (["schema", "store"], "'store' is not one of"),
    "an option without its value": (["audit", "audit.toml", "--out"], "'--out' requires an argument"),
}


@pytest.mark.parametrize(("words", "says"), USAGE.values(), ids=USAGE)
def test_usage(desk, words, says):
    ended = vestige(*words)
    assert ended.code == 2
    assert says in (ended.err if words else ended.out)
    assert "Traceback" not in ended.err


PLACES = {
    "store is a file": (["--set", "store=audit.toml"], ["audit.toml", "a file is where a folder should be"]),
    "store below a file": (["--set", "store=audit.toml/store"], ["audit.toml", "a file is where a folder"]),
    "store where nothing can be": (["--set", "store=/proc/none"], ["could not use '/proc/none'", "another folder"]),
    "out is a file": (["--out", "audit.toml"], ["could not write into 'audit.toml'", "--out"]),
    "out where nothing can be": (["--out", "/proc/none"], ["could not write into '/proc/none'", "--out"]),
}


@pytest.mark.parametrize(("words", "says"), PLACES.values(), ids=PLACES)
def test_places(desk, words, says):
    assert_one_sentence(audit(*words), 2, *says)


def test_a_store_that_holds_something_else_in_the_way(desk):
    (desk / "store").mkdir()
    (desk / "store" / "signals").write_text("not a folder")
    assert_one_sentence(audit(), 2, "store/signals", "a file is where a folder should be")


def limited(size):
    def before():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return before


def test_a_full_disk_stops_the_audit_and_leaves_no_halves(desk, finished):
    signals = max(path.stat().st_size for path in (finished / "store" / "signals").iterdir())
    ended = vestige_process("audit", "audit.toml", "--out", "new", preexec_fn=limited(signals - 1000))
    assert_one_sentence(ended, 2, "could not write", "store/signals", "the disk or quota is full", "free some space")
    kept = sorted(path.name for path in (desk / "store").rglob("*") if path.is_file())
    assert not [name for name in kept if name.endswith(".tmp")]
    again = audit()
    assert (again.code, again.complaints) == (0, [])


def test_a_disk_that_fills_up_under_the_log_keeps_the_models(desk, finished):
    signals = max(path.stat().st_size for path in (finished / "store" / "signals").iterdir())
    ended = vestige_process("audit", "audit.toml", "--out", "new", preexec_fn=limited(signals + 1000))
    assert_one_sentence(ended, 2, "could not write 'new/audit.json'", "the disk or quota is full")
    assert not (desk / "new" / "audit.json").exists()
    again = audit()
    assert again.code == 0
    assert json.loads((desk / "new" / "audit.json").read_text())["shadow"]["trained"] == 0


@pytest.mark.parametrize("words", [["list", "attacks"], ["schema", "log"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_failure(words):
    writer = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer.stdout.close()
    assert (writer.wait(60), writer.stderr.read()) == (0, b"")
    writer.stderr.close()


def test_a_reader_that_goes_away_does_not_hide_the_gate(desk):
    command = [*COMMAND, "audit", "audit.toml", "--out", "new", "--json", "--fail-on", "auc>0.01"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.close()
    said = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(60) == 1
    assert "vestige: The gate failed" in said
    assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "schema", "log"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("vestige: Could not")
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_report_on_stdout_is_the_same_whatever_the_terminal_can_show(desk):
    ended = vestige_process("report", "out", "--format", "md", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == vestige("report", "out", "--format", "md").out
    assert not ended.out.isascii()


def test_the_module_is_the_command(desk):
    ended = vestige_process("audit", "nowhere.toml")
    assert_one_sentence(ended, 2, "no config file", "nowhere.toml", "bundled examples")
    assert sys.executable == COMMAND[0]
