"""One registry for every kind of plug-in: lazy references, entry points, did-you-mean, {name, params} round trips."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar, get_type_hints

from vestige.errors import UsageError, VestigeError

T = TypeVar("T")


def load(reference: str) -> Any:
    """Import and return ``"package.module:attribute"``."""
    module, _, attribute = reference.partition(":")
    if not module or not attribute:
        raise UsageError(f"Expected 'package.module:name', got '{reference}'.")
    value: Any = import_module(module)
    for part in attribute.split("."):
        value = getattr(value, part)
    return value


def call_of(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters that ``name(key=value, …)`` gives; raises ValueError when it is not that.

    >>> call_of("rmia(temperature=2.0)")
    ('rmia', {'temperature': 2.0})
    """
    name, bracket, inside = text.partition("(")
    try:
        call = ast.parse(f"f({inside}" if bracket else "f()", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError(text)
        return name.strip(), {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except SyntaxError as error:
        raise ValueError(text) from error


def did_you_mean(name: str, known: Iterator[str] | list[str]) -> str:
    """Return a hint naming the closest known names, or an empty string."""
    close = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.5)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


class Registry:
    """Names of one kind of plug-in; values are imported only when asked for."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._references: dict[str, str] = dict(builtin)
        self._values: dict[str, Any] = {}
        self._scanned = False

    def _scan(self) -> None:
        if not self._scanned:
            self._scanned = True
            for point in entry_points(group=f"vestige.{self.kind}"):
                self._references.setdefault(point.name, point.value)

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a value under ``name`` in this process."""

        def add(value: T) -> T:
            if name in self._values or name in self._references:
                raise UsageError(f"The {self.kind[:-1]} name '{name}' is already taken.")
            self._values[name] = value
            return value

        return add

    def names(self) -> list[str]:
        """Return every known name, built-in ones first, in a stable order."""
        self._scan()
        return [*self._references, *(n for n in self._values if n not in self._references)]

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def get(self, name: str) -> Any:
        """Return the plug-in called ``name``; raise UsageError with the closest names."""
        if name in self._values:
            return self._values[name]
        self._scan()
        if name not in self._references:
            raise UsageError(
                f"There is no {self.kind[:-1]} called '{name}'.",
                hint=did_you_mean(name, self.names()) or f"See `vestige list {self.kind}`.",
            )
        self._values[name] = load(self._references[name])
        return self._values[name]

    def create(self, name: str, params: Mapping[str, Any] | None = None) -> Any:
        """Build the plug-in called ``name`` with ``params``; unknown parameters are errors."""
        factory = self.get(name)
        params = dict(params or {})
        if dataclasses.is_dataclass(factory):
            known = [f.name for f in dataclasses.fields(factory) if f.init]
            for key in params:
                if key not in known:
                    raise UsageError(
                        f"The {self.kind[:-1]} '{name}' has no parameter '{key}'.",
                        hint=did_you_mean(key, known) or f"It has: {', '.join(known) or 'none'}.",
                    )
        try:
            made = factory(**params)
        except VestigeError:
            raise
        except Exception as error:  # a plug-in's own constructor may raise anything
            self._require_fitting(name, factory, params)
            raise UsageError(f"Could not build the {self.kind[:-1]} '{name}': {error}.") from error
        self._require_fitting(name, factory, params)
        return made

    def _require_fitting(self, name: str, factory: Any, params: Mapping[str, Any]) -> None:
        """Raise UsageError for the first parameter of a dataclass that is not of its annotated type."""
        for key, value in params.items():
            expected = _misfit(factory, key, value)
            if expected:
                raise UsageError(
                    f"Expected the parameter '{key}' of the {self.kind[:-1]} '{name}' to be {expected}, got {value!r}."
                )


def _misfit(factory: Any, key: str, value: Any) -> str:
    """Return what the field ``key`` of a dataclass wants when ``value`` is not that, else nothing."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    try:
        wanted = TypeAdapter(
            get_type_hints(factory).get(key, Any), config=ConfigDict(arbitrary_types_allowed=True, strict=True)
        )
        wanted.validate_python(tuple(value) if isinstance(value, list) else value)
    except (NameError, TypeError, PydanticUserError):
        # An annotation that only a type checker can read: then the plug-in's own checks must do.
        return ""
    except ValidationError as error:
        found = [one["msg"].removeprefix("Input should be ") for one in error.errors(include_url=False)]
        return " or ".join(dict.fromkeys(found))
    return ""
