"""Audits of updates: who is a member, what models had seen before, and which attacks compare snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vestige.attacks.base import Attack
from vestige.backends.function import FunctionRecipe
from vestige.backends.updated import Updated
from vestige.backends.updating import UpdateRecipe
from vestige.config import AuditConfig
from vestige.config.target import UpdateConfig
from vestige.errors import ConfigError, DataError, UsageError
from vestige.member_lists import read_members
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals import create
from vestige.target import BoolArray, Recipe, Target

if TYPE_CHECKING:
    from vestige.auditing.inputs import Inputs

DRAWN_SHARE = 0.5


def with_update(inputs: Inputs, config: AuditConfig, before: Sequence[Target]) -> Inputs:
    """Return the inputs of an audit of an update, whose members are what was added or removed; else the same inputs.

    ``before``: the earlier snapshots of an existing target. Records that models have seen before and after are taken
    out of the audit: a share that is set aside, or those that [target] base lists. Raises ConfigError or DataError.
    """
    update, target = config.update or UpdateConfig(), config.target
    if config.update is None and not before:
        if target is not None and target.base is not None:
            raise ConfigError("[target] base is for a model that was updated.", hint="Name [target] before, too.")
        return inputs
    if config.shadow.data not in ("same", config.data.source):
        raise ConfigError(
            '[update] needs [shadow] data = "same": shadow models start from the records that are set aside.'
        )
    if inputs.recipe is not None and inputs.target is None:
        base = _set_aside(inputs.records, update.base, config.seed)
        return _without(inputs, base, _recipe(inputs.recipe, inputs.records.take(np.flatnonzero(base)), update))
    if not before or inputs.target is None:
        raise ConfigError(
            "[update] needs the model before it as well as the model after.",
            hint="Name [target] before, or leave [target] out and let both be trained here.",
        )
    if update.steps not in (1, len(before)):
        raise ConfigError(f"[update] steps = {update.steps}, but [target] before names {len(before)} earlier models.")
    given = replace(inputs, target=Updated([*before, inputs.target], removed=update.kind == "unlearn"))
    assert target is not None
    if target.base is None:
        return replace(given, recipe=None)
    base = read_members(Path(target.base), inputs.records)
    if inputs.members is not None and (both := int((base & inputs.members).sum())):
        raise DataError(
            f"Expected records to be members or in [target] base, got {both} in both.",
            hint="Members are the records that the update added or removed; the base was there before and after.",
        )
    known = update.model_copy(update={"steps": len(before), "share": update.share or 1.0})
    own = inputs.records.take(np.flatnonzero(base))
    return _without(given, base, None if inputs.recipe is None else _recipe(inputs.recipe, own, known))


def updated(inputs: Inputs) -> bool:
    """Whether the model audited is one that was updated."""
    if inputs.target is not None:
        return isinstance(inputs.target, Updated)
    return isinstance(inputs.recipe, UpdateRecipe)


def check_updates(attacks: Sequence[tuple[str, Attack]], inputs: Inputs, shadows: int) -> None:
    """Raise UsageError when an attack compares snapshots and there are none, or shadow models would have none.

    A training function of one's own may return an `Updated`, which shows only when it has trained.
    """
    own = isinstance(inputs.recipe, FunctionRecipe)
    able = updated(inputs) or (inputs.target is None and own)
    for label, attack in attacks:
        if not able and any(getattr(create(key), "compares", False) for key in attack.needs.signals):
            raise UsageError(
                f"The attack {label} compares a model before and after an update, and this audit has one model.",
                hint="Name [target] before, add an [update] table, or pass vestige.Updated([before, after]).",
            )
    if updated(inputs) and inputs.defences:
        raise UsageError(
            "Updated models are audited as they are, and this audit puts [[defences]] on them.",
            hint="Leave out the defences, or [update].",
        )
    if updated(inputs) and shadows and not own and not isinstance(inputs.recipe, UpdateRecipe):
        raise UsageError(
            "Shadow models of an updated model need the records that it was trained on both before and after.",
            hint="Name them in [target] base, pass recipe=vestige.UpdateRecipe(inner=…, base=…), or set shadow to 0.",
        )


def _recipe(inner: Recipe, base: Records, update: UpdateConfig) -> UpdateRecipe:
    return UpdateRecipe(
        inner=inner,
        base=base,
        kind=update.kind,
        share=update.share or DRAWN_SHARE,
        steps=update.steps,
        tune_epochs=update.epochs,
        tune_lr=update.lr,
    )


def _set_aside(records: Records, share: float, seed: int) -> BoolArray:
    """Return (N,) True for the records of the base; groups stay whole."""
    units = np.arange(len(records)) if records.groups is None else np.unique(records.groups, return_inverse=True)[1]
    total = int(units.max()) + 1
    taken = rng(seed, "update", "base").permutation(total)[: round(total * share)]
    base = np.isin(units, taken)
    if not base.any() or (~base).sum() < 2:
        raise DataError(f"Expected records on both sides of an [update] base of {share:g}, got {len(records)} in all.")
    return base


def _without(inputs: Inputs, base: BoolArray, recipe: Recipe | None) -> Inputs:
    rest = np.flatnonzero(~base)
    members = None if inputs.members is None else inputs.members[rest]
    return replace(inputs, records=inputs.records.take(rest), members=members, recipe=recipe)
