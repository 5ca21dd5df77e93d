"""Watches models on the validation records while they train, and keeps the best weights of each."""

from __future__ import annotations

import math

import numpy as np
import torch

from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.losses import CrossEntropy, Loss, OwnLoss, SquaredError
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.snapshots import Snapshots
from vestige.backends.stopping import Best, Stopping

State = dict[str, torch.Tensor]


class Watch:
    """Asks each model about the validation records after each of its epochs, one model at a time."""

    def __init__(self, plan: Plan, graph: Graph | None, stopping: Stopping, models: int) -> None:
        rows = np.array(stopping.rows, np.int64)
        self._shown = Snapshots(plan, graph, rows)
        self._wanted = plan.y.index_select(0, torch.from_numpy(rows).to(plan.device))
        self._loss = _judge(plan)
        self.best = [Best(stopping) for _ in range(models)]

    def see(self, model: int, state: State) -> None:
        """Note how a model does after an epoch; ``state`` must be a copy."""
        with torch.no_grad():
            found = float(self._loss.value(self._shown.answers(state), self._wanted))
        self.best[model].see(found if math.isfinite(found) else math.inf, lambda: state)

    def over(self, model: int) -> bool:
        """Whether a model's patience has run out."""
        return self.best[model].over

    def all_over(self) -> bool:
        """Whether no model has any patience left."""
        return all(one.over for one in self.best)

    def state(self, model: int) -> State:
        """Return a model's best weights."""
        found: State = self.best[model].state
        return found


def _judge(plan: Plan) -> Loss:
    """Return the loss that generalisation is judged by: the plain one, whatever training aims at."""
    if isinstance(plan.loss, OwnLoss | SquaredError):
        return plan.loss
    return SquaredError() if plan.y.is_floating_point() else CrossEntropy()
