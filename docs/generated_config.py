"""The page of config keys: from the schema, and from the recipes' own options."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from vestige.backends.function import FunctionRecipe
from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchRecipe
from vestige.config_files import config_schema

INTRODUCTION = """# Configuration

A config is TOML, YAML, or the `[tool.vestige]` table of a `pyproject.toml`. Unknown keys are errors, with the closest
names.

Every key can be set from outside, and the later of these wins:

1. the file;
2. an environment variable: `VESTIGE_AUDIT__TARGETS=8`, where `__` separates levels (between a section and its key a
   single `_` does too);
3. `--set audit.targets=8` on the command line, repeatable. Values are read as TOML, or as plain text where they are
   none.

Three variables are not keys of a config:

| variable | meaning |
|---|---|
| `VESTIGE_DATA` | folders in which datasets are looked for, separated as in `PATH` |
| `VESTIGE_CACHE` | where downloads are kept; otherwise the user's cache folder |
| `VESTIGE_STORE` | the store's folder where the config names none; otherwise the user's cache folder |

`vestige schema config` prints the JSON Schema that this page is made from.
"""
RECIPES = 'The other keys of `[recipe]` depend on its kind.\n\n### kind = "torch"\n'
GATE = (
    "Each key names a figure, `[attack.]auc` or `[attack.]tpr@FPR`; its value is the largest that passes, or a table:"
)
NAMES = {
    "object": "table",
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
}
HEAD = ["| key | type | default | meaning |", "|---|---|---|---|"]


def config_page() -> str:
    schema = config_schema()
    return "\n".join([INTRODUCTION, *_table("Top level", "", schema, schema["$defs"])])


def _table(title: str, about: str, part: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    rows, inner = [], []
    for key, value in part.get("properties", {}).items():
        reference = _reference(value)
        definition = definitions.get(reference or "", {})
        meaning = (value.get("description") or _first(definition)).replace("|", "\\|")
        default = "" if reference or value.get("default") is None else f"`{_toml(value['default'])}`"
        rows.append(f"| `{key}` | {'table' if reference else _kind(value)} | {default} | {meaning} |")
        if reference:
            heading = f"[[{key}]]" if value.get("type") == "array" else f"[{key}]"
            inner += _table(heading, GATE if key == "gate" else _whole(definition), definition, definitions)
            inner += _recipes() if key == "recipe" else []
    return [f"## {title}", "", *([about[:1].upper() + about[1:], ""] if about else []), *HEAD, *rows, "", *inner]


def _first(definition: dict[str, Any]) -> str:
    """Return the first paragraph of a section's own description, without the name in front of it."""
    return _whole(definition).split("\n\n")[0]


def _whole(definition: dict[str, Any]) -> str:
    """Return a section's own description, without the name in front of it."""
    text = str(definition.get("description", ""))
    name, _, rest = text.partition(": ")
    return rest if rest and "\n" not in name else text


def _reference(value: Any) -> str | None:
    """Return the name of the table that a key holds: one, a list or a dict of them."""
    if isinstance(value, list):
        return next(filter(None, map(_reference, value)), None)
    if not isinstance(value, dict):
        return None
    if "$ref" in value:
        return str(value["$ref"].rpartition("/")[2])
    return _reference([value.get(key) for key in ("anyOf", "allOf", "items", "additionalProperties")])


def _kind(value: dict[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f"`{one}`" for one in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(one) for one in value["anyOf"] if one.get("type") != "null"))
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}))}"
    return NAMES.get(str(value.get("type")), "any")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def _recipes() -> list[str]:
    lines = [RECIPES, _doc(TorchRecipe), "", "| key | default |", "|---|---|"]
    for field in dataclasses.fields(TorchRecipe):
        default = "the model's own" if field.default is None else f"`{_toml(field.default)}`"
        lines.append(f"| `{field.name}` | {default} |")
    lines += ["", '### kind = "sklearn"', "", _doc(SklearnRecipe), "", "| key | default |", "|---|---|"]
    told = {"model": "required, `package.module:Class`", "params": "the class's own"}
    for name, parameter in inspect.signature(SklearnRecipe.from_config).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            lines.append(f"| `{name}` | {told.get(name) or f'`{_toml(parameter.default)}`'} |")
    lines += ["", '### kind = "package.module:function"', "", _doc(FunctionRecipe), ""]
    return [*lines, "Further keys are passed to the function as keywords.", ""]


def _doc(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
