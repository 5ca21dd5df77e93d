"""Trains models whose steps look at more than their own batch: at records to compare with, at a second network, or at
records made harder.

A `Scheme` says, for one model, what it is shown in each step and how the loss changes with its answers; every draw is
from the model's own seed. Models that can be read layer by layer are trained together where their batches are alike,
and end with the same bytes as alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Protocol

import torch
from torch import nn

from vestige.backends import memory
from vestige.backends.ensemble.engine import OnEpoch, State, _both, _initialised, _own_randomness, _threads
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.layers import Run
from vestige.backends.ensemble.order import Order, generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.stack import Stack
from vestige.backends.ensemble.store import ALIGNMENT, gather
from vestige.backends.ensemble.values import channels_last, each
from vestige.backends.ensemble.watching import Watch
from vestige.backends.torch_setup import Setup
from vestige.errors import ConfigError
from vestige.seeds import seed_for
from vestige.target import IntArray

Ask = Callable[[torch.Tensor], torch.Tensor]
"""A model as it is now, in evaluation mode: records to answers, differentiable in the records alone."""


class Scheme(Protocol):
    """One model's training; ``rows`` are the row numbers of a batch of its members, on the plan's device."""

    def inputs(self, epoch: int, rows: torch.Tensor, ask: Ask) -> torch.Tensor:
        """Return what the model reads in a step."""
        ...

    def gradient(self, epoch: int, rows: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return how the step's loss changes with what the model answered to `inputs`."""
        ...


def train(
    setup: Setup,
    rows: Sequence[IntArray],
    seeds: Sequence[int],
    schemes: Sequence[Scheme],
    *,
    threads: int = 1,
    on_epoch: OnEpoch | None = None,
) -> list[State]:
    """Return the trained state of each model; ``on_epoch`` gets its number, the epoch's, and a copy of its state."""
    plan, graph = setup.plan, setup.graph
    modules = [_initialised(plan, seed) for seed in seeds]
    normalises = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules[0].modules()) if modules else False
    orders = [
        Order.of(own, plan.batch_size, seed, join_last_single=normalises) for own, seed in zip(rows, seeds, strict=True)
    ]
    watch = None if plan.stopping is None else Watch(plan, graph, plan.stopping, len(modules))
    seen = _both(watch, on_epoch)
    with _threads(plan.device, threads), memory.kept():
        if graph is None:
            states = []
            for k, (module, order, scheme) in enumerate(zip(modules, orders, schemes, strict=True)):
                with _own_randomness(plan.device, order.seed):
                    over = None if watch is None else partial(watch.over, k)
                    states.append(_alone(plan, module, order, scheme, None if seen is None else partial(seen, k), over))
        elif modules:
            states = _Together(plan, graph, modules, orders, schemes).train(
                seen, None if watch is None else watch.all_over
            )
        else:
            states = []
    return states if watch is None else [watch.state(k) for k in range(len(states))]


class _Together:
    """Models of one structure, whose batches go through it together where they are of one, aligned, length."""

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        modules: Sequence[nn.Module],
        orders: Sequence[Order],
        schemes: Sequence[Scheme],
    ) -> None:
        self.plan, self.orders, self.schemes = plan, orders, schemes
        count = len(modules)
        with torch.no_grad():
            self.store = gather(modules, plan.device)
            self.images = graph.has("convolution") and plan.x.dim() == 4
            if graph.has("convolution") and plan.device.type == "cpu":
                for slot in self.store.slots.values():
                    if slot.values[0].dim() == 4:
                        slot.values[:] = [channels_last(v) for v in slot.values]
            self.together = Stack(graph, self.store)
            self.alone = [self.together] if count == 1 else [Stack(graph, self.store.select(m)) for m in range(count)]
            self.update = plan.optimiser.on([[s.values[m] for s in self.store.slots.values()] for m in range(count)])
        self.dropout = [generator(order.seed, "dropout", plan.device) for order in orders]
        self.module = modules[0].to(plan.device).eval()

    def train(self, seen: OnEpoch | None, over: Callable[[], bool] | None) -> list[State]:
        count = len(self.orders)
        for epoch in range(self.plan.epochs):
            rate = self.plan.rate(epoch)
            batches = [list(order.batches()) for order in self.orders]
            common = min(map(len, batches)) if count > 1 else 0
            for step in range(max(map(len, batches))):
                alike = step < common and len({len(own[step]) for own in batches}) == 1
                groups = [list(range(count))] if alike else [[m] for m in range(count) if step < len(batches[m])]
                for models in groups:
                    self._step(models, epoch, [batches[m][step].to(self.plan.device) for m in models], rate)
            if seen is not None:
                for m in range(count):
                    seen(m, epoch, self.store.state(m))
            if over is not None and over():
                break
        return [self.store.state(m) for m in range(count)]

    def _step(self, models: list[int], epoch: int, rows: list[torch.Tensor], rate: float) -> None:
        asks = [partial(self._ask, m) for m in models]
        x = [self.schemes[m].inputs(epoch, own, ask) for m, own, ask in zip(models, rows, asks, strict=True)]
        # A batch that ends inside a vector would be computed differently with and without a neighbour.
        apart = len(models) > 1 and (len({len(one) for one in x}) > 1 or len(x[0]) % ALIGNMENT)
        groups = [[k] for k in range(len(models))] if apart else [list(range(len(models)))]
        for group in groups:
            own = [models[k] for k in group]
            stack = self.together if len(own) == len(self.orders) else self.alone[own[0]]
            with torch.no_grad():
                shown = [channels_last(x[k]) for k in group] if self.images else torch.stack([x[k] for k in group])
                outputs = each(stack.forward(shown, Run(True, [self.dropout[m] for m in own])))
            slopes = [self.schemes[m].gradient(epoch, rows[k], o) for m, k, o in zip(own, group, outputs, strict=True)]
            with torch.no_grad():
                stack.backward(torch.stack(slopes))
                self.update.step(own, stack.store.gradients(), rate)

    def _ask(self, model: int, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            # Without the stack, which does not carry gradients to the records.
            state = {name: slot.values[model].detach() for name, slot in self.store.slots.items()}
            answer: torch.Tensor = torch.func.functional_call(self.module, (state, self.store.buffers[model]), (x,))
            return answer
        with torch.no_grad():
            return each(self.alone[model].forward([channels_last(x) if self.images else x], Run(False)))[0]


def _alone(
    plan: Plan,
    module: nn.Module,
    order: Order,
    scheme: Scheme,
    seen: Callable[[int, State], None] | None,
    over: Callable[[], bool] | None,
) -> State:
    """Train one module of any structure by automatic differentiation."""
    torch.manual_seed(seed_for(order.seed, "dropout"))
    images = plan.x.dim() == 4 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    module = module.to(plan.device)
    if images:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = plan.optimiser.of_torch([p for p in module.parameters() if p.requires_grad])
    rates = [group["lr"] for group in optimiser.param_groups]
    devices = [plan.device] if plan.device.type == "cuda" else []

    def ask(x: torch.Tensor) -> torch.Tensor:
        module.eval()
        # Weights take no part in what is asked, and a module that draws random numbers even now must not train on
        # others for having been asked.
        frozen = {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}
        with torch.random.fork_rng(devices=devices), nullcontext() if x.requires_grad else torch.no_grad():
            answer: torch.Tensor = torch.func.functional_call(module, frozen, (channels_last(x) if images else x,))
        module.train()
        return answer

    module.train()
    for epoch in range(plan.epochs):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * plan.rate(epoch)
        for index in order.batches():
            rows = index.to(plan.device)
            x = scheme.inputs(epoch, rows, ask)
            optimiser.zero_grad(set_to_none=True)
            outputs = module(channels_last(x) if images else x)
            if not isinstance(outputs, torch.Tensor):
                raise ConfigError(
                    "This defence judges one answer per record, and the module has several while it trains.",
                    hint="Choose a model with one exit, or another defence.",
                )
            outputs.backward(scheme.gradient(epoch, rows, outputs.detach()))  # type: ignore[no-untyped-call]
            optimiser.step()
        if seen is not None:
            seen(epoch, {name: tensor.detach().clone() for name, tensor in module.state_dict().items()})
        if over is not None and over():
            break
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def shown(plan: Plan, rows: torch.Tensor, augment: torch.Generator) -> torch.Tensor:
    """Return a batch of members as the recipe trains on it."""
    x = plan.batch(rows)
    return x if plan.augment is None else plan.augment(x, augment)


def columns(outputs: torch.Tensor) -> torch.Tensor:
    """Return logits of two classes where there is one column, which is that of the second."""
    if outputs.dim() > 1 and outputs.shape[-1] > 1:
        return outputs
    one = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(one), one], 1)
