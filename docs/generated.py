"""Pages that cannot drift: written from the registries, the config schema and the command line at each build."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generated_checks import checks_page
from generated_commands import commands_page
from generated_config import config_page

from vestige.attacks import BATTERIES
from vestige.attacks import facts as attack_facts
from vestige.listing import facts, registries

HERE = Path(__file__).parent
SIDES = {"none": "none", "out": "OUT only", "both": "IN and OUT"}

ATTACKS = """# Attacks

Larger scores always mean "more likely a member". `vestige list attacks` prints the same facts.

Parameters are given in a config as `attacks = [{ name = "lira", params = { variance = "pooled" } }]`, and in Python
as a dict of the same shape. Batteries:

| battery | attacks |
|---|---|
"""
LEFT_OUT = """
A battery leaves out what cannot run on the target at hand; an attack that was asked for by name and cannot run is in
the log with its reason.
"""
DATASETS = """# Datasets

Looked for in the folders of `VESTIGE_DATA`, then in the cache, then downloaded and verified by checksum. Vestige ships
none of them; each licence is the one that the data's home states.
"""
PLUGINS = """# Signals, executors and formats

What else a config or a plug-in can name.
"""


def plain(text: str | None) -> str:
    """Return a docstring as Markdown."""
    return inspect.cleandoc(text or "").replace("``", "`")


def cell(value: Any) -> str:
    """Return a value as one cell of a Markdown table."""
    return " ".join(plain(str(value)).split()).replace("|", "\\|")


def attacks_page() -> str:
    rows = [f"| `{name}` | {', '.join(map(_entry, battery))} |" for name, battery in BATTERIES.items()]
    sections = [_attack(name) for name in registries()["attacks"].names()]
    return ATTACKS + "\n".join([*rows, LEFT_OUT, *sections])


def _entry(entry: Any) -> str:
    if isinstance(entry, str):
        return f"`{entry}`"
    params = ", ".join(f"{key}={value}" for key, value in entry["params"].items())
    return f"`{entry['name']}` ({params})"


def _attack(name: str) -> str:
    about = attack_facts(name)
    least = f", at least {about.shadows}" if about.shadows else ""
    lines = [f"## `{name}`", "", plain(registries()["attacks"].get(name).__doc__), ""]
    lines += [f"- access: {about.access}", f"- for: {' and '.join(about.tasks)}"]
    lines += [f"- signals: {', '.join(f'`{key}`' for key in about.signals) or 'none'}"]
    lines += [f"- shadow models: {SIDES[about.side]}{least}"]
    if about.population:
        lines.append("- records held out from every model: needed")
    if about.params:
        lines.append(f"- parameters: {', '.join(f'`{key} = {value!r}`' for key, value in about.params.items())}")
    return "\n".join([*lines, f"- paper: {about.paper}", ""])


def datasets_page() -> str:
    return DATASETS + _table("datasets", "name", "shape", "classes", "licence", "about")


def plugins_page() -> str:
    parts = {"signals": ("name", "access", "about"), "executors": ("name", "about"), "formats": ("name", "about")}
    return PLUGINS + "".join(f"\n## {kind.capitalize()}\n{_table(kind, *columns)}" for kind, columns in parts.items())


def _table(kind: str, *columns: str) -> str:
    lines = ["", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in facts(kind):
        cells = [f"`{row['name']}`", *(cell(row.get(column)) for column in columns[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "attacks": attacks_page,
    "checks": checks_page,
    "commands": commands_page,
    "configuration": config_page,
    "datasets": datasets_page,
    "plugins": plugins_page,
}


def write(_: Any) -> None:
    for name, page in PAGES.items():
        path, text = HERE / "reference" / f"{name}.md", page()
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
