from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from vestige.provenance import command, cpu_model, git_revision, provenance

SHA = "0123456789abcdef0123456789abcdef01234567"


def test_what_is_said():
    found = provenance()
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == numpy.__version__
    assert found["vestige"][0].isdigit()
    assert 1 <= found["cpu"]["usable"] <= found["cpu"]["count"] == os.cpu_count()
    assert found["cpu"]["model"]
    assert found["command"]


def test_no_host_and_no_home(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path.home() / "bin" / "vestige"), "audit", str(Path.home() / "a.toml")])
    text = json.dumps(provenance())
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"
    assert "~/a.toml" in text


def test_it_imports_none_of_the_packages_it_names():
    code = (
        "import sys; from vestige.provenance import provenance; provenance();"
        "print(*[m for m in ('numpy', 'torch', 'sklearn', 'xgboost', 'lightgbm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/local/bin/vestige", "audit", "digits"], "vestige audit digits"),
        ([r"C:\Users\ann\bin\vestige.exe", "plan"], "vestige.exe plan"),
        (["vestige", "audit", "/home/ann/x.toml", "--out=/Users/ann/out"], "vestige audit '~/x.toml' '--out=~/out'"),
        (["vestige", r"C:\Users\ann\x.toml"], r"vestige '~\x.toml'"),
        (["vestige", "--set", "name=a\nb"], "vestige --set 'name=a b'"),
        (["vestige", "/data/homework/x"], "vestige /data/homework/x"),
        ([], "''"),
    ],
)
def test_command(argv, expected):
    assert command(argv) == expected


def test_the_user_s_name_goes_where_it_is_a_folder(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setenv("HOME", "/srv/people/ann")
    assert command(["v", "/srv/people/ann/x", "/mnt/ann/y", "annual.csv"]) == "v '~/x' '/mnt/~/y' annual.csv"


def test_cpu_model(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some  Processor 9000\n")
    assert cpu_model(info) == "Some Processor 9000"
    info.write_text("processor\t: 0\n")
    assert cpu_model(info) == (platform.machine() or "unknown")
    assert cpu_model(tmp_path / "absent") == (platform.machine() or "unknown")


# --- the revision, against git itself


def git(folder, *args):
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(
        ["git", *identity, *args], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    try:
        git(tmp_path, "init", "-q", "-b", "some/branch")
    except FileNotFoundError:
        pytest.skip("needs git")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    return tmp_path


def test_a_branch_and_a_folder_in_it(repository):
    expected = git(repository, "rev-parse", "HEAD")
    (repository / "sub" / "folder").mkdir(parents=True)
    assert git_revision(repository) == expected
    assert git_revision(repository / "sub" / "folder") == expected


def test_packed_and_detached(repository):
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "some" / "branch").exists()
    assert git_revision(repository) == first
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    assert git_revision(repository) == git(repository, "rev-parse", "HEAD") != first
    git(repository, "checkout", "-q", "--detach", first)
    assert git_revision(repository) == first


def test_a_linked_work_tree(repository, tmp_path_factory):
    tree = tmp_path_factory.mktemp("trees") / "linked"
    git(repository, "worktree", "add", "-q", "-b", "other", str(tree))
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    assert git_revision(tree) == git(tree, "rev-parse", "HEAD") != git_revision(repository)


@pytest.mark.parametrize("head", ["", "nonsense", "ref: refs/heads/none", SHA[:10], "ref: ../../etc/passwd"])
def test_no_revision(tmp_path, head):
    (tmp_path / ".git").mkdir()
    assert git_revision(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert git_revision(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_text(SHA)
    assert git_revision(tmp_path) == SHA
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert git_revision(tmp_path) is None
