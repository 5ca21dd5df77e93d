"""`vestige list`: every registered name with its facts, as a table or as JSON."""

from __future__ import annotations

import inspect
import json as json_module
from typing import Any

from vestige.errors import VestigeError
from vestige.registry import Registry

WIDE = 150
ONLY_WHERE_WIDE = ("paper", "file", "at_least", "population", "licence")
SHORT = ("name", "access", "shadow_models", "classes")


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
        except (VestigeError, ImportError, AttributeError) as error:
            rows.append({"name": name, "about": f"unavailable: {error}"})
            continue
        rows.append({"name": name, **_describe(what, value)})
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


def _describe(what: str, value: Any) -> dict[str, Any]:
    about = getattr(value, "description", None) or (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    if what == "attacks":
        needs = value().needs
        return {
            "access": value.access.label,
            "shadow_models": {"none": "none", "out": "OUT", "both": "IN and OUT"}[needs.side],
            "at_least": needs.shadows,
            "population": needs.population,
            "about": about,
            "paper": value.paper,
        }
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
    from rich.table import Table

    console = Console()
    columns = [
        c
        for c in dict.fromkeys(key for row in rows for key in row)
        if console.width >= WIDE or c not in ONLY_WHERE_WIDE
    ]
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), no_wrap=column in SHORT)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table if rows else f"No {what} are registered.")


def _cell(value: Any) -> str:
    return {True: "yes", False: "no", None: ""}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
