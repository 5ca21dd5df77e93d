"""Students: networks trained on what other models answer, and on no label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.backends.ensemble import train_many
from vestige.backends.ensemble.soft_labels import SoftCrossEntropy
from vestige.backends.torch_setup import Setup
from vestige.target import IntArray

State = dict[str, torch.Tensor]


def taught(
    setup: Setup,
    rows: IntArray,
    soft: NDArray[Any],
    seed: int,
    *,
    epochs: int | None,
    threads: int,
    on_epoch: Callable[[int, State], None] | None,
) -> State:
    """Return a network trained on ``rows`` with the (R, C) probabilities ``soft`` in place of labels.

    Everything else is the recipe's, but for blends and early stopping, which are about labels; ``epochs``: None for the
    recipe's own.
    """
    plan = setup.plan
    table = torch.zeros(len(plan.x), soft.shape[1], device=plan.device)
    # Rows that are not trained on have no labels at all: the true ones are not even at hand.
    table[torch.from_numpy(rows).to(plan.device)] = torch.from_numpy(np.ascontiguousarray(soft, np.float32)).to(
        plan.device
    )
    own = replace(
        plan,
        y=table,
        loss=SoftCrossEntropy(),
        epochs=plan.epochs if epochs is None else epochs,
        mixup=None,
        stopping=None,
    )
    told = None if on_epoch is None else (lambda _, epoch, state: on_epoch(epoch, state))
    return train_many(own, setup.graph, [rows], [seed], threads=threads, on_epoch=told)[0]
