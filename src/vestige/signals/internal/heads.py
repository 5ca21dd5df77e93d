"""The upper part of a model, and models like it trained on what it reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.records import Records
from vestige.target import IntArray

Logits = NDArray[np.floating[Any]]
Proxies = Sequence[Logits | None]


@dataclass(frozen=True, eq=False)
class Head:
    """``logits``: (N, C), what the target's own upper part answers for every record of the pool.

    ``retrained``: maps P lists of rows and P seeds to the (N, C) answers of upper parts that were trained on those rows
    of what the target's lower part makes of the records; None for one that did not see every class.
    """

    logits: Logits
    retrained: Callable[[Sequence[IntArray], Sequence[int]], Proxies]


def of_linear(owner: Any, records: Records) -> Head:
    """Return the weights of a linear model of scikit-learn; its proxies are clones of the last step."""
    everything = np.arange(len(records), dtype=np.int64)
    hidden, logits, alone = owner.linear(records.rows_of(everything))
    last = owner.estimator[-1] if hasattr(owner.estimator, "named_steps") else owner.estimator
    labels = np.arange(owner.classes) if owner.known is None else np.asarray(owner.known)
    y = labels[np.asarray(records.y, np.int64)]

    def retrained(rows: Sequence[IntArray], seeds: Sequence[int]) -> list[Logits | None]:
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning

        found: list[Logits | None] = []
        for own, seed in zip(rows, seeds, strict=True):
            if len(np.unique(y[own])) < owner.classes:
                found.append(None)
                continue
            proxy = clone(last)
            if "random_state" in proxy.get_params():
                proxy.set_params(random_state=seed % 2**32)
            with warnings.catch_warnings():
                # The target's own training stopped where it stopped, and so may its likes.
                warnings.simplefilter("ignore", ConvergenceWarning)
                proxy.fit(hidden[own], y[own])
            scores = hidden @ np.asarray(proxy.coef_, np.float64).T + proxy.intercept_
            found.append(np.column_stack([np.zeros(len(scores)), scores]) if alone else scores)
        return found

    return Head(logits, retrained)
