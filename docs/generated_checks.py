"""The page of checks: cause and cure from the catalogue, level and condition from the functions that raise them."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

from vestige import checks

LEVELS = ("error", "warning", "info")
MEANING = {
    "error": "the result should not be believed; the exit code is 4",
    "warning": "the result stands, with this in mind",
    "info": "good to know",
}


def raised() -> dict[str, tuple[list[str], str]]:
    """Return for each check its levels, the gravest first, and when it is raised."""
    found = {}
    for name in checks.__all__:
        function = getattr(checks, name)
        if not inspect.isfunction(function) or isinstance(function, ModuleType) or function is checks.check:
            continue
        texts = [node.value for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.Constant)]
        levels = [level for level in LEVELS if level in texts]
        about = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        found |= {text: (levels, about) for text in texts if isinstance(text, str) and text in checks.CATALOGUE}
    return found


def checks_page() -> str:
    lines = ["# Checks", "", "The audit audits itself: it says when its own result may not be what it seems. A check has a level:", ""]
    lines += [f"- **{level}**: {MEANING[level]}" for level in LEVELS]
    lines += ["", "The report, the terminal and `audit.json` show each check that was raised, with what was found and what to do about it.", ""]
    rules = raised()
    for name, explanation in checks.CATALOGUE.items():
        levels, about = rules[name]
        lines += [f"({name})=", f"## {name}", "", f"Level\n: {' or '.join(levels)}", "", f"When\n: {about}"]
        lines += ["", f"Cause\n: {explanation.cause}", "", f"Cure\n: {explanation.cure}", ""]
    return "\n".join(lines)
