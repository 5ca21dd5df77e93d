"""Which share of the machine's fp32 peak the training of an MLP reaches: training alone, timed inside the workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import machine
from tasks import Config
from vestige.auditing.run import Audit
from vestige.config import AuditConfig
from vestige.executors import EXECUTORS
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.shadow import threads_of
from vestige.target import BatchRecipe, IntArray


@dataclass(frozen=True)
class Share:
    """Training alone against matrix products alone; rates in floating-point operations a second."""

    models: int
    seconds: float
    rate: float
    peak: float

    @property
    def share(self) -> float:
        """The part of the peak that training reaches."""
        return self.rate / self.peak


@dataclass(frozen=True)
class Handful:
    """Models that are trained together."""

    recipe: BatchRecipe
    records: Records
    rows: tuple[IntArray, ...]
    seeds: tuple[int, ...]


def mlp_work(widths: Sequence[int], samples: int) -> float:
    """Return the operations of training an MLP on ``samples`` records: forward, weight and input gradients, two each.

    The input gradient of the first layer is never needed; biases, activations and the optimiser are not counted.
    """
    products = [before * after for before, after in pairwise(widths)]
    return 2.0 * samples * (3 * sum(products) - products[0])


def measure(config: Config, *, models: int, threads: int) -> Share:
    """Train ``models`` models by the config's recipe and executor, in whole handfuls for every worker.

    Every product is counted in full. A first layer that adds up rows for a record's ones, instead of multiplying by its
    zeros, does less than that, so that the share may exceed one.
    """
    audit = Audit.from_config(AuditConfig.model_validate(config))
    recipe, records, split, shadow = audit.inputs.recipe, audit.inputs.records, audit.split(), audit.config.shadow
    assert isinstance(recipe, BatchRecipe)
    inline = shadow.executor == "inline"
    workers = threads_of(recipe, shadow.workers) if inline else shadow.workers
    size = recipe.chunk_size(records)
    count = min(max(1, models // (size * workers)) * size * workers, 1 + split.shadows)
    jobs = []
    for start in range(0, count, size):
        chosen = range(start, min(start + size, count))
        rows = tuple(split.rows(model) for model in chosen)
        jobs.append(Handful(recipe, records, rows, tuple(seed_for(split.seed, "model", m) for m in chosen)))
    samples = sum(len(one) for job in jobs for one in job.rows) * recipe.epochs
    peak = machine.gemm_peak(threads)
    runner = EXECUTORS.create(shadow.executor, {"threads" if inline else "workers": workers})
    spans = [span for _, span in runner.run(train, jobs)]
    peak = max(peak, machine.gemm_peak(threads))
    seconds = max(ended for _, ended in spans) - min(began for began, _ in spans)
    features = records.x.shape[1]
    work = mlp_work((features, *recipe.hidden, len(records.classes)), samples)
    return Share(count, seconds, work / seconds, peak)


def train(job: Handful) -> tuple[float, float]:
    """Train a handful and return when it began and ended; what a worker does once, such as importing, comes before."""
    job.recipe.chunk_size(job.records)
    began = time.time()
    job.recipe.fit_many(job.records, list(job.rows), list(job.seeds))
    return began, time.time()
