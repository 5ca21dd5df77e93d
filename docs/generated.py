"""Pages that cannot drift: written from the registries, the config schema and the command line each time the docs are built."""

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


def plain(text: str | None) -> str:
    """Return a docstring as Markdown."""
    return inspect.cleandoc(text or "").replace("``", "`")


def cell(value: Any) -> str:
    """Return a value as one cell of a Markdown table."""
    return " ".join(plain(str(value)).split()).replace("|", "\\|")


def attacks_page() -> str:
    lines = ["# Attacks", "", 'Larger scores always mean "more likely a member". `vestige list attacks` prints the same facts.', ""]
    lines += ["Parameters are given in a config as `attacks = [{ name = \"lira\", params = { variance = \"pooled\" } }]`, in Python as a",
              "dict of the same shape. Batteries:", "", "| battery | attacks |", "|---|---|"]
    lines += [f"| `{name}` | {', '.join(map(_entry, battery))} |" for name, battery in BATTERIES.items()]
    lines += ["", "A battery leaves out what cannot run on the target at hand; an attack asked for by name is in the log with its reason.", ""]
    for name in registries()["attacks"].names():
        about = attack_facts(name)
        lines += [f"## `{name}`", "", plain(registries()["attacks"].get(name).__doc__), ""]
        lines += [f"- access: {about.access}", f"- for: {' and '.join(about.tasks)}"]
        lines += [f"- signals: {', '.join(f'`{key}`' for key in about.signals) or 'none'}"]
        least = f", at least {about.shadows}" if about.shadows else ""
        lines += [f"- shadow models: {SIDES[about.side]}{least}"]
        lines += ["- records held out from every model: needed"] if about.population else []
        lines += [f"- parameters: {', '.join(f'`{key} = {value!r}`' for key, value in about.params.items())}"] if about.params else []
        lines += [f"- paper: {about.paper}", ""]
    return "\n".join(lines)


def _entry(entry: Any) -> str:
    if isinstance(entry, str):
        return f"`{entry}`"
    params = ", ".join(f"{key}={value}" for key, value in entry["params"].items())
    return f"`{entry['name']}` ({params})"


def datasets_page() -> str:
    lines = ["# Datasets", "", "Looked for in the folders of `VESTIGE_DATA`, then in the cache, then downloaded and verified by checksum.",
             "Vestige ships none of them; each licence is the one that the data's home states.", ""]
    return "\n".join(lines) + _table("datasets", ("name", "shape", "classes", "licence", "about"))


def plugins_page() -> str:
    lines = ["# Signals, executors and formats", "", "What else a config or a plug-in can name.", ""]
    parts = (("signals", ("name", "access", "about")), ("executors", ("name", "about")), ("formats", ("name", "about")))
    return "\n".join(lines) + "\n".join(f"\n## {kind.capitalize()}\n\n{_table(kind, columns)}" for kind, columns in parts)


def _table(kind: str, columns: tuple[str, ...]) -> str:
    lines = ["", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in facts(kind):
        lines.append("| " + " | ".join(f"`{row['name']}`" if key == "name" else cell(row.get(key)) for key in columns) + " |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "attacks": attacks_page,
    "checks": checks_page,
    "commands": commands_page,
    "configuration": config_page,
    "datasets": datasets_page,
    "plugins": plugins_page,
}


def write(app: Any) -> None:
    for name, page in PAGES.items():
        path, text = HERE / "reference" / f"{name}.md", page()
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
