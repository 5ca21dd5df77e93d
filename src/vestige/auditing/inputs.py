"""What an audit starts from: records, a recipe, and a target with its members or none; from a config or from Python
objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vestige.auditing.updates import with_update
from vestige.backends import RECIPES
from vestige.config import AuditConfig
from vestige.config.target import DataConfig, RecipeConfig
from vestige.datasets import DATASETS, load_dataset
from vestige.defend import layers_of
from vestige.defend.layers import Layers
from vestige.errors import ConfigError, DataError, UsageError
from vestige.loading import load_file, read_members
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import BoolArray, Recipe, Target

Fetching = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """``members``: (N,) bool, True for the records an existing ``target`` was trained on; None when a target is
    trained here.
    """

    records: Records
    recipe: Recipe | None
    target: Target | None = None
    members: BoolArray | None = None
    defences: Layers = field(default_factory=Layers)
    source: str = "arrays"

    def __post_init__(self) -> None:
        if (self.target is None) != (self.members is None):
            raise UsageError(
                "An existing target needs to know which records it was trained on, and a member list needs a target."
            )
        if self.members is not None and len(self.members) != len(self.records):
            raise DataError(f"Expected {len(self.records)} membership flags, one per record, got {len(self.members)}.")
        if self.records.prior is not None and self.target is None:
            raise UsageError(
                "A prior says who an existing target was trained on, and here a target is trained on a random half.",
                hint="Name the model in [target], or leave out [data] prior.",
            )
        if self.recipe is not None and not isinstance(self.recipe, Recipe):
            raise UsageError(
                f"Expected a recipe, which says how such models are trained, got a {type(self.recipe).__name__}.",
                hint="Pass vestige.TorchRecipe(…), vestige.SklearnRecipe(estimator) or vestige.FunctionRecipe(train).",
            )
        _check_labels(self.target, self.members, self.records)


def _check_labels(target: Target | None, members: BoolArray | None, records: Records) -> None:
    """Raise DataError when a member has a class that the target has never seen."""
    known = getattr(target, "columns", None)
    if members is None or known is None or not records.classes:
        return
    strange = members & ~np.isin(records.y, known)
    if strange.any():
        names = sorted({records.classes[int(label)] for label in records.y[strange]})
        raise DataError(
            f"Expected members that the model was trained on, but {int(strange.sum())} of {int(members.sum())} have a "
            f"class that it does not know ({', '.join(names[:5])}).",
            hint="Check the labels, and the list of members.",
        )


def from_config(config: AuditConfig, *, fetching: Fetching | None = None) -> Inputs:
    """Load what a config names; raises DataError, ConfigError or ModelError in one sentence."""
    # An existing target trained on all its members: a limit then says how many records are scored, in the split.
    data = config.data if config.target is None else config.data.model_copy(update={"limit": None})
    records, flags = load_records(data, seed=config.seed, member=member_column(config), fetching=fetching)
    recipe = make_recipe(config.recipe)
    layers = layers_of([{"kind": table.kind, **table.options} for table in config.defences])
    if config.target is None:
        own = Inputs(records=records, recipe=recipe, defences=layers, source=config.data.source)
        return with_update(own, config, ())
    if config.target.model is None:
        raise ConfigError("[target] needs 'model', the path of the trained model.")
    members = _members(config, records, flags)
    from vestige.backends.loading import load_model

    *before, target = (
        load_model(Path(path), kind=config.target.kind, recipe=recipe, records=records, trust=config.target.trust)
        for path in (*config.target.before, config.target.model)
    )
    given = Inputs(
        records=records, recipe=recipe, target=target, members=members, defences=layers, source=config.data.source
    )
    return with_update(given, config, before)


def load_records(
    data: DataConfig, *, seed: int, member: str | None = None, fetching: Fetching | None = None
) -> tuple[Records, BoolArray | None]:
    """Return the records a config names, and the membership column of a file that has one, called ``member`` or as
    given.
    """
    flags = None
    if data.source in DATASETS:
        if data.prior is not None:
            raise ConfigError(f"[data] prior names a column of a file, and '{data.source}' is a known dataset.")
        records = load_dataset(data.source, progress=fetching)
    elif Path(data.source).suffix or Path(data.source).exists():
        loaded = load_file(
            Path(data.source),
            label=data.label,
            id=data.id,
            group=data.group,
            member=member,
            categorical=data.categorical,
            task=data.task,
            prior=data.prior,
        )
        records, flags = loaded.records, loaded.members
    else:
        DATASETS.get(data.source)
        raise AssertionError("unreachable: an unknown name raises")
    keep = np.arange(len(records))
    if data.duplicates == "drop":
        from vestige.duplicates import distinct_rows

        keep = distinct_rows(records)
    if data.limit is not None and data.limit < len(keep):
        keep = np.sort(rng(seed, "limit").permutation(keep)[: data.limit])
    if len(keep) < len(records):
        records = records.take(keep)
        flags = None if flags is None else flags[keep]
    return records, flags


def member_column(config: AuditConfig) -> str | None:
    """Return the name of the membership column, when [target] members is not the path of a file."""
    named = None if config.target is None else config.target.members
    return None if named is None or Path(named).exists() or Path(named).suffix else named


def _members(config: AuditConfig, records: Records, flags: BoolArray | None) -> BoolArray:
    assert config.target is not None
    named = config.target.members
    if named is not None and Path(named).exists():
        return read_members(Path(named), records)
    if flags is not None:
        return flags
    if named is None:
        raise ConfigError(
            "[target] needs 'members': which records the model was trained on.",
            hint="Name a 0/1 column of the data, or a file with one record id per line.",
        )
    raise DataError(f"[target] members = '{named}' is neither a file nor a 0/1 column of the data.")


def make_recipe(config: RecipeConfig) -> Recipe:
    """Build the recipe a config describes; unknown keys are errors with the closest names."""
    if config.kind in RECIPES:
        factory = RECIPES.get(config.kind)
        build = getattr(factory, "from_config", None)
        recipe: Recipe = build(**config.options) if build else RECIPES.create(config.kind, config.options)
        return recipe
    if ":" in config.kind:
        factory = RECIPES.get("function")
        made: Recipe = factory.from_config(function=config.kind, **config.options)
        return made
    RECIPES.get(config.kind)
    raise AssertionError("unreachable: an unknown name raises")
