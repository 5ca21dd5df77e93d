"""Pages that cannot drift: written from the registries, the config schema and the command line at each build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from generated_attacks import attack_pages, index_page, plain
from generated_checks import checks_page
from generated_commands import commands_page
from generated_config import config_page
from generated_defences import defence_pages
from generated_defences import index_page as defences_page

from vestige.listing import facts

HERE = Path(__file__).parent

DATASETS = """# Datasets

Looked for in the folders of `VESTIGE_DATA`, then in the cache, then downloaded and verified by checksum. Vestige ships
none of them; each licence is the one that the data's home states.
"""
PLUGINS = """# Signals, executors and formats

What else a config or a plug-in can name.
"""


def cell(value: Any) -> str:
    """Return a value as one cell of a Markdown table."""
    return " ".join(plain(str(value)).split()).replace("|", "\\|")


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
    "attacks": index_page,
    "checks": checks_page,
    "commands": commands_page,
    "configuration": config_page,
    "datasets": datasets_page,
    "defences": defences_page,
    "plugins": plugins_page,
}


def pages() -> dict[str, str]:
    """Return the text of every generated page by its place under reference/."""
    return {**{name: page() for name, page in PAGES.items()}, **attack_pages(), **defence_pages()}


def write(_: Any) -> None:
    folder, made = HERE / "reference", pages()
    for name, text in made.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*.md"):  # a page of what is no longer registered
        if path.relative_to(folder).with_suffix("").as_posix() not in made:
            path.unlink()


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
