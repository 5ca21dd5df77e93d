"""What the running statistics of batch normalisation tell of a step's batch: they are released without any noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from vestige.canary.drift import bare
from vestige.canary.readings import Seen
from vestige.errors import UsageError
from vestige.metrics.estimate import Array

RIDGE = 1e-3
"""Added to the channels' variances, as a share of their mean, so that idle channels divide nothing by zero."""
BLOCK = 4096

Normalising = nn.modules.batchnorm._BatchNorm


class BatchStatistics:
    """How far each step's batch means lean towards each canary's own activations.

    From two running means in a row the mean over the batch between them follows exactly. The model as it was before the
    step says what every canary would have put into that mean, and what all records together would, among which
    ``others`` are known to be. ``batch``: the expected number of records in a batch.
    """

    def __init__(self, model: nn.Module, x: torch.Tensor, others: torch.Tensor | None = None, *, batch: float) -> None:
        device = next(model.parameters()).device
        self._model, self._batch = model, batch
        self._x, self._others = x.to(device), None if others is None else others.to(device)
        if not any(True for _ in normalising(model)):
            raise UsageError(
                "Expected a model with running batch statistics, got one without.",
                hint="Read the gradient: leave out shown='statistics'.",
            )
        self._before = self._means()

    def seen(self) -> Seen:
        """Return, over all layers, the whitened product of the batch's means with each canary's activations."""
        now = self._means()
        product, square = np.zeros(len(self._x)), np.zeros(len(self._x))
        own, others = self._activations(self._x), {} if self._others is None else self._activations(self._others)
        for name, mine in own.items():
            layer: Any = self._model.get_submodule(name)
            momentum = 1 / float(layer.num_batches_tracked) if layer.momentum is None else float(layer.momentum)
            mean = (now[name] - (1 - momentum) * self._before[name]) / momentum
            # Every canary is there with probability ½, all others for sure.
            known = np.concatenate([mine, others[name]]) if others else mine
            weights = np.where(np.arange(len(known)) < len(mine), 0.5, 1.0)
            centre = np.average(known, axis=0, weights=weights)
            spread = np.cov(known, rowvar=False, aweights=weights).reshape(known.shape[1], -1)
            spread += np.eye(len(spread)) * RIDGE * max(float(np.trace(spread)) / len(spread), np.finfo(float).tiny)
            white = np.linalg.solve(spread, (mine - centre).T).T
            product += white @ (mean - centre)
            square += (white * (mine - centre)).sum(axis=1)
        self._before = now
        # Under any batch without the canary the product varies by square / batch; with it, it is that much larger.
        length = np.sqrt(square / self._batch)
        return Seen(values=product / length, shift=length, groups=np.zeros(len(length), np.int64))

    def _means(self) -> dict[str, Array]:
        return {name: part.running_mean.double().cpu().numpy().copy() for name, part in normalising(self._model)}

    def _activations(self, x: torch.Tensor) -> dict[str, Array]:
        """Return what each record brings to every normalising layer, at the parameters of this step."""
        model = bare(self._model)
        found: dict[str, list[Array]] = {}
        for name, part in normalising(model):
            held: list[Array] = []
            found[name] = held

            def keep(_: Any, given: tuple[torch.Tensor, ...], held: list[Array] = held) -> None:
                values = given[0].detach()
                per_channel = values.flatten(2).mean(2) if values.dim() > 2 else values
                held.append(per_channel.double().cpu().numpy())

            part.register_forward_pre_hook(keep)
        with torch.no_grad():
            for start in range(0, len(x), BLOCK):
                model(x[start : start + BLOCK])
        return {name: np.concatenate(held) for name, held in found.items()}


def normalising(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the names of the layers that keep a running mean, and the layers."""
    for name, part in model.named_modules():
        if isinstance(part, Normalising) and part.track_running_stats and part.running_mean is not None:
            yield name, part
