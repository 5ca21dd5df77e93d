"""From a config with a [grid] to its cells: each an ordinary audit's config, with names for what sets it apart."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vestige.attacks import ATTACKS, params_of, resolve
from vestige.attacks.learned import check_family
from vestige.auditing.guesses import RANGE
from vestige.auditing.knowledge import relaxed
from vestige.canonical import digest
from vestige.config import AuditConfig
from vestige.config.comparisons import GridConfig
from vestige.config.target import RecipeConfig
from vestige.datasets import DATASETS
from vestige.errors import ConfigError

KNOWLEDGE = ("data", "architecture", "hyperparameters", "labels")
THREAT = ("access", "queries")
SUBJECT = ("source", "recipe")
AXES = (*SUBJECT, *THREAT, *KNOWLEDGE)
MOST_CELLS = 1000
DEFAULT = GridConfig(access=["label", "score"], data=["same", "disjoint"])
DEFAULT_GIVEN = GridConfig(access=["label", "score"], labels=["true", "predicted"])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One audit of a grid: ``place`` names, axis by axis, what sets it apart; ``id`` is its folder's name."""

    id: str
    place: dict[str, str]
    config: AuditConfig

    @property
    def pool(self) -> str:
        """Equal for cells whose models are the same: they differ only in what the adversary sees of them."""
        config = self.config
        return digest(
            "grid-pool",
            {
                "source": config.data.source,
                "recipe": config.recipe.model_dump(mode="json"),
                "shadow": config.shadow.model_dump(mode="json"),
            },
        )


def expand(config: AuditConfig) -> list[Cell]:
    """Return the cells in the order of the config's lists; raises ConfigError for a grid that makes no sense."""
    grid = config.grid
    if grid == GridConfig():
        grid = DEFAULT if config.target is None else DEFAULT_GIVEN
    for family in grid.family:
        check_family(family)
    _consistent(config, grid)
    axes = [_axis(name, config, grid) for name in AXES]
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > MOST_CELLS:
        raise ConfigError(f"[grid] makes {count:,} audits, and at most {MOST_CELLS:,} are run.", hint="Shorten a list.")
    cells: list[Cell] = []
    for k, values in enumerate(itertools.product(*axes)):
        place = dict(zip(AXES, (text for text, _ in values), strict=True))
        told = dict(zip(AXES, (value for _, value in values), strict=True))
        cells.append(Cell(id=_id(k, place, axes), place=place, config=_config(config, grid, told)))
    if config.audit.targets > 1 and any(relaxed(cell.config.shadow, cell.config.data) for cell in cells):
        raise ConfigError(
            "[grid] compares adversaries on one target, and other models can take its place only where nothing is "
            "relaxed.",
            hint="Leave [audit] targets at 1.",
        )
    return cells


def _consistent(config: AuditConfig, grid: GridConfig) -> None:
    if config.target is not None and (grid.source or grid.recipe):
        named = "source" if grid.source else "recipe"
        raise ConfigError(
            f"[grid] {named} has other targets trained, and [target] gives one that is trained already.",
            hint="Leave one of them out.",
        )
    for name in {*grid.source, *grid.data} - {"same", "disjoint"}:
        if name not in DATASETS and not Path(name).suffix and not Path(name).exists():
            DATASETS.get(name)  # raises, with the closest names
    for name in grid.source:
        if "same" in grid.data and name in grid.data:
            raise ConfigError(f"[grid] data names '{name}', which for the target of that source is the same as 'same'.")


def _axis(name: str, config: AuditConfig, grid: GridConfig) -> list[tuple[str, Any]]:
    """Return the distinct (text, value) pairs of one axis; the base config's own value where the grid has no list."""
    values: Sequence[Any] = getattr(grid, name)
    if not values:
        values = [_own(name, config)]
    distinct = [value for k, value in enumerate(values) if value not in values[:k]]
    texts = [_text(name, value, brief=True) for value in distinct]
    if len(set(texts)) < len(texts):
        texts = [_text(name, value, brief=False) for value in distinct]
    return list(zip(texts, distinct, strict=True))


def _own(name: str, config: AuditConfig) -> Any:
    if name == "source":
        return config.data.source
    if name == "recipe":
        return {"kind": config.recipe.kind, **config.recipe.options}
    if name == "queries":
        return config.audit.budget
    section = config.audit if name in ("access", "labels") else config.shadow
    return getattr(section, name)


def _text(name: str, value: Any, *, brief: bool) -> str:
    if name == "queries":
        return "any number" if value is None else str(value)
    if name == "hyperparameters" and isinstance(value, Mapping):
        return f"guessed {', '.join(_leaves(value))}" if brief else f"guessed {_table(value)}"
    if not isinstance(value, Mapping):
        return str(value)
    model = str(value.get("model", value.get("kind", "torch"))).rpartition(":")[2]
    if brief:
        return model
    rest = {key: inner for key, inner in value.items() if key not in ("kind", "model")}
    return f"{model} {_table(rest)}".rstrip()


def _leaves(guesses: Mapping[str, Any]) -> list[str]:
    """Return the names of what is guessed, also inside tables such as params."""
    inner = {key: isinstance(value, Mapping) and not set(value) & RANGE for key, value in guesses.items()}
    return [name for key, value in guesses.items() for name in (_leaves(value) if inner[key] else [key])]


def _table(value: Mapping[str, Any]) -> str:
    words = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            words.append(f"{key} ({_table(inner)})")
        else:
            words.append(f"{key} {inner if isinstance(inner, str) else json.dumps(inner)}")
    return ", ".join(words)


def _id(k: int, place: Mapping[str, str], axes: Sequence[Sequence[Any]]) -> str:
    varied = [place[name] for name, axis in zip(AXES, axes, strict=True) if len(axis) > 1]
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(varied).lower()).strip("-")[:60].rstrip("-")
    return f"{k:03d}-{slug}" if slug else f"{k:03d}"


def _config(base: AuditConfig, grid: GridConfig, told: Mapping[str, Any]) -> AuditConfig:
    shadow = {name: told[name] for name in ("data", "architecture", "hyperparameters")}
    audit = {"access": told["access"], "labels": told["labels"], "budget": told["queries"]}
    audit["attacks"] = attacks_of(grid.attacks or base.audit.attacks, grid.family, told["access"])
    return base.model_copy(
        update={
            "data": base.data.model_copy(update={"source": told["source"]}),
            "recipe": RecipeConfig.model_validate(told["recipe"]),
            "shadow": base.shadow.model_copy(update=shadow),
            "audit": base.audit.model_copy(update=audit),
            "grid": GridConfig(),
        }
    )


def attacks_of(
    named: str | Sequence[str | Mapping[str, Any]], families: Sequence[str], access: str
) -> str | list[str | dict[str, Any]]:
    """Return what to run, each attack that learns a model once per family.

    A battery keeps its own choice of what an adversary of that access can run.
    """
    entries = [named] if isinstance(named, str) else list(named)
    if not families:
        return named if isinstance(named, str) else [e if isinstance(e, str) else dict(e) for e in entries]
    # A battery's name would bring its learned attacks in their usual family too.
    made = [one for entry in entries for one in _familiar(resolve([entry], access=access), families)]
    return [entry for k, entry in enumerate(made) if entry not in made[:k]]


def _familiar(pairs: Sequence[tuple[str, Any]], families: Sequence[str]) -> list[str | dict[str, Any]]:
    made: list[str | dict[str, Any]] = []
    for label, attack in pairs:
        name = label.partition("[")[0]
        usual = params_of(ATTACKS.create(name))
        odd = {key: value for key, value in params_of(attack).items() if usual[key] != value}
        if "family" not in usual:
            made.append({"name": name, "params": odd} if odd else name)
            continue
        made += [{"name": name, "params": {**odd, "family": family}} for family in families]
    return made
