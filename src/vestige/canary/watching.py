"""Trainings that are watched step by step: which recipes can be, and one job for each."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vestige.backends.fingerprints import fingerprint
from vestige.backends.function import FunctionRecipe
from vestige.backends.torch import TorchRecipe
from vestige.canary.coins import Flips
from vestige.canary.design import Design
from vestige.canary.making import Canaries
from vestige.canary.steps import Steps
from vestige.canary.training import Labour, Scored, ScoreJob, by_id, jobs_of, keep, run_jobs, split_of
from vestige.errors import MissingDependency, UsageError
from vestige.metrics.estimate import Array
from vestige.progress import Progress
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.store import Store, digest
from vestige.target import IntArray, Recipe

LOOKS = 500_000
"""Canary gradients that are taken of a TorchRecipe at most: beyond, only some of its epochs are looked at."""
STEPS_VERSION = 2


def check_recipe(recipe: Recipe, design: Design) -> None:
    """Raise UsageError for a recipe whose steps cannot be watched, before anything is trained."""
    if isinstance(recipe, TorchRecipe) and not design.planted:
        return
    if isinstance(recipe, FunctionRecipe) and _takes_steps(recipe.train):
        return
    if isinstance(recipe, FunctionRecipe):
        raise UsageError(
            "Gradient scores need a training function that takes `steps`: train(x, y, seed, steps).",
            hint="In it call steps.watch(model, optimizer) before the loop.",
        )
    what = "Canaries planted in the gradient" if design.planted else "Gradient scores"
    needs = "a training function train(x, y, seed, steps)" + ("" if design.planted else ", or a TorchRecipe")
    raise UsageError(f"{what} need {needs}, got a {type(recipe).__name__}.", hint="Score what the model answers.")


def _takes_steps(train: Any) -> bool:
    try:
        parameters = inspect.signature(train).parameters
    except (TypeError, ValueError):
        return False
    return "steps" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def watched_jobs(
    records: Records, canaries: Canaries | None, flips: Flips, recipe: Recipe, design: Design, store: Store
) -> list[ScoreJob]:
    """Return one job per training."""
    if canaries is not None:
        return jobs_of(split_of(canaries, flips, design), canaries, recipe, design, store)
    jobs, rows = [], np.arange(len(records), dtype=np.int64)
    for run, coins in enumerate(flips.targets):
        seed = seed_for(design.seed, "canary", "models", "model", run)
        parts = {
            "recipe": recipe.fingerprint(),
            "records": records.fingerprint,
            "coins": fingerprint([coins]),
            "seed": seed,
            "paired": design.replaces,
            "version": STEPS_VERSION,
        }
        jobs.append(
            ScoreJob(
                recipe=recipe,
                pool=records,
                rows=rows,
                places=np.zeros(0, np.int64),
                coined=np.zeros(0, np.int64),
                coins=coins,
                seed=seed,
                key=digest("planted", parts),
                design=design,
                store=str(store.root),
            )
        )
    return jobs


def watched(
    records: Records,
    canaries: Canaries | None,
    flips: Flips,
    recipe: Recipe,
    design: Design,
    labour: Labour,
    progress: Progress,
) -> Scored:
    """Return the scores that the canaries got during training."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependency("torch", extra="torch", purpose="Watching training steps") from error
    jobs = watched_jobs(records, canaries, flips, recipe, design, labour.store)
    return run_jobs(jobs, watch_one, labour, progress)


def watch_one(job: ScoreJob) -> None:
    """Train one model with its steps watched, and keep the scores."""
    if isinstance(job.recipe, TorchRecipe):
        keep(job, _by_record(job, _watch_recipe(job, job.recipe)))
        return
    assert isinstance(job.recipe, FunctionRecipe)
    shown = job.pool.take(job.places) if len(job.places) else None
    steps = Steps(
        canaries=None if shown is None else (shown.x, shown.y),
        others=_others(job),
        included=job.coins,
        rows=len(job.rows),
        seed=job.seed,
        planted=job.design.planted,
        paired=job.design.replaces,
        place=None if shown is None else (job.places + 0.5) / len(job.pool),
    )
    # The recipe's own fit, so that what the function gets and what its failures say are the same as anywhere.
    watching = replace(job.recipe, train=_Watched(job.recipe.train, steps))
    watching.fit(job.pool, job.rows, job.seed)
    scores = steps.scores()
    keep(
        job,
        by_id(np.arange(len(scores)), dict(enumerate(scores.tolist()))) if shown is None else _by_record(job, scores),
    )


class _Watched:
    """The user's function with its steps; called as any training function is."""

    def __init__(self, train: Any, steps: Steps) -> None:
        self.func, self.steps = train, steps

    def __call__(self, x: Any, y: Any, seed: int) -> Any:
        return self.func(x, y, seed, steps=self.steps)


def _by_record(job: ScoreJob, scores: Array) -> Array:
    ids = job.pool.ids[job.places]
    return by_id(ids, dict(zip(ids.tolist(), scores.tolist(), strict=True)))


def _watch_recipe(job: ScoreJob, recipe: TorchRecipe) -> Array:
    """Train by the recipe on its plain path, where torch's own optimiser takes the steps, and look at some of them."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from vestige.backends.ensemble import train_many
    from vestige.backends.torch_setup import Setup
    from vestige.canary.drift import Batch, Drift
    from vestige.canary.gradients import CanaryGradients

    setup = Setup.of(recipe, job.pool)
    plan = setup.plan
    with torch.random.fork_rng(devices=[]):
        module = plan.build().to(plan.device)
    names = [name for name, p in module.named_parameters() if p.requires_grad]

    def shown(rows: IntArray) -> Batch:
        places = torch.from_numpy(rows).to(plan.device)
        return Batch(plan.batch(places), plan.y.index_select(0, places))

    canaries = shown(job.places)
    drift = Drift(module, plan.loss.value, [(canaries, 0.5), (shown(_always(job)), 1.0)])
    own = CanaryGradients(canaries, drift)
    steps = Steps(included=job.coins, rows=len(job.rows), seed=job.seed)
    epoch = max(1, -(-len(job.rows) // plan.batch_size))
    every = max(1, -(-plan.epochs * epoch * len(job.places) // LOOKS))

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        values = [p for group in optimizer.param_groups for p in group["params"]]
        steps.saw(partial(own.along, dict(zip(names, values, strict=True))), every, together=epoch)

    hook = register_optimizer_step_pre_hook(before)
    try:
        train_many(plan, None, [job.rows], [job.seed], threads=recipe.threads)
    finally:
        hook.remove()
    return steps.scores()


def _always(job: ScoreJob) -> IntArray:
    """Return the rows that every model trains on: what is known to be there besides the canaries."""
    return np.setdiff1d(np.arange(len(job.pool)), job.coined)


def _others(job: ScoreJob) -> tuple[Any, Any]:
    rows = _always(job)
    return job.pool.rows_of(rows), job.pool.y[rows]
