"""Run the `vestige` command as a user does, in this process or in one of its own, and look at how it ended."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from vestige.cli import main

COMMAND = [sys.executable, "-m", "vestige"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self):
        """The lines of stderr that speak for the command itself, without warnings and progress."""
        lines = [line for line in self.err.splitlines() if line.startswith("vestige: ")]
        return [line.removeprefix("vestige: ") for line in lines if not line.startswith("vestige: warning: ")]


def vestige(*words):
    """Run the command in this process; whatever it prints is caught, and a traceback is raised as the bug it is."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["vestige", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Ended(ended.value.code, out.getvalue(), err.getvalue())


def vestige_process(*words, timeout=60, **options):
    """Run the command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, encoding="utf-8", timeout=timeout, check=False, **options
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def start(*words, **options):
    """Start the command and return the running process, in a group of its own that Ctrl-C reaches."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def group_of(process):
    """Return the ids of the living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == process.pid and state != "Z":
                    found.append(int(entry.name))
    return found


def assert_one_sentence(ended, code, *words):
    """Check that the command ended as it should: one line that says everything, the exit code, and no traceback."""
    assert "Traceback" not in ended.err, ended.err
    assert ended.code == code, (ended.code, ended.err)
    assert len(ended.complaints) == 1, ended.err
    assert_says(ended.complaints[0], *words)


def assert_says(sentence, *words):
    """Check that a complaint is a whole sentence with these words in it."""
    assert sentence[0].isupper() or sentence[0] in "'[", sentence
    assert sentence[-1] in ".?" or "For example:" in sentence or "pip install" in sentence, sentence
    missing = [word for word in words if word.lower() not in sentence.lower()]
    assert not missing, f"{missing} not in: {sentence}"
