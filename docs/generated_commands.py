"""The page of commands: verbs, arguments and options as the command line itself declares them."""

from __future__ import annotations

from typing import Any

import typer

from vestige.cli import app


def commands() -> dict[str, Any]:
    """Return every verb of the command line by name."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = group.commands
    return found


def commands_page() -> str:
    lines = ["# Commands", "", "Results go to stdout or to `-o FILE`, talk goes to stderr. `vestige VERB --help` says the same as this page.",
             "Every option is also an environment variable: `VESTIGE_`, the verb and the option, so `VESTIGE_AUDIT_FAIL_ON` for",
             "`--fail-on` of `vestige audit`.", ""]
    for name, command in commands().items():
        given = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        words = ["vestige", name, *map(_word, given), *(["[OPTIONS]"] if options else [])]
        lines += [f"## vestige {name}", "", f"    {' '.join(words)}", "", command.help or "", ""]
        if given or options:
            lines += ["| | |", "|---|---|"]
        for parameter in given + options:
            label = parameter.name.upper() if parameter in given else ", ".join(parameter.opts)
            metavar = f" {parameter.metavar}" if parameter.metavar and parameter in options else ""
            lines.append(f"| `{label}{metavar}` | {(parameter.help or '').replace('|', chr(92) + '|')} |")
        lines.append("")
    return "\n".join(lines)


def _word(argument: Any) -> str:
    name = str(argument.name).upper()
    return name if argument.required else f"[{name}]"
