"""The defences of an audit: in front of the target, in the recipe of the shadow models, and with their own records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vestige.attacks import BATTERIES, Named, able
from vestige.config import AuditConfig
from vestige.config.claims import ClaimConfig
from vestige.defend.layers import Layers
from vestige.defend.recipes import defended, served
from vestige.errors import ConfigError, DataError
from vestige.privacy_claim import FORMAL, PrivacyClaim
from vestige.records import Task
from vestige.seeds import rng
from vestige.split import Split
from vestige.target import Access, IntArray, Recipe, Target

if TYPE_CHECKING:
    from vestige.auditing.inputs import Inputs

FEWEST_RESERVED = 20
NOBODY = np.zeros(0, np.int64)


def set_aside(split: Split, layers: Layers) -> tuple[Split, IntArray]:
    """Return the split with half of its population taken out, and that half: the defender's own records.

    No model trains on them, nobody is audited on them, and the adversary has the other half. Raises DataError where
    there are too few.
    """
    if not layers.reserve:
        return split, NOBODY
    order = rng(split.seed, "reserve").permutation(split.population)
    half = len(order) // 2
    if half < FEWEST_RESERVED:
        raise DataError(
            f"These defences need at least {FEWEST_RESERVED} records of the defender's own, which half of those held "
            f"out are, and {len(order)} are held out.",
            hint="Raise [data] population, or add records.",
        )
    return replace(split, population=np.sort(order[half:])), np.sort(order[:half])


def under(recipe: Recipe | None, layers: Layers, reserve: IntArray) -> Recipe | None:
    """Return the recipe under its defences."""
    return defended(recipe, layers, reserve) if recipe is not None and layers else recipe


def adapting(config: AuditConfig, layers: Layers, task: Task, access: Access) -> str | Sequence[Named]:
    """Return [audit] attacks, and beside a battery what aims at the layers, as far as it can run on such a target.

    A list stays as it was given, and so does a battery of an adversary who does not know of the defences. The quick
    battery gets no attack that asks about a record more than once.
    """
    named, budget = config.audit.attacks, config.audit.budget
    if not isinstance(named, str) or named not in BATTERIES or config.shadow.defences == "unknown":
        return named
    return [named, *able(layers.adaptive, task, access, budget=1 if named == "quick" else budget)]


def in_front(inputs: Inputs, split: Split, layers: Layers, reserve: IntArray, seed: int) -> Target | None:
    """Return a given target behind its answer defences."""
    target = inputs.target
    if target is None or not layers.answers:
        return target
    rows = np.flatnonzero(split.masks[0]).astype(np.int64)
    return served(target, layers.answers, inputs.records, rows, reserve, seed)


def claimed(config: AuditConfig, layers: Layers, recipe: Recipe | None, members: int) -> AuditConfig:
    """Return the config with the claim that its defences make; raises ConfigError when [claim] says less.

    ``members``: how many records are trained on. A claim of the user's own stands when it is no stronger than what the
    defences prove.
    """
    claim = None if recipe is None else layers.claim(recipe, members)
    if claim is None or claim.guarantee not in FORMAL:
        return config
    if config.claim is not None:
        if config.claim.epsilon < claim.epsilon or config.claim.delta < claim.delta:
            raise ConfigError(
                f"[claim] says ε = {config.claim.epsilon:g} at δ = {config.claim.delta:g}, and [[defences]] prove "
                f"ε = {claim.epsilon:g} at δ = {claim.delta:g}.",
                hint="Leave [claim] out: the defences bring their own.",
            )
        return config
    return config.model_copy(update={"claim": _as_config(claim)})


def _as_config(claim: PrivacyClaim) -> ClaimConfig:
    fields = {name: value for name, value in claim.to_dict().items() if name in ClaimConfig.model_fields}
    return ClaimConfig(**{**fields, "assumptions": list(claim.assumptions), "excludes": list(claim.excludes)})
