"""The page of checks: cause and cure from the catalogue, level and condition from the functions that raise them."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from vestige import checks

LEVELS = ("error", "warning", "info")
INTRODUCTION = """# Checks

The audit audits itself: it says when its own result may not be what it seems. A check has a level:

- **error**: the result should not be believed; the exit code is 4
- **warning**: the result stands, with this in mind
- **info**: good to know

The report, the terminal and `audit.json` show each check that was raised, with what was found and what to do about it.
"""


def raised() -> dict[str, tuple[list[str], str]]:
    """Return for each check its levels, the gravest first, and when it is raised."""
    found = {}
    for name in checks.__all__:
        function = getattr(checks, name)
        if inspect.isfunction(function) and function is not checks.check:
            source = ast.walk(ast.parse(inspect.getsource(function)))
            texts = [node.value for node in source if isinstance(node, ast.Constant)]
            levels = [level for level in LEVELS if level in texts]
            found |= {text: (levels, _condition(function)) for text in texts if text in checks.CATALOGUE}
    return found


def _condition(function: Any) -> str:
    """Return what a function says of itself, without its arrays, and with the numbers its parameters stand for."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    parts = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    text = " ".join(" ".join(part.split()) for part in parts if not part.startswith("``"))
    text = re.sub(r"; (``\w+``: )?(each is )?\([^.]*\.", ".", text)
    text = re.sub(r"\((R|N), C\) |\(N,\) (?=scores)", "", text)
    return re.sub(r"``(\w+)``", lambda found: f"{defaults.get(found[1], found[1])}", text)


def checks_page() -> str:
    lines, rules = [INTRODUCTION], raised()
    for name, explanation in checks.CATALOGUE.items():
        levels, condition = rules[name]
        lines += [f"({name})=", f"## {name}", ""]
        lines += [f"**Level:** {' or '.join(levels)}.", "", f"**When:** {condition}", ""]
        lines += [f"**Cause:** {explanation.cause}", "", f"**Cure:** {explanation.cure}", ""]
    return "\n".join(lines)
