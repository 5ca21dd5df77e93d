"""Trains M models of a known structure together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import nn

from vestige.backends.ensemble import mixing
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.indicators import Folded, Pool, first_layer
from vestige.backends.ensemble.layers import Run
from vestige.backends.ensemble.losses import at_epoch
from vestige.backends.ensemble.mixing import Mixer
from vestige.backends.ensemble.order import Order, generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.stack import Stack
from vestige.backends.ensemble.store import ALIGNMENT, ParameterStore, gather
from vestige.backends.ensemble.values import Value, channels_last


def train(
    plan: Plan,
    graph: Graph,
    modules: Sequence[nn.Module],
    orders: Sequence[Order],
    on_epoch: Callable[[int, int, dict[str, torch.Tensor]], None] | None = None,
    over: Callable[[], bool] | None = None,
) -> list[dict[str, torch.Tensor]]:
    """Return the trained state of each module; the same bytes however the models are grouped.

    ``on_epoch`` gets, after each epoch, each model's number, the epoch's, and a copy of its state;
    ``over`` is then asked whether to stop.
    """
    with torch.no_grad():
        store = gather(modules, plan.device)
        if graph.has("convolution") and plan.device.type == "cpu":
            _channels_last(store)
        reader = first_layer(plan, graph, store)
        folded = None if reader is None else Folded(plan, graph, store, reader)
        trainer = _Trainer(plan, graph, store, orders) if folded is None else _Trainer.of(plan, folded, orders)
        for epoch in range(plan.epochs):
            trainer.epoch(epoch)
            if on_epoch is not None:
                if folded is not None:
                    folded.unfold()
                for m in range(len(modules)):
                    on_epoch(m, epoch, store.state(m))
            if over is not None and over():
                break
        if folded is not None:
            folded.unfold()
        return [store.state(m) for m in range(len(modules))]


def _channels_last(store: ParameterStore) -> None:
    """Keep filters in the order in which CPU kernels read them."""
    for slot in store.slots.values():
        if slot.values[0].dim() == 4:
            slot.values[:] = [channels_last(v) for v in slot.values]


class _Trainer:
    def __init__(
        self, plan: Plan, graph: Graph, store: ParameterStore, orders: Sequence[Order], pool: Pool | None = None
    ) -> None:
        self.plan, self.orders, self.store, self.pool = plan, orders, store, pool
        self.images = graph.has("convolution") and plan.x.dim() == 4
        self.together = Stack(graph, store)
        one = len(orders) == 1
        self.alone = [self.together] if one else [Stack(graph, store.select(m)) for m in range(len(orders))]
        self.update = plan.optimiser.on([self._values(m) for m in range(len(orders))])
        self.dropout = [generator(o.seed, "dropout", plan.device) for o in orders]
        self.augment = [generator(o.seed, "augment", plan.device) for o in orders]
        self.mixers = [] if plan.mixup is None else [Mixer(o.seed, plan.mixup) for o in orders]
        self.loss = plan.loss

    @classmethod
    def of(cls, plan: Plan, folded: Folded, orders: Sequence[Order]) -> _Trainer:
        """Train on lists of ones."""
        return cls(plan, folded.graph, folded.store, orders, folded.pool)

    def _values(self, model: int) -> list[torch.Tensor]:
        return [slot.values[model] for slot in self.store.slots.values()]

    def epoch(self, number: int) -> None:
        """Show every model its own rows once."""
        rate, self.loss = self.plan.rate(number), at_epoch(self.plan.loss, number)
        rows = [order.epoch() for order in self.orders]
        lengths = [order.lengths() for order in self.orders]
        start = self._full_batches(rows, lengths, rate)
        for m, own in enumerate(lengths):
            at = sum(own[:start])
            for length, alike in groupby(own[start:]):
                steps = len(list(alike))
                self._steps([m], rows[m][at : at + steps * length].view(steps, 1, length), rate)
                at += steps * length

    def _full_batches(self, rows: list[torch.Tensor], lengths: list[list[int]], rate: float) -> int:
        """Run the batches that all models can take together; return how many."""
        size, models = self.plan.batch_size, len(rows)
        if models == 1 or size % ALIGNMENT:
            # A batch that ends inside a vector would be computed differently with and without a neighbour.
            return 0
        common = min(sum(1 for n in own if n == size) for own in lengths)
        if common:
            stacked = torch.stack([r[: common * size].view(common, size) for r in rows], 1)
            self._steps(list(range(models)), stacked, rate)
        return common

    def _steps(self, models: list[int], index: torch.Tensor, rate: float) -> None:
        """Take one step per entry of the (steps, M, batch) row numbers."""
        plan = self.plan
        stack = self.together if len(models) > 1 else self.alone[models[0]]
        run = Run(True, [self.dropout[m] for m in models])
        inputs = self._dense(models, index) if self.pool is None else self.pool.batches(index)
        for rows, batch in zip(index.to(plan.device), inputs, strict=True):
            y = plan.y.index_select(0, rows.reshape(-1)).view(*rows.shape, *plan.y.shape[1:])
            if self.mixers:
                blends = [self.mixers[m].draw(rows.shape[1]) for m in models]
                # With blends, records are never read as lists of ones (see `first_layer`).
                outputs = stack.forward(mixing.blended_all(cast(Value, batch), blends), run)
                stack.backward(mixing.gradient(self.loss, outputs, y, blends))
            else:
                outputs = stack.forward(batch, run)
                stack.backward(self.loss.gradient(outputs, y))
            self.update.step(models, stack.store.gradients(), rate)

    def _dense(self, models: list[int], index: torch.Tensor) -> Iterator[Value]:
        plan = self.plan
        for rows in index.to(plan.device):
            x = plan.batch(rows.reshape(-1)).view(*rows.shape, *plan.x.shape[1:])
            if plan.augment is not None:
                x = torch.stack([plan.augment(part, self.augment[m]) for m, part in zip(models, x, strict=True)])
            yield [channels_last(part) for part in x] if self.images else x
