"""What is wrong with a config, in one sentence: the key, what was expected, what was found, and the likeliest cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vestige.config import AuditConfig
from vestige.errors import ConfigError
from vestige.registry import did_you_mean

Path = tuple[str | int, ...]

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "literal_error": "{expected}",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "value_error": "{error}",
}


class Problem(NamedTuple):
    """One thing that validation found, with the part of its path that the user wrote."""

    path: Path
    detail: ErrorDetails


def problems(error: ValidationError, data: Mapping[str, Any]) -> list[Problem]:
    """Return what validation found, in its order."""
    return [Problem(_written(detail, data), detail) for detail in error.errors()]


def explain(error: ValidationError, data: Mapping[str, Any], where: Mapping[Path, str], file: str) -> ConfigError:
    """Return the sentence for a failed validation.

    ``where``: for each path that an option or variable set, which one it was; ``file``: the source of everything else.
    """
    found = problems(error, data)
    first = min(found, key=lambda problem: problem.detail["type"] != "extra_forbidden")
    message, hint = _sentence(first, found, data, _origin(first.path, where, file))
    mistyped = first.path[:-1] if first.detail["type"] == "extra_forbidden" else None
    others = dict.fromkeys(
        dotted(path)
        for path, detail in found
        if path[: len(first.path)] != first.path and not (detail["type"] == "missing" and path[:-1] == mistyped)
    )
    if others:
        hint = f"{hint} Also wrong: {', '.join(map(repr, others))}.".lstrip()
    return ConfigError(message, hint=hint)


def _sentence(first: Problem, found: list[Problem], data: Mapping[str, Any], origin: str) -> tuple[str, str]:
    detail = first.detail
    if detail["type"] == "sentence":
        return f"{str(detail['ctx']['text']).rstrip('.')}{origin}.", ""
    if detail["type"] == "extra_forbidden":
        return f"Unknown key '{dotted(first.path)}'{origin}.", _cure(first.path)
    # A value that fits no member of a union is reported once for each: say them together, at the deepest place.
    family = [problem for problem in found if problem.path[: len(first.path)] == first.path]
    path = max((problem.path for problem in family), key=len)
    expected = list(dict.fromkeys(_expected(p.detail) for p in family if p.path == path))
    if detail["type"] == "missing":
        return f"Expected '{dotted(path)}' to be given{origin}.", ""
    value = _value(data, path)
    hint = ""
    if detail["type"] == "literal_error" and isinstance(value, str):
        hint = did_you_mean(value, str(detail["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", "))
    return f"Expected '{dotted(path)}' to be {' or '.join(expected)}, got {shown(value)}{origin}.", hint


def _expected(detail: ErrorDetails) -> str:
    template = _EXPECTED.get(detail["type"])
    return detail["msg"] if template is None else template.format(**detail.get("ctx", {}))


def _origin(path: Path, where: Mapping[Path, str], file: str) -> str:
    for length in range(len(path), 0, -1):
        if (name := where.get(path[:length])) is not None:
            return f" (from {name})"
    return f" (in {file})" if file else ""


def _written(detail: ErrorDetails, data: Mapping[str, Any]) -> Path:
    # Validation also names the members of unions it tried: keep the steps that exist in what was written.
    path: list[str | int] = []
    value: Any = data
    for step in detail["loc"]:
        if isinstance(value, Mapping) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif not (detail["type"] == "missing" and step == detail["loc"][-1]):
            continue
        path.append(step)
    return tuple(path)


def _value(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def dotted(path: Path) -> str:
    """Return a path as it is written on the command line.

    >>> dotted(("defences", 0, "kind")), dotted(("gate", "tpr@0.01", "max"))
    ('defences[0].kind', "gate.'tpr@0.01'.max")
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (f"'{step}'" if "." in step else step)
    return text


def shown(value: Any) -> str:
    """Return a value as a config would write it, cut to a readable length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _cure(path: Path) -> str:
    *parents, name = path
    known = list(_section(tuple(parents)).model_fields)
    elsewhere = [key for key, section in sections().items() if name in section.model_fields]
    if elsewhere:
        return f"Did you mean '{elsewhere[0]}.{name}'?"
    return did_you_mean(str(name), known) or f"Known keys are: {', '.join(known)}."


def _section(path: Path) -> type[BaseModel]:
    section: type[BaseModel] = AuditConfig
    for step in path:
        field = section.model_fields.get(str(step))
        section = next(_models(field.annotation), section) if field else section
    return section


def sections() -> dict[str, type[BaseModel]]:
    """Return the tables of a config whose keys are fixed names, by key."""
    found = {name: list(_models(field.annotation)) for name, field in AuditConfig.model_fields.items()}
    return {name: models[0] for name, models in found.items() if models and name not in ("gate", "defences")}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
