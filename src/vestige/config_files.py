"""Configs from where people keep them: a TOML or YAML file, pyproject.toml, a bundled example, a dict."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vestige.config import AuditConfig, config_digest, config_schema
from vestige.config_errors import explain, problems, shown
from vestige.config_overrides import Change, ConfigWarning, apply, from_environment, from_option
from vestige.errors import ConfigError, MissingDependency
from vestige.registry import did_you_mean

__all__ = [
    "ConfigWarning",
    "config_digest",
    "config_schema",
    "examples",
    "find_example",
    "load_config",
    "read_config",
]

MAX_BYTES = 1 << 22
_FOLDERS = (Path(__file__).parent / "examples", Path(__file__).parents[2] / "examples")  # installed, or a checkout


def load_config(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> AuditConfig:
    """Return a validated config.

    ``source``: a file (.toml, .yaml, pyproject.toml), the name of a bundled example, a dict, or None for the defaults;
    ``overrides``: texts like ``shadow.count=64``, which win over ``environ`` (the process's own when None), which wins
    over the source. Raises ConfigError, in one sentence that names the key and where it was set.
    """
    file, data = "", {}
    if isinstance(source, Mapping):
        data = _plain(source)
    elif source is not None:
        path = _resolve(source)
        file, data = f"'{path}'", read_config(path)
    changes = from_environment(os.environ if environ is None else environ)
    changes += [from_option(text) for text in overrides]
    for change in changes:
        apply(data, change)
    return _validate(data, changes, file)


def _validate(data: dict[str, Any], changes: Sequence[Change], file: str) -> AuditConfig:
    try:
        return AuditConfig.model_validate(data)
    except ValidationError as error:
        first = error
    # `--set name=2024` reads as a number where text is wanted: then the text that was typed is the value.
    wanted = {problem.path for problem in problems(first, data) if problem.detail["type"] == "string_type"}
    typed = [change for change in changes if change.path in wanted and not isinstance(change.value, list | dict)]
    for change in typed:
        apply(data, change._replace(value=change.raw))
    try:
        return AuditConfig.model_validate(data)
    except ValidationError as error:
        raise explain(error, data, {change.path: change.origin for change in changes}, file) from error


def examples() -> dict[str, Path]:
    """Return the bundled configs by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_example(name: str) -> Path | None:
    """Return the file of a bundled config, or None when there is none of that name."""
    return examples().get(name)


def _resolve(source: str | Path) -> Path:
    path = Path(source).expanduser()
    try:
        if path.exists() and not path.is_dir():
            return path
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise ConfigError(f"Could not read the config {shown(str(path))}: {reason}.") from error
    if (example := find_example(str(source))) is not None:
        return example
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.toml"))
        hint = f"In it are: {', '.join(inside)}." if inside else "Name a .toml or .yaml file."
        raise ConfigError(f"Expected a config file, got the folder '{path}'.", hint=hint)
    hint = did_you_mean(str(source), [*examples(), *_beside(path)]) or f"Bundled examples: {', '.join(examples())}."
    raise ConfigError(f"There is no config file or bundled example called {shown(str(source))}.", hint=hint)


def _beside(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return [str(file) for suffix in ("toml", "yaml", "yml") for file in path.parent.glob(f"*.{suffix}")]


def read_config(path: Path) -> dict[str, Any]:
    """Return a config file's contents as plain data, not yet validated; raises ConfigError."""
    text = _read_text(path)
    parse = _parse_yaml if path.suffix.lower() in (".yaml", ".yml") else _parse_toml
    data: Any = parse(text, path)
    if path.name == "pyproject.toml":
        tools = data.get("tool")
        data = tools.get("vestige") if isinstance(tools, dict) else None
        if not isinstance(data, dict):
            raise ConfigError(f"'{path}' has no [tool.vestige] table.", hint="Add one, or name another config file.")
    if not data:
        raise ConfigError(f"The config '{path}' is empty.", hint="`vestige init` writes one to start from.")
    return dict(data)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"Could not read the config '{path}': {error.strerror or error}.") from error
    hint = "Data and models are named inside a config, under [data] and [target]."
    if len(content) > MAX_BYTES:
        raise ConfigError(f"Expected '{path}' to be a config, got a file of more than 4 MB.", hint=hint)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError(f"Expected '{path}' to be a TOML or YAML text in UTF-8, got a binary file.", hint=hint)
    return text


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (.*)\)", str(error), re.DOTALL)
        what, where = found.groups() if found else (str(error), "an unknown place")
        raise ConfigError(f"'{path}' is not valid TOML at {where}: {what[:1].lower()}{what[1:]}.") from error
    except RecursionError:
        raise ConfigError(f"'{path}' is nested too deeply.") from None


def _parse_yaml(text: str, path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependency("pyyaml", extra="yaml", purpose=f"Reading '{path}'") from error
    from vestige.config_yaml import parse

    try:
        data = parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "an unknown place"
        raise ConfigError(f"'{path}' is not valid YAML at {where}: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"'{path}' is not valid YAML: {' '.join(str(error).split())}.") from error
    except RecursionError:
        raise ConfigError(f"'{path}' is nested too deeply.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"Expected '{path}' to hold keys and values, got a {type(data).__name__}.")
    return _plain(data, path)


def _plain(data: Mapping[Any, Any], path: Path | None = None) -> dict[str, Any]:
    place = f" in '{path}'" if path else ""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise ConfigError(f"Expected every key{place} to be text, got {key!r}.")
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    try:
        result: dict[str, Any] = plain(data)
    except RecursionError:
        raise ConfigError(f"The config{place} is nested too deeply or contains itself.") from None
    return result
