"""The page of commands: verbs, arguments and options as the command line itself declares them."""

from __future__ import annotations

from typing import Any

import typer

from vestige.cli import app


def commands() -> dict[str, Any]:
    """Return every verb of the command line by name."""
    found: dict[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009 - typed as a plain command
    return found


def commands_page() -> str:
    lines = ["# Commands", "", "Results go to stdout or to `-o FILE`, talk goes to stderr. `vestige VERB --help` says the same as this page.", ""]
    for name, command in commands().items():
        given = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        words = " ".join(_word(argument) for argument in given)
        lines += [f"## vestige {name}", "", f"    vestige {name} {words}".rstrip() + (" [OPTIONS]" if options else ""), "", command.help or "", ""]
        if given or options:
            lines += ["| | meaning | variable |", "|---|---|---|"]
        for parameter in [*given, *options]:
            label = parameter.human_readable_name.upper() if parameter in given else ", ".join([*parameter.opts, *parameter.secondary_opts])
            variable = "" if parameter in given else f"`VESTIGE_{name.upper()}_{parameter.name.strip('_').upper()}`"
            lines.append(f"| `{label}` | {(parameter.help or '').replace('|', chr(92) + '|')} | {variable} |")
        lines.append("")
    return "\n".join(lines)


def _word(argument: Any) -> str:
    name = argument.human_readable_name.upper()
    return name if argument.required else f"[{name}]"
