"""Trains one module of any structure by automatic differentiation, without what makes plain loops slow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from vestige.backends.ensemble.order import Order, generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import channels_last
from vestige.seeds import seed_for


def train(
    plan: Plan,
    module: nn.Module,
    order: Order,
    on_epoch: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
) -> dict[str, torch.Tensor]:
    """Return the trained state of ``module``; ``on_epoch`` gets each epoch's number and a copy of the state after it.

    Layers that draw random numbers read torch's global generator, so each model starts it from its own seed.
    """
    torch.manual_seed(seed_for(order.seed, "dropout"))
    images = plan.x.dim() == 4 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    module = module.to(plan.device)
    if images:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.train()
    optimiser = plan.optimiser.of_torch([p for p in module.parameters() if p.requires_grad])
    rates = [group["lr"] for group in optimiser.param_groups]
    augment = generator(order.seed, "augment", plan.device)
    for epoch in range(plan.epochs):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * plan.rate(epoch)
        for index in order.batches():
            rows = index.to(plan.device)
            x, y = plan.batch(rows), plan.y.index_select(0, rows)
            if plan.augment is not None:
                x = plan.augment(x, augment)
            if images:
                x = channels_last(x)
            optimiser.zero_grad(set_to_none=True)
            plan.loss.value(module(x), y).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if on_epoch is not None:
            on_epoch(epoch, _state(module))
    return _state(module)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
