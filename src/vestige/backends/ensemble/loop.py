"""Trains one module of any structure by automatic differentiation, without what makes plain loops slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from vestige.backends.ensemble import mixing
from vestige.backends.ensemble.losses import Loss, at_epoch
from vestige.backends.ensemble.mixing import Blend, Mixer
from vestige.backends.ensemble.order import Order, generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import channels_last
from vestige.seeds import seed_for


def train(
    plan: Plan,
    module: nn.Module,
    order: Order,
    on_epoch: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
    over: Callable[[], bool] | None = None,
) -> dict[str, torch.Tensor]:
    """Return the trained state of ``module``; ``on_epoch`` gets each epoch's number and a copy of the state after it,
    and ``over`` is then asked whether to stop.

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
    mixer = None if plan.mixup is None else Mixer(order.seed, plan.mixup)
    for epoch in range(plan.epochs):
        loss = at_epoch(plan.loss, epoch)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * plan.rate(epoch)
        for index in order.batches():
            rows = index.to(plan.device)
            x, y = plan.batch(rows), plan.y.index_select(0, rows)
            if plan.augment is not None:
                x = plan.augment(x, augment)
            if images:
                x = channels_last(x)
            blend = None if mixer is None else mixer.draw(len(y))
            if blend is not None:
                x = mixing.blended(x, blend)
            optimiser.zero_grad(set_to_none=True)
            _loss(loss, module(x), y, blend).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if on_epoch is not None:
            on_epoch(epoch, _state(module))
        if over is not None and over():
            break
    return _state(module)


def _loss(
    loss: Loss, answer: torch.Tensor | Sequence[torch.Tensor], y: torch.Tensor, blend: Blend | None
) -> torch.Tensor:
    """Return the loss; of a module that in training answers from several exits, the sum of theirs."""
    if isinstance(answer, torch.Tensor):
        return loss.value(answer, y) if blend is None else mixing.value(loss, answer, y, blend)
    return torch.stack([_loss(loss, one, y, blend) for one in answer]).sum()


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
