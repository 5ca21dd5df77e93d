"""What the adversary has besides the target: shadow models of the same records, of other records, or of another
architecture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.inputs import load_records, make_recipe
from vestige.config import DataConfig, RecipeConfig, ShadowConfig
from vestige.errors import ConfigError, DataError
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import rng
from vestige.shadow import Demand, ShadowPool, gather
from vestige.split import draw
from vestige.store import Store
from vestige.target import Access, Recipe

if TYPE_CHECKING:
    from vestige.auditing.inputs import Inputs

FEWEST_RECORDS = 40


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Shadow models of records that the target's pool does not hold: only attacks that transfer can learn from them."""

    field: Field
    pool: ShadowPool


def halves(inputs: Inputs, seed: int) -> tuple[Inputs, Records]:
    """Cut the records in two: the target's pool, and what the adversary has instead; groups stay whole."""
    if inputs.members is not None:
        raise ConfigError(
            '[shadow] data = "disjoint" needs a target that is trained here.',
            hint="For an existing target, name another dataset or file instead.",
        )
    records = inputs.records
    units = np.arange(len(records)) if records.groups is None else np.unique(records.groups, return_inverse=True)[1]
    order = rng(seed, "disjoint").permutation(int(units.max()) + 1)
    near = np.isin(units, order[: len(order) // 2])
    if min(near.sum(), (~near).sum()) < FEWEST_RECORDS:
        raise DataError(f"Expected enough records for two disjoint halves, got {len(records)}.")
    home = replace(inputs, records=records.take(np.flatnonzero(near)))
    return home, records.take(np.flatnonzero(~near))


def other_records(shadow: ShadowConfig, data: DataConfig, seed: int, *, member: str | None = None) -> Records:
    """Load the dataset or file that [shadow] data names."""
    other = data.model_copy(update={"source": shadow.data, "limit": None})
    return load_records(other, seed=seed, member=member)[0]


def shadow_recipe(shadow: ShadowConfig, recipe: Recipe | None) -> Recipe | None:
    """Return how shadow models are trained: as the target, or by the recipe in [shadow] architecture."""
    if shadow.architecture == "same":
        return recipe
    if isinstance(shadow.architecture, str):
        raise ConfigError(
            f"Expected [shadow] architecture to be 'same' or a table like [recipe], got '{shadow.architecture}'."
        )
    return make_recipe(RecipeConfig.model_validate(shadow.architecture))


def gather_elsewhere(
    records: Records,
    recipe: Recipe,
    shadow: ShadowConfig,
    *,
    count: int,
    keys: tuple[str, ...],
    store: Store,
    seed: int,
    access: Access,
    progress: Progress,
) -> Elsewhere:
    """Train shadow models on other records; row 0 of their split is the one that stands in for the target."""
    if shadow.masks is not None:
        raise ConfigError("[shadow] masks are of the audited records, and this adversary has other data.")
    split = draw(
        len(records),
        shadows=elsewhere_count(count),
        seed=seed,
        fraction=shadow.fraction or 0.5,
        design=shadow.design,
        groups=records.groups,
    )
    demand = Demand(keys=keys, rows=split.audited)
    pool = gather(
        split,
        recipe,
        records,
        demand,
        store,
        executor=shadow.executor,
        workers=shadow.workers,
        keep_models=shadow.keep_models,
        progress=progress,
    )
    return Elsewhere(Field(records=records, split=split, table=pool.signals, access=access, seed=seed), pool)


def elsewhere_count(asked: int) -> int:
    """Return how many shadow models of other records are trained besides the one that stands in for the target."""
    return max(2, asked)


def transfers(attack: Attack) -> bool:
    """Whether the attack can learn from shadow models of other records."""
    return callable(getattr(attack, "transfer", None))


def unlike(attack: Attack, home: Records, away: Records) -> str:
    """Return why an attack cannot carry over from ``away`` to ``home``, or an empty string."""
    if attack.needs.side == "none":
        return ""
    if not transfers(attack):
        return "it needs shadow models that were trained on the audited records, and this adversary has other data"
    agnostic = getattr(attack, "any_classes", False)
    if home.classes != away.classes and not agnostic:
        counts = f"({len(away.classes)} instead of {len(home.classes)})"
        return f"it learns per class, and the adversary's data has other classes {counts}"
    return ""
