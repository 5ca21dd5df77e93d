"""What the adversary has besides the target: shadow models of the same records or of other ones, of another
architecture, with guessed hyperparameters; and whether the true labels are known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.attacks.assemble import Field
from vestige.attacks.base import Attack
from vestige.auditing.beside import all_outside, joined, joint_split
from vestige.auditing.guesses import drawn, guessed_recipe
from vestige.auditing.inputs import load_records, make_recipe
from vestige.backends.updating import UpdateRecipe
from vestige.config.adversary import ShadowConfig
from vestige.config.target import DataConfig, RecipeConfig
from vestige.errors import ConfigError, DataError
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import rng
from vestige.shadow import Demand, ShadowPool, gather
from vestige.signals.predicted import as_seen
from vestige.split import draw
from vestige.store import Store
from vestige.target import Recipe

if TYPE_CHECKING:
    from vestige.auditing.inputs import Inputs

FEWEST_RECORDS = 40


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Shadow models of records that the target's pool does not hold.

    ``field``: what they say of their own records, which attacks that transfer learn from. ``beside``: what they say of
    the audited records, none of which they trained on, for attacks that compare with such models; None where records of
    the two kinds cannot be shown to one model.
    """

    field: Field
    pool: ShadowPool
    beside: Field | None = None


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
    other = data.model_copy(update={"source": shadow.data, "limit": None, "prior": None})
    return load_records(other, seed=seed, member=member)[0]


def guess_of(shadow: ShadowConfig, seed: int) -> dict[str, Any]:
    """Return the hyperparameters that the adversary guessed, an empty table when they are known."""
    return {} if isinstance(shadow.hyperparameters, str) else drawn(shadow.hyperparameters, seed)


def shadow_recipe(shadow: ShadowConfig, recipe: Recipe | None, described: RecipeConfig, seed: int) -> Recipe | None:
    """Return how shadow models are trained: as the target, or by the recipe in [shadow] architecture, and in either
    case with the hyperparameters that the adversary guessed. ``described``: the config's own [recipe].
    """
    if isinstance(recipe, UpdateRecipe):
        inner = shadow_recipe(shadow, recipe.inner, described, seed)
        return recipe if inner is None else replace(recipe, inner=inner)
    if isinstance(shadow.architecture, str) and shadow.architecture != "same":
        raise ConfigError(
            f"Expected [shadow] architecture to be 'same' or a table like [recipe], got '{shadow.architecture}'."
        )
    if not isinstance(shadow.architecture, str):
        described = RecipeConfig.model_validate(shadow.architecture)
        recipe = make_recipe(described)
    guess = guess_of(shadow, seed)
    return guessed_recipe(recipe, described, guess) if guess and recipe is not None else recipe


def relaxed(shadow: ShadowConfig, data: DataConfig) -> bool:
    """Whether shadow models are told less than how the target was trained and on what kind of records."""
    return (
        shadow.data not in ("same", data.source)
        or shadow.architecture != "same"
        or not isinstance(shadow.hyperparameters, str)
    )


def gather_elsewhere(
    home: Field,
    records: Records,
    recipe: Recipe,
    shadow: ShadowConfig,
    *,
    count: int,
    demand: Demand,
    store: Store,
    progress: Progress,
) -> Elsewhere:
    """Train shadow models on other ``records``; row 0 of their split is the one that stands in for the target.

    ``home``: the audited records, with the target's own signals; ``demand``: what is wanted of every model.
    """
    if shadow.masks is not None:
        raise ConfigError("[shadow] masks are of the audited records, and this adversary has other data.")
    split = draw(
        len(records),
        shadows=elsewhere_count(count),
        seed=home.seed,
        fraction=shadow.fraction or 0.5,
        design=shadow.design,
        groups=records.groups,
    )
    both = joined(home.records, records)
    trained = split if both is None else joint_split(split, len(home.records))
    away = len(trained.audited)
    rows = trained.audited if both is None else np.concatenate([trained.audited, home.rows])
    pool = gather(
        trained,
        recipe,
        records if both is None else both,
        replace(demand, rows=rows, queries=()),
        store,
        executor=shadow.executor,
        workers=shadow.workers,
        keep_models=shadow.keep_models,
        progress=progress,
    )
    seen = as_seen(pool.signals) if demand.blind else pool.signals
    cut = seen.slice(0, away)
    own = Field(records=records, split=split, table=cut, access=home.access, seed=home.seed, blind=home.blind)
    beside = None if both is None else all_outside(home, split, seen.slice(away, len(rows)))
    return Elsewhere(own, replace(pool, signals=pool.signals.slice(0, away)), beside)


def elsewhere_count(asked: int) -> int:
    """Return how many shadow models of other records are trained besides the one that stands in for the target."""
    return max(2, asked)


def transfers(attack: Attack) -> bool:
    """Whether the attack can learn from shadow models of other records."""
    return callable(getattr(attack, "transfer", None))


def compares(attack: Attack, away: Elsewhere) -> bool:
    """Whether the attack compares the target with models that never saw the record, and these can be asked about it."""
    return attack.needs.side == "out" and away.beside is not None


def unlike(attack: Attack, home: Records, elsewhere: Elsewhere) -> str:
    """Return why an attack cannot use shadow models of other records, or an empty string."""
    away = elsewhere.field.records
    if attack.needs.side == "none" or compares(attack, elsewhere):
        return ""
    if not transfers(attack):
        if attack.needs.side == "out":
            return "its shadow models would be asked about the audited records, and other data has another shape"
        return "it needs shadow models that were trained on the audited records, and this adversary has other data"
    agnostic = getattr(attack, "any_classes", False)
    if home.classes != away.classes and not agnostic:
        counts = f"({len(away.classes)} instead of {len(home.classes)})"
        return f"it learns per class, and the adversary's data has other classes {counts}"
    return ""


def unlabelled(attack: Attack, *, blind: bool) -> str:
    """Return why an attack cannot do without the true labels, or an empty string."""
    if blind and set(attack.needs.signals) == {"correct"}:
        return "it asks whether the target names the true label, and this adversary does not know it"
    return ""
