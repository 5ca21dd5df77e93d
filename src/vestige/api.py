"""`vestige.audit`: one call for what most people have, a trained model and the records it was and was not trained
on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vestige.config_files import load_config
from vestige.log import AuditLog
from vestige.progress import Progress, Silence
from vestige.records import Task
from vestige.target import Recipe


def audit(
    model: Any,
    members_x: Any,
    members_y: Any,
    nonmembers_x: Any,
    nonmembers_y: Any,
    *,
    recipe: Recipe | None = None,
    attacks: str | Sequence[str | Mapping[str, Any]] = "standard",
    access: str = "score",
    shadow: int | None = None,
    seed: int = 0,
    fpr: Sequence[float] = (0.001, 0.01),
    groups: Any = None,
    prior: Any = None,
    timing: bool = False,
    task: Task | None = None,
    store: str | Path | None = None,
    executor: str = "inline",
    progress: bool | Progress = True,
) -> AuditLog:
    """Audit a trained model and return the log.

    ``model``: anything with predict_proba, decision_function or predict, a torch module, a function from records to
    scores, or an `Updated` of such models, whose members are then the records that were added or removed;
    ``members_x, members_y``: the records it was trained on; ``nonmembers_x, nonmembers_y``: records from the
    same population that it was not; two torch datasets with None for both labels will do as well. ``recipe``: how
    models like it are trained (omitted for scikit-learn: a clone); ``attacks``: a battery's name or a list;
    ``shadow``: how many shadow models (None: what the attacks need); ``groups``: for the members, then the
    non-members, which person each row belongs to; ``prior``: in the same order, the probability that each record is a
    member, as the adversary knows from elsewhere (for ensembles); ``timing``: the adversary also sees how long answers
    take; ``task``: classification or regression, where the model and labels leave a doubt. Raises DataError, ModelError
    or UsageError in one sentence.
    """
    from vestige.auditing.inputs import Inputs
    from vestige.auditing.pooling import pool
    from vestige.auditing.run import Audit
    from vestige.backends.coerce import as_target, default_recipe
    from vestige.backends.updated import Updated
    from vestige.store import Store

    task = task or _task_of(model)
    records, members = pool(members_x, members_y, nonmembers_x, nonmembers_y, groups=groups, task=task, prior=prior)
    rates: Any = fpr
    seen = {"access": access, "timing": timing}
    options = {
        "name": type(model).__name__,
        "seed": seed,
        "store": None if store is None else str(store),
        "shadow": {"count": shadow, "executor": executor},
        "audit": {"attacks": attacks, **seen, "fpr": rates.tolist() if hasattr(rates, "tolist") else rates},
    }
    config = load_config(options, environ={})
    target = as_target(model, task=records.task, classes=records.classes)
    if recipe is None and shadow != 0 and not isinstance(model, Updated):
        recipe = default_recipe(model)
    inputs = Inputs(records=records, recipe=recipe, target=target, members=members)
    run = Audit(inputs=inputs, config=config, store=Store.default(store))
    if progress is True:
        from vestige.console import watching

        with watching() as watcher:
            return run.run(watcher)
    return run.run(Silence() if progress is False else progress)


def _task_of(model: Any) -> Task | None:
    """Return regression for a scikit-learn regressor, whose labels may well be whole numbers; otherwise the labels
    decide.
    """
    if "sklearn" not in sys.modules:
        return None
    from sklearn.base import BaseEstimator, is_regressor

    model = getattr(model, "snapshots", [model])[-1]
    return "regression" if isinstance(model, BaseEstimator) and is_regressor(model) else None
