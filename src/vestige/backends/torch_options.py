"""What a torch recipe's options may be, and a stable text for functions given as options. Does not import torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vestige.backends.estimators import said
from vestige.backends.fingerprints import fingerprint
from vestige.backends.objectives import Objective
from vestige.backends.table_noise import TableNoise
from vestige.errors import ConfigError, UsageError
from vestige.registry import did_you_mean, load

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

MODELS = ("logistic", "mlp", "cnn", "resnet18", "wrn28-2", "multi_exit")
NAMES = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "cosine", "step"),
    "loss": ("auto", "cross_entropy", "mse"),
    "augment": ("none", "flip", "shift", "flip+shift"),
    "normalize": ("auto", "none", "standard", "unit"),
}


def check_options(recipe: TorchRecipe) -> None:
    """Raise ConfigError, in one sentence, for the first option that cannot be meant."""
    model: object = recipe.model
    if isinstance(model, str):
        if ":" not in model and model not in MODELS:
            raise ConfigError(
                f"There is no torch model called '{model}'.",
                hint=did_you_mean(model, list(MODELS))
                or f"There are: {', '.join(MODELS)}, or 'package.module:factory'.",
            )
    elif not callable(model) or (hasattr(model, "state_dict") and not inspect.isclass(model)):
        raise ConfigError(
            f"Expected model to be a name or a factory that returns a new module, got {type(model).__name__}.",
            hint="Pass the class or a function, not a module that exists already: every shadow model needs its own.",
        )
    for name, known in NAMES.items():
        value = getattr(recipe, name)
        if isinstance(value, Objective | TableNoise) and name in ("loss", "augment"):
            continue
        if not (value in known if isinstance(value, str) else callable(value) and name != "normalize"):
            hint = did_you_mean(value, list(known)) if isinstance(value, str) else ""
            raise ConfigError(f"Expected {name} to be one of {', '.join(known)}, got {value!r}.", hint=hint)
    for name in ("epochs", "batch_size", "threads"):
        _whole(name, getattr(recipe, name))
    if recipe.chunk != "auto":
        _whole("chunk", recipe.chunk)
    for name in ("hidden", "channels"):
        sizes = getattr(recipe, name)
        if sizes is not None:
            if not isinstance(sizes, tuple):
                raise ConfigError(f"Expected {name} to be a list of layer sizes, got {sizes!r}.")
            for units in sizes:
                _whole(f"every entry of {name}", units)
    if recipe.activation is not None and not isinstance(recipe.activation, str):
        raise ConfigError(f"Expected activation to be the name of one, got {recipe.activation!r}.", hint="Try 'relu'.")
    _number("lr", recipe.lr, above=0.0)
    _number("weight_decay", recipe.weight_decay, least=0.0)
    _number("momentum", recipe.momentum, least=0.0, below=1.0)
    if recipe.mixup is not None:
        _number("mixup", recipe.mixup, above=0.0)
    if recipe.dropout is not None:
        _number("dropout", recipe.dropout, least=0.0, below=1.0)
    if recipe.confidence is not None:
        _number("confidence", recipe.confidence, above=0.0, below=1.0)
    if recipe.nesterov and not recipe.momentum:
        raise ConfigError("Nesterov updates need momentum above 0.", hint="Set momentum = 0.9, or nesterov = false.")
    _named_only(recipe)


def _named_only(recipe: TorchRecipe) -> None:
    if isinstance(recipe.model, str) and ":" not in recipe.model:
        return
    for name in ("hidden", "channels", "norm", "activation", "dropout", "confidence"):
        if getattr(recipe, name) is not None:
            raise ConfigError(
                f"The option '{name}' belongs to named models, and here the model is your own.",
                hint="Set it inside the factory.",
            )


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"Expected {name} to be a whole number of at least 1, got {value!r}.")


def _number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None, below: float | None = None
) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if (
        good
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
    ):
        return
    limits = [f"above {above:g}"] if above is not None else [f"at least {least:g}"] if least is not None else []
    limits += [f"below {below:g}"] if below is not None else []
    raise ConfigError(f"Expected {name} to be a number {' and '.join(limits)}, got {value!r}.")


def resolve(reference: str) -> Callable[..., Any]:
    """Import a factory given as ``"package.module:factory"``."""
    try:
        factory: Callable[..., Any] = load(reference)
    except UsageError:
        raise
    except Exception as error:  # the user's own module may raise anything
        raise ConfigError(
            f"Could not import the model '{reference}': {said(error)}.",
            hint="Check the spelling; the folder that holds it must be on PYTHONPATH.",
        ) from error
    if not callable(factory):
        raise ConfigError(f"Expected a factory that returns a torch module, got '{reference}', which cannot be called.")
    return factory


def callable_text(function: Callable[..., Any]) -> str:
    """Return a text that changes when a function given as an option does: where it lives, and what it is made of."""
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}#{fingerprint(function)}"
