"""Trains one module of any structure by automatic differentiation, without what makes plain loops slow."""

from __future__ import annotations

import torch
from torch import nn

from vestige.backends.ensemble.optimisers import Update
from vestige.backends.ensemble.order import Order, generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import channels_last
from vestige.seeds import seed_for


def train(plan: Plan, module: nn.Module, order: Order) -> dict[str, torch.Tensor]:
    """Return the trained state of ``module``.

    Layers that draw random numbers read torch's global generator, so each model starts it from its own seed.
    """
    torch.manual_seed(seed_for(order.seed, "dropout"))
    images = plan.x.dim() == 4 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    module = module.to(plan.device)
    if images:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.train()
    parameters = [p for p in module.parameters() if p.requires_grad]
    update: Update | None = None
    moved: list[int] = []
    augment = generator(order.seed, "augment", plan.device)
    for epoch in range(plan.epochs):
        rate = plan.rate(epoch)
        for index in order.batches():
            index = index.to(plan.device)
            x, y = plan.x.index_select(0, index), plan.y.index_select(0, index)
            if plan.augment is not None:
                x = plan.augment(x, augment)
            if images:
                x = channels_last(x)
            loss = plan.loss.value(module(x), y)
            if not loss.requires_grad:
                return _state(module)
            grads = torch.autograd.grad(loss, parameters, allow_unused=True)
            with torch.no_grad():
                if update is None:
                    # Parameters that the loss does not depend on stay as they are, as with torch.optim.
                    moved = [k for k, grad in enumerate(grads) if grad is not None]
                    update = plan.optimiser.on([[parameters[k].detach() for k in moved]])
                update.step([0], [grads[k] for k in moved], rate)
    return _state(module)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
