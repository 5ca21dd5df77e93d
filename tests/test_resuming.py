"""An audit that is stopped, killed, repeated, enlarged, damaged or run twice at once ends in the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import warnings

import numpy as np
import pytest

from command_line import group_of, start, vestige
from vestige.store import StoreWarning

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

# A training function that takes its time when told to, so that there is a middle to be stopped in.
OWN = """
import os
import time
from sklearn.naive_bayes import GaussianNB

def slow(x, y, seed):
    time.sleep(float(os.environ.get("OWN_SECONDS", "0")))
    return GaussianNB().fit(x[seed % 3 :], y[seed % 3 :])
"""
MODELS, FILES = 17, 2  # of the audit below: a target and its shadow models, and the files of each
CONFIG = """
name = "small"
[data]
source = "people.npz"
[recipe]
kind = "own:slow"
[shadow]
count = 16
workers = 2
[audit]
attacks = ["loss", "lira", "rmia"]
fpr = [0.1]
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a config, its data and a training function."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    np.savez(folder / "people.npz", x=rng.normal(size=(300, 3)), y=rng.integers(0, 2, 300))
    (folder / "own.py").write_text(OWN)
    (folder / "audit.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def here(desk, monkeypatch, tmp_path):
    """Work in that folder with a store of its own."""
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(str(desk))
    monkeypatch.setenv("PYTHONPATH", str(desk))
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture(scope="module")
def calm(desk, tmp_path_factory):
    """An audit that nobody disturbed: its folder, beside its store."""
    folder = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.syspath_prepend(str(desk))
        patch.setenv("VESTIGE_STORE", str(folder / "store"))
        assert audit(folder).code == 0
    return folder


def audit(folder, *words):
    return vestige("audit", "audit.toml", "--out", folder / "out", *words)


def log_of(folder):
    return json.loads((folder / "out" / "audit.json").read_text())


def bytes_of(folder):
    """Everything that must be the same: the scores, the figures, and every signal of every model."""
    attacks = log_of(folder)["attacks"]
    for attack in attacks:
        del attack["seconds"]
    signals = {path.name: path.read_bytes() for path in (folder / "store" / "signals").glob("*.safetensors")}
    return (folder / "out" / "records.csv").read_bytes(), attacks, signals


def assert_same(folder, calm):
    ours, theirs = bytes_of(folder), bytes_of(calm)
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]


def test_the_same_command_again_trains_nothing_and_gives_the_same_bytes(here, calm):
    shutil.copytree(calm / "store", here / "store")
    ended = audit(here)
    assert (ended.code, ended.complaints) == (0, [])
    assert log_of(calm)["shadow"]["trained"] == MODELS
    assert (log_of(here)["shadow"]["trained"], log_of(here)["shadow"]["reused"]) == (0, MODELS)
    assert_same(here, calm)


def begin(folder, *words, models, seconds="0.15"):
    """Start an audit and return once that many models are in the store."""
    slow = {**os.environ, "OWN_SECONDS": seconds}
    process = start("audit", "audit.toml", "--out", folder / "out", *words, env=slow)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if len(list((folder / "store").glob("signals/*.safetensors"))) >= models * FILES:
            return process
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"never saw {models} models: {process.communicate()}")


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_kill_and_an_interrupt_resume_to_the_same_bytes(here, calm, executor):
    words = ["--set", f"shadow.executor={executor}"]
    process = begin(here, *words, models=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    process = begin(here, *words, models=7)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith(
        "vestige: Interrupted; what was finished is in the store, and the same command goes on"
    )
    assert "Traceback" not in said
    until = time.monotonic() + 10
    while group_of(process) and time.monotonic() < until:
        time.sleep(0.05)
    assert group_of(process) == []
    assert log_of(here)["status"] == "interrupted"
    assert {attack["status"] for attack in log_of(here)["attacks"]} == {"skipped"}
    assert not (here / "out" / "records.csv").exists()

    # Where the models are trained must not matter either.
    assert audit(here).code == 0
    assert 7 <= log_of(here)["shadow"]["reused"] < MODELS
    assert_same(here, calm)


def test_an_interrupt_leaves_the_results_of_an_earlier_run(here, calm):
    shutil.copytree(calm / "out", here / "out")
    process = begin(here, models=1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "are those of an earlier run" in said.splitlines()[-1]
    for name in ("audit.json", "records.csv", "report.html"):
        assert (here / "out" / name).read_bytes() == (calm / "out" / name).read_bytes()


def test_two_runs_at_once_share_a_store_and_agree(here, calm):
    folders = [here / "one", here / "two"]
    slow = {**os.environ, "OWN_SECONDS": "0.05"}
    both = [start("audit", "audit.toml", "--out", folder / "out", env=slow) for folder in folders]
    for process, folder in zip(both, folders, strict=True):
        _, said = process.communicate(timeout=60)
        assert (process.returncode, [line for line in said.splitlines() if "vestige:" in line]) == (0, [])
        (folder / "store").symlink_to(here / "store")
        assert_same(folder, calm)


def cut(content):
    return content[: len(content) // 2]


def altered(content):
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize("damage", [cut, altered, lambda content: b""], ids=["cut", "altered", "empty"])
def test_a_damaged_file_is_noticed_and_made_again(here, calm, damage):
    shutil.copytree(calm / "store", here / "store")
    victim = sorted((here / "store" / "signals").iterdir())[3]
    victim.write_bytes(damage(victim.read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("always", StoreWarning)
        ended = audit(here)
    assert (ended.code, ended.complaints) == (0, [])
    said = [line for line in ended.err.splitlines() if line.startswith("vestige: warning: ")]
    assert len(said) == 1
    assert victim.name in said[0]
    assert "made again" in said[0]
    assert log_of(here)["shadow"]["trained"] == 1
    assert_same(here, calm)


def test_more_shadow_models_train_only_the_missing_ones(here, calm):
    shutil.copytree(calm / "store", here / "store")
    before = {path.name: path.stat().st_mtime_ns for path in (here / "store" / "signals").iterdir()}
    assert audit(here, "--set", "shadow.count=24").code == 0
    assert (log_of(here)["shadow"]["trained"], log_of(here)["shadow"]["reused"]) == (8, MODELS)
    after = {path.name: path.stat().st_mtime_ns for path in (here / "store" / "signals").iterdir()}
    assert len(after) == (MODELS + 8) * FILES
    assert before.items() <= after.items()
    assert audit(here).code == 0
    assert (here / "out" / "records.csv").read_bytes() == (calm / "out" / "records.csv").read_bytes()


def test_another_attack_later_trains_nothing(here, calm):
    shutil.copytree(calm / "store", here / "store")
    assert audit(here, "--set", "audit.attacks=['attack_r', 'calibrated', 'entropy']").code == 0
    assert log_of(here)["shadow"]["trained"] == 0
