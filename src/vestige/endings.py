"""How a command ends: an exit code and, where something went wrong, one line on stderr that says what."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vestige.errors import ExitCode, VestigeError

if TYPE_CHECKING:
    from vestige.log import AuditLog

INTERRUPTED = "Interrupted; what was finished is in the store, and the same command goes on from there."


def say(text: str) -> None:
    """Write one line to stderr, whatever line breaks a library put into its complaint."""
    sys.stderr.write(f"vestige: {' '.join(text.split())}\n")


def exit_code_of(verb: Callable[[], Any]) -> int:
    """Run a verb and return its exit code: expected failures are said in one sentence, bugs stay tracebacks."""
    code = int(ExitCode.OK)
    try:
        with warnings.catch_warnings(), unread():
            warnings.showwarning = _show_warning
            verb()
    except typer.Exit as ended:
        code = ended.exit_code
    except VestigeError as error:
        say(str(error))
        code = int(error.exit_code)
    except KeyboardInterrupt:
        say(INTERRUPTED)
        code = int(ExitCode.INTERRUPTED)
    except OSError as error:
        what = f" '{os.fsdecode(error.filename)}'" if isinstance(error.filename, str | bytes) else ""
        reason = f"Could not read or write{what}: {error.strerror or error}."
        say(f"{reason} Check the path, its permissions and the free space; what was finished is in the store.")
        code = int(ExitCode.USAGE)
    except MemoryError:
        say("There was not enough memory. Audit fewer records or use fewer workers; what was finished is in the store.")
        code = int(ExitCode.INCOMPLETE)
    return _flushed(code)


@contextmanager
def unread() -> Iterator[None]:
    """Write to stdout; that nobody reads it any more, as with ``| head``, is no failure."""
    try:
        yield
    except BrokenPipeError:
        _hush()
    except SystemExit as ended:
        # Rich leaves this way when the reader has gone.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _hush()


def complaint(log: AuditLog) -> str:
    """Return why a log's exit code is not 0, in one sentence, or an empty string."""
    if log.status == "interrupted":
        return INTERRUPTED
    if log.status != "complete":
        words = {"failed": "failed", "skipped": "was skipped"}
        left = [f"{one.title} {words[one.status]}: {one.reason}" for one in log.attacks if one.status != "ok"]
        more = f" ({len(left) - 1} more did not run either)" if len(left) > 1 else ""
        return f"The audit is incomplete{more}: {left[0] if left else 'no attack ran'}".rstrip(".") + "."
    for check in log.checks:
        if check.level == "error":
            trouble = "The claim does not hold" if check.id == "epsilon-claim" else "The audit is not to be trusted"
            return f"{trouble}: {check.message} {check.cure}"
    failed = [finding for finding in log.findings if not finding.passed]
    more = f" ({len(failed)} of {len(log.findings)} rules)" if len(failed) > 1 else ""
    return f"The gate failed{more}: {failed[0].message}" if failed else ""


def _flushed(code: int) -> int:
    """Write out what stdout still holds; when that fails, say so unless nobody reads any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
    except OSError as error:
        say(f"Could not write to stdout: {error.strerror or error}. Use -o FILE, or free some space.")
        _hush()
        return code or int(ExitCode.USAGE)
    return code


def _hush() -> None:
    """Send to nowhere what the interpreter would still try to write at its end."""
    with suppress(OSError, ValueError, AttributeError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    say(f"warning: {message}")
