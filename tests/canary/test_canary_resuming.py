"""A canary audit that is killed or interrupted keeps what it finished, and the same command ends in the same bytes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import numpy as np
import pytest

from command_line import group_of, start, vestige

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

# A training function that takes its time when told to, so that there is a middle to be stopped in.
OWN = """
import os
import time
from sklearn.naive_bayes import GaussianNB

def slow(x, y, seed):
    time.sleep(float(os.environ.get("OWN_SECONDS", "0")))
    return GaussianNB().fit(x, y)
"""
CONFIG = """
name = "small"
[data]
source = "people.npz"
[recipe]
kind = "own:slow"
[canary]
kind = "mislabelled"
count = 30
runs = 8
references = 4
[claim]
epsilon = 20.0
[shadow]
workers = 2
"""
MODELS = 8 + 4
FIGURES = ("epsilon", "claim", "canary", "attacks", "findings", "population")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a config, its data, a training function, and what an audit that nobody disturbed leaves."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    np.savez(folder / "people.npz", x=rng.normal(size=(200, 3)), y=rng.integers(0, 2, 200))
    (folder / "own.py").write_text(OWN)
    (folder / "canary.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("VESTIGE_STORE", str(folder / "store"))
        assert canary(folder).code == 0
    return folder


@pytest.fixture
def here(desk, monkeypatch, tmp_path):
    """Work in that folder with a store of its own."""
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(str(desk))
    monkeypatch.setenv("PYTHONPATH", str(desk))
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))
    return tmp_path


def canary(folder, *words):
    return vestige("canary", "canary.toml", "--out", folder / "out", *words)


def log_of(folder):
    return json.loads((folder / "out" / "audit.json").read_text())


def bytes_of(folder):
    """Everything that must be the same: what was found, and every signal of every model."""
    log = log_of(folder)
    signals = {path.name: path.read_bytes() for path in (folder / "store" / "signals").glob("*.safetensors")}
    return {name: log[name] for name in FIGURES}, signals


def finished(folder):
    return len(list((folder / "store").glob("signals/*.safetensors")))


def begin(folder, *words, models):
    """Start a canary audit and return once that many models are in the store."""
    process = start("canary", "canary.toml", "--out", folder / "out", *words, env={**os.environ, "OWN_SECONDS": "0.15"})
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if finished(folder) >= models:
            return process
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"never saw {models} models: {process.communicate()}")


def test_a_kill_and_an_interrupt_resume_to_the_same_bytes(here, desk):
    process = begin(here, models=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    killed = finished(here)
    assert 2 <= killed < MODELS
    assert not (here / "out" / "audit.json").exists()

    process = begin(here, "--set", "shadow.executor=processes", models=5)
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
    assert log_of(here)["epsilon"] == []
    kept = finished(here)
    assert max(5, killed) <= kept < MODELS

    # Where the models are trained must not matter either.
    assert canary(here).code == 0
    assert log_of(here)["status"] == "complete"
    assert (log_of(here)["shadow"]["reused"], log_of(here)["shadow"]["trained"]) == (kept, MODELS - kept)
    assert bytes_of(here) == bytes_of(desk)


def test_an_interrupt_leaves_the_results_of_an_earlier_run(here, desk):
    names = ("audit.json", "report.html")
    (here / "out").mkdir()
    for name in names:
        (here / "out" / name).write_bytes((desk / "out" / name).read_bytes())
    process = begin(here, models=1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "are those of an earlier run" in said.splitlines()[-1]
    for name in names:
        assert (here / "out" / name).read_bytes() == (desk / "out" / name).read_bytes()
