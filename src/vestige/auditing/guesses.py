"""Hyperparameters that the adversary does not know: one guess at each, drawn by the audit's seed from stated ranges."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vestige.auditing.inputs import make_recipe
from vestige.config.target import RecipeConfig
from vestige.errors import ConfigError
from vestige.seeds import rng
from vestige.target import Recipe

RANGE = {"low", "high", "log"}


def drawn(guesses: Mapping[str, Any], seed: int, path: str = "") -> dict[str, Any]:
    """Return one value per key: of a list any entry, of { low, high } any number between, of anything else itself.

    ``log = true`` draws evenly in the logarithm; two whole ends give a whole number. A key's value depends only on the
    seed, its own name and its own range. Other tables (``params``) hold guesses in turn. Raises ConfigError for an
    empty list, and for a range that is none.
    """
    found: dict[str, Any] = {}
    for key, value in guesses.items():
        name = f"{path}{key}"
        random = rng(seed, "hyperparameters", name)
        if isinstance(value, list):
            if not value:
                raise ConfigError(f"Expected at least one guess at [shadow] hyperparameters.{name}, got an empty list.")
            found[key] = value[int(random.integers(len(value)))]
        elif isinstance(value, Mapping) and set(value) & RANGE:
            found[key] = _between(value, name, random)
        elif isinstance(value, Mapping):
            found[key] = drawn(value, seed, f"{name}.")
        else:
            found[key] = value
    return found


def _between(range_: Mapping[str, Any], name: str, random: np.random.Generator) -> int | float:
    low, high, log = range_.get("low"), range_.get("high"), range_.get("log", False)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if set(range_) - RANGE or not numbers or not isinstance(log, bool) or low > high or (log and low <= 0):  # type: ignore[operator]
        raise ConfigError(
            f"Expected [shadow] hyperparameters.{name} to be a range such as {{ low = 0.01, high = 0.1, log = true }}, "
            f"got {dict(range_)!r}.",
            hint="low is at most high, and above 0 with log.",
        )
    assert low is not None and high is not None  # noqa: PT018
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and not log:
        return int(random.integers(low, high + 1))
    share = float(random.random())
    value = math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)
    return min(max(round(value), int(low)), int(high)) if whole else float(value)


def guessed_recipe(recipe: Recipe, config: RecipeConfig, guess: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the guess in place of what it says.

    ``config`` is the [recipe] table; a recipe that was not made from it was given in Python, where only the fields of a
    dataclass can be guessed. Raises ConfigError for a key that the recipe does not have.
    """
    if _made_from(recipe, config):
        return make_recipe(RecipeConfig.model_validate({"kind": config.kind, **_merged(config.options, guess)}))
    known: Any = recipe
    fields = {field.name for field in dataclasses.fields(known)} if dataclasses.is_dataclass(known) else set[str]()
    strange = [key for key in guess if key not in fields]
    if strange:
        name = type(recipe).__name__
        raise ConfigError(
            f"[shadow] hyperparameters guesses '{strange[0]}', and a {name} has no such key.",
            hint=f"It has {', '.join(sorted(fields))}." if fields else "Describe the recipe in a [recipe] table.",
        )
    made: Recipe = dataclasses.replace(known, **guess)
    return made


def _made_from(recipe: Recipe, config: RecipeConfig) -> bool:
    try:
        return make_recipe(config).fingerprint() == recipe.fingerprint()
    except ConfigError:
        return False  # the default table describes no estimator


def _merged(told: Mapping[str, Any], guess: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(told)
    for key, value in guess.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged
