"""Models of a pool, asked one by one about some of the records: what attacks with many questions are measured with."""

from __future__ import annotations

from typing import Any

import numpy as np

from vestige.auditing.run import Audit
from vestige.probing import Lazy
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.signals import create
from vestige.signals.base import Setting, Signals
from vestige.signals.measure import measure
from vestige.split import Split
from vestige.target import IntArray


def model_of(audit: Audit, split: Split, model: int) -> Lazy:
    """Return one model of the pool, read from the store when it is first asked."""
    return Lazy(
        recipe=audit.target_recipe(),
        records=audit.inputs.records,
        rows=split.rows(model),
        seed=seed_for(split.seed, "model", model),
        store=str(audit.store.root),
    )


def models_of(audit: Audit, split: Split) -> list[Lazy]:
    """Return all models of the pool, the target first."""
    return [model_of(audit, split, model) for model in range(1 + split.shadows)]


def ask(key: str, models: list[Lazy], model: int, audit: Audit, split: Split, rows: IntArray) -> Signals:
    """Return a signal or probe of one model on ``rows``, as a column of a table: (R, 1) or (R, 1, K)."""
    signal: Any = create(key)
    records: Records = audit.inputs.records
    if not hasattr(signal, "probe"):
        return measure(models[model].target, records, rows, [key])[key]
    setting = Setting(
        records=records,
        rows=rows,
        spare=split.population,
        references=[models[int(m)] for m in split.references(model)],
        recipe=audit.target_recipe(),
        budget=None,
        seed=seed_for(audit.config.seed, "probe", key),
    )
    values = np.asarray(signal.probe(models[model].target, setting), np.float32)
    squeezed: Signals = values[:, 0] if values.shape[1] == 1 else values
    return squeezed[:, None]
