"""`vestige doctor`: what is installed, where data and the store are, and what would not work."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vestige.errors import ExitCode, VestigeError

OPTIONAL = {
    "torch": ("torch", "torch"),
    "scikit-learn": ("sklearn", "sklearn"),
    "xgboost": ("xgboost", "boost"),
    "lightgbm": ("lightgbm", "boost"),
    "pandas": ("pandas", "tables"),
    "pyarrow": ("pyarrow", "tables"),
    "pyyaml": ("yaml", "yaml"),
    "ray": ("ray", "ray"),
}


def show_health() -> int:
    """Print what was found; return 0, or 2 when the store cannot be used."""
    from rich.console import Console
    from rich.table import Table

    from vestige.store import Store

    table = Table(box=None, show_header=False)
    table.add_row("vestige", version("vestige"))
    table.add_row("python", sys.version.split()[0])
    for package, (module, extra) in OPTIONAL.items():
        table.add_row(package, _version(package) if find_spec(module) else f"absent; pip install 'vestige\\[{extra}]'")
    folders = os.environ.get("VESTIGE_DATA", "")
    table.add_row("VESTIGE_DATA", folders or "not set; datasets come from the cache or are downloaded")
    for folder in filter(None, folders.split(os.pathsep)):
        if not Path(folder).is_dir():
            table.add_row("", f"[red]{folder} is not a folder")
    code = ExitCode.OK
    try:
        store = Store.default(None)
        table.add_row("store", f"{store.root} ({store.size() / 1e6:.0f} MB)")
    except VestigeError as error:
        table.add_row("store", f"[red]{error}")
        code = ExitCode.USAGE
    Console().print(table)
    return int(code)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "present"
