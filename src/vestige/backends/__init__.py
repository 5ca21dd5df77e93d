"""How a model of each kind is queried (`TARGETS`) and trained (`RECIPES`); modules are imported when a name is used."""

from __future__ import annotations

from vestige.registry import Registry

TARGETS = Registry(
    "targets",
    {
        "sklearn": "vestige.backends.sklearn:SklearnTarget.wrap",
        "torch": "vestige.backends.torch_target:TorchTarget.wrap",
        "xgboost": "vestige.backends.coerce:as_target",
        "lightgbm": "vestige.backends.coerce:as_target",
        "function": "vestige.backends.function:CallableTarget",
    },
)

RECIPES = Registry(
    "recipes",
    {
        "torch": "vestige.backends.torch:TorchRecipe",
        "sklearn": "vestige.backends.sklearn:SklearnRecipe",
        "function": "vestige.backends.function:FunctionRecipe",
    },
)
