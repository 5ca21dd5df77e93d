"""`vestige list`: every registered name with its facts, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import json as json_module
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vestige.errors import VestigeError
from vestige.registry import Registry

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 150
ONLY_WHERE_WIDE = ("file", "licence")
BELOW = ("paper",)
"""What is too long for a column where the screen is narrow, and has a table of its own there."""
COLUMNS = {
    "attacks": ("name", "access", "knowledge", "queries", "paper"),
    "defences": ("name", "stage", "guarantee", "traits", "paper"),
}
"""What is shown of a kind where its facts are more than a table can hold; the others show all of them."""
SHORT = ("name", "access", "classes")


def facts(what: str) -> list[dict[str, Any]]:
    """Return one dict of facts per name; a plug-in that cannot be loaded is listed with the reason."""
    if what == "examples":
        from vestige.config_files import examples

        return [
            {"name": name, "file": str(path), "about": _first_comment(path.read_text("utf-8"))}
            for name, path in examples().items()
        ]
    registry = registries()[what]
    rows = []
    for name in registry.names():
        try:
            value = registry.get(name)
            rows.append({"name": name, **_describe(what, name, value)})
        except (VestigeError, ImportError, AttributeError) as error:
            rows.append({"name": name, "about": f"unavailable: {error}"})
    return rows


def registries() -> dict[str, Registry]:
    """Return every registry by the name it is listed under."""
    from vestige.attacks import ATTACKS
    from vestige.backends import TARGETS
    from vestige.datasets import DATASETS
    from vestige.defend import DEFENCES
    from vestige.executors import EXECUTORS
    from vestige.log import FORMATS
    from vestige.signals import SIGNALS

    return {
        "attacks": ATTACKS,
        "signals": SIGNALS,
        "defences": DEFENCES,
        "targets": TARGETS,
        "datasets": DATASETS,
        "executors": EXECUTORS,
        "formats": FORMATS,
    }


def _describe(what: str, name: str, value: Any) -> dict[str, Any]:
    if what == "attacks":
        return _attack(name)
    if what == "defences":
        return _defence(name)
    about = getattr(value, "description", None) or (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    if what == "datasets":
        return {
            "shape": str(getattr(value, "shape", "")),
            "classes": getattr(value, "classes", None),
            "licence": getattr(value, "licence", ""),
            "about": about,
        }
    if what == "signals":
        return {"access": value.access.label, "about": about}
    return {"about": about}


def _attack(name: str) -> dict[str, Any]:
    from vestige.attacks import facts as attack_facts

    known = dataclasses.asdict(attack_facts(name))
    shown = {key: known.pop(key) for key in COLUMNS["attacks"]}
    return {**shown, "about": known.pop("description"), **known}


def _defence(name: str) -> dict[str, Any]:
    from vestige.defend.facts import facts as defence_facts

    known = dataclasses.asdict(defence_facts(name))
    shown = {key: known.pop(key) for key in COLUMNS["defences"]}
    return {**shown, "about": known.pop("description"), **known}


def _first_comment(text: str) -> str:
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def show_listing(what: str, *, json: bool) -> None:
    """Print the facts to stdout."""
    rows = facts(what)
    if json:
        import sys

        sys.stdout.write(json_module.dumps(rows, indent=2, default=str) + "\n")
        return
    from rich.console import Console

    console = Console()
    if not rows:
        console.print(f"No {what} are registered.")
        return
    known = dict.fromkeys(key for row in rows for key in row)
    shown = COLUMNS.get(what, tuple(known))
    if any(set(row) == {"name", "about"} for row in rows):
        shown = (*shown, *({"about"} - set(shown)))  # why a plug-in is not available
    wide = console.width >= WIDE
    console.print(_table(rows, [key for key in shown if wide or key not in ONLY_WHERE_WIDE + BELOW]))
    for key in BELOW:
        if key in known and not wide:
            console.print()
            console.print(_table(rows, ["name", key]))


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column in SHORT)
    for row in rows:
        table.add_row(*(escape(_cell(row.get(column))) for column in columns))
    return table


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, tuple | list):
        return "; ".join(map(str, value)) or "none"
    return str(value)
