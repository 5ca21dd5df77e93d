"""The page of commands: verbs, arguments and options as the command line itself declares them."""

from __future__ import annotations

from typing import Any

import typer

from vestige.cli import app

INTRODUCTION = """# Commands

Results go to stdout or to `-o FILE`, talk goes to stderr. `vestige VERB --help` says the same as this page. Every
option is also an environment variable, `VESTIGE_` with the verb and the option: `VESTIGE_AUDIT_FAIL_ON` is `--fail-on`
of `vestige audit`.
"""


def commands() -> dict[str, Any]:
    """Return every verb of the command line by name."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = group.commands
    return found


def commands_page() -> str:
    return INTRODUCTION + "".join(_command(name, command) for name, command in commands().items())


def _command(name: str, command: Any) -> str:
    given = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = ["vestige", name, *map(_word, given), *(["[OPTIONS]"] if options else [])]
    lines = ["", f"## vestige {name}", "", f"    {' '.join(words)}", "", command.help or "", ""]
    rows = [_row(parameter.name.upper(), parameter.help) for parameter in given]
    for parameter in options:
        metavar = f" {parameter.metavar}" if parameter.metavar else ""
        rows.append(_row(", ".join(parameter.opts) + metavar, parameter.help))
    return "\n".join([*lines, *(["| | |", "|---|---|", *rows, ""] if rows else [])])


def _row(label: str, about: str | None) -> str:
    return f"| `{label}` | {(about or '').replace('|', chr(92) + '|')} |"


def _word(argument: Any) -> str:
    name = str(argument.name).upper()
    return name if argument.required else f"[{name}]"
