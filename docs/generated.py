"""Pages that cannot drift: written from the registries and the config schema each time the docs are built."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from vestige.config_files import config_schema
from vestige.listing import facts, registries

HERE = Path(__file__).parent


def attacks_page() -> str:
    lines = ["# Attacks", "", "Larger scores always mean \"more likely a member\". `vestige list attacks` prints the same facts.", ""]
    for row in facts("attacks"):
        cls = registries()["attacks"].get(row["name"])
        lines += [f"## `{row['name']}`", "", (inspect.getdoc(cls) or "").replace("``", "`"), ""]
        lines += [f"- access: {row.get('access')}", f"- shadow models: {row.get('shadow_models')}"]
        lines += [f"- at least: {row.get('at_least')}"] if row.get("at_least") else []
        lines += [f"- paper: {row.get('paper')}", ""]
    return "\n".join(lines)


def datasets_page() -> str:
    lines = ["# Datasets", "", "Found in `VESTIGE_DATA`, else in the cache, else downloaded and verified.", ""]
    lines += ["| name | shape | classes | licence as stated | about |", "|---|---|---|---|---|"]
    for row in facts("datasets"):
        cells = (row.get(key) for key in ("name", "shape", "classes", "licence", "about"))
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def config_page() -> str:
    schema = config_schema()
    lines = ["# Configuration", "", "TOML, or YAML. Unknown keys are errors. Every key can be changed with `--set section.key=value`,",
             "or with a variable such as `VESTIGE_AUDIT__TARGETS=8`; a file is overruled by variables, and those by `--set`.", ""]
    lines += _table("top level", schema, schema)
    return "\n".join(lines)


def _table(title: str, part: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    lines = [f"## {title}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
    nested = []
    for key, value in part.get("properties", {}).items():
        reference = _reference(value)
        if reference:
            nested.append((key, schema["$defs"][reference]))
        kind = "table" if reference else _kind(value)
        default = "" if reference else f"`{value['default']}`" if value.get("default") is not None else ""
        about = (value.get("description") or "").replace("|", "\\|")
        lines.append(f"| `{key}` | {kind} | {default} | {about} |")
    lines.append("")
    for key, inner in nested:
        lines += _table(f"[{key}]", inner, schema)
    return lines


def _reference(value: dict[str, Any]) -> str | None:
    options = [value, *value.get("anyOf", []), *value.get("allOf", [])]
    if "items" in value:
        options.append(value["items"])
    if isinstance(value.get("additionalProperties"), dict):
        options.append(value["additionalProperties"])
    for option in options:
        if "$ref" in option:
            return str(option["$ref"].rsplit("/", 1)[-1])
    return None


def _kind(value: dict[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f"`{one}`" for one in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(one) for one in value["anyOf"] if one.get("type") != "null"))
    return str(value.get("type", "any"))


def write(app: Any) -> None:
    for name, text in (("attacks", attacks_page()), ("datasets", datasets_page()), ("configuration", config_page())):
        path = HERE / "reference" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
