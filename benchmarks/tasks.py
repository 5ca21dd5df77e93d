"""What is audited: each benchmark's records and recipe as a config, so that a name means the same everywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]

TASKS: dict[str, Config] = {
    "location30": {
        "data": {"source": "location30", "population": 1010 / 5010},  # leaves 4,000 records, 2,000 of them members
        "recipe": {
            "kind": "torch", "model": "mlp", "hidden": [256, 128], "epochs": 50, "batch_size": 64, "optimizer": "sgd",
            "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
        },
        "shadow": {"count": 64},
        "audit": {"targets": 8},
    },
    "digits": {
        "data": {"source": "digits", "population": 0.2},
        "recipe": {
            "kind": "torch", "model": "mlp", "hidden": [64], "epochs": 60, "batch_size": 32, "optimizer": "sgd",
            "lr": 0.05, "momentum": 0.9, "schedule": "cosine",
        },
        "shadow": {"count": 64},
        "audit": {"targets": 8},
    },
    "retail600": {
        "data": {"source": "retail600", "limit": 12_500, "population": 0.2},  # leaves 10,000
        "recipe": {
            "kind": "torch", "model": "mlp", "hidden": [256, 128], "epochs": 30, "batch_size": 64, "optimizer": "sgd",
            "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
        },
        "shadow": {"count": 64},
        "audit": {"targets": 4},
    },
    "fashion_mnist": {
        "data": {"source": "fashion_mnist", "limit": 12_500, "population": 0.2},  # leaves 10,000
        "recipe": {
            "kind": "torch", "model": "cnn", "channels": [16, 32], "hidden": [64], "epochs": 30, "batch_size": 64,
            "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
        },
        "shadow": {"count": 16},
        "audit": {"targets": 4},
    },
    "fashion_mnist_fast": {
        "data": {"source": "fashion_mnist", "limit": 10_000, "population": 0.0},
        "recipe": {
            "kind": "torch", "model": "cnn", "channels": [16, 32], "hidden": [64], "epochs": 5, "batch_size": 64,
            "optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine",
        },
        "shadow": {"count": 16},
        "audit": {"targets": 1},
    },
    "digits_forest": {
        "data": {"source": "digits", "population": 0.2},
        "recipe": {
            "kind": "sklearn", "model": "sklearn.ensemble:RandomForestClassifier", "params": {"n_estimators": 50},
        },
        "shadow": {"count": 16},
        "audit": {"targets": 1},
    },
}  # fmt: skip


def config_of(task: str, changes: Mapping[str, Any] | None = None) -> Config:
    """Return a task's config with ``changes`` made to it: ``{"shadow.count": 8}``; a value of None changes nothing."""
    config = copy.deepcopy(TASKS[task])
    config["name"] = task
    for path, value in (changes or {}).items():
        if value is None:
            continue
        *tables, key = path.split(".")
        table = config
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return config


def to_toml(config: Config) -> str:
    """Return a config as the text of a TOML file."""
    return "\n".join(_lines(config, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, key))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):  # within a list
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)  # text, numbers and truth values look the same in JSON and TOML
