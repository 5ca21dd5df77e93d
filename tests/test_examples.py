"""Every example loads, plans and runs: configs at a small size, scripts as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from command_line import vestige
from vestige.auditing.run import Audit
from vestige.config_files import examples, load_config
from vestige.datasets import DATASETS
from vestige.log import AuditLog

FOLDER = Path(__file__).parents[1] / "examples"
CONFIGS = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*.toml"))}
SMALL = {
    "torch": ["recipe.epochs=4"],
    "sklearn": [],
}


def small(path):
    """Return the overrides that make an example tiny; skip when its data would have to be downloaded."""
    config = load_config(path, environ={})
    if not DATASETS.get(config.data.source).bundled and not os.environ.get("VESTIGE_DATA"):
        pytest.skip(f"needs VESTIGE_DATA for {config.data.source}")
    return ["data.limit=400", "shadow.count=4", "audit.targets=2", "shadow.executor=inline", *SMALL[config.recipe.kind]]


@pytest.mark.parametrize("path", CONFIGS.values(), ids=CONFIGS)
def test_it_loads_and_says_what_it_is(path):
    config = load_config(path, environ={})
    assert config.name.startswith(path.stem) or path.parent.name == config.name
    assert config.data.source in DATASETS
    assert re.match(r"# [A-Z].+[.:]", path.read_text("utf-8"))


def test_the_command_line_knows_them_by_name():
    assert set(examples()) == {path.stem for path in FOLDER.glob("*.toml")}
    assert {"digits", "location30", "retail600", "adult-forest"} <= set(examples())


@pytest.mark.parametrize("path", CONFIGS.values(), ids=CONFIGS)
def test_it_plans_at_a_small_size(path, tmp_path):
    config = load_config(path, overrides=[*small(path), f"store={tmp_path}"], environ={})
    plan = Audit.from_config(config).plan()
    assert plan.models == 5
    assert plan.trainings == 5
    assert plan.records + plan.held_out == 400
    assert plan.seconds > 0


@pytest.mark.parametrize("path", CONFIGS.values(), ids=CONFIGS)
def test_it_runs_at_a_small_size_with_every_attack(path, tmp_path):
    config = load_config(path, overrides=[*small(path), f"store={tmp_path}"], environ={})
    log = Audit.from_config(config).run()
    assert [(result.title, result.reason) for result in log.attacks if result.status != "ok"] == []
    assert log.status == "complete"
    assert log.shadow.trained == 5


def test_the_gate_passes_and_leaves_its_files(tmp_path):
    gate = FOLDER / "ci-gate" / "audit.toml"
    out = tmp_path / "audit"
    ended = vestige(
        "audit", gate, "--out", out, "--set", "shadow.count=6", "--set", f"store={tmp_path / 'store'}", "-q"
    )
    assert ended.code == 0, ended.err
    log = AuditLog.load(out)
    assert len(log.findings) == len(tomllib.loads(gate.read_text("utf-8"))["gate"]) == 2
    assert log.passed
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "records.csv").read_text("utf-8").count("\n") == 569 + 1
    strict = vestige("gate", out, "--fail-on", "auc>0.1")
    assert strict.code == 1


@pytest.mark.parametrize(
    ("script", "report"), [("three_lines.py", "forest.html"), ("own_module.py", "own_module.html")]
)
def test_a_script_runs_as_it_is_and_ends_in_the_verdict(script, report, tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / script],
        cwd=tmp_path,
        env={**os.environ, "VESTIGE_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "An adversary who sees scores recognises" in done.stdout
    assert "<!doctype html>" in (tmp_path / "audits" / report).read_text("utf-8")


def test_the_folder_says_what_is_in_it():
    told = (FOLDER / "README.md").read_text("utf-8")
    for path in [*CONFIGS.values(), *FOLDER.glob("*.py")]:
        name = path.stem if path.suffix == ".toml" else path.name
        assert f"`{name}`" in told or f"`{path.parent.name}/`" in told
