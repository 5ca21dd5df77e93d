"""Fully connected networks trained by automatic differentiation from given weights, one batch after another."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from vestige.backends.architectures import activation
from vestige.seeds import rng


def module_of(network):
    """Return the torch module of a compiled engine's network, with flat records as its input."""
    layers = []
    for before, after in zip(network.units, network.units[1:], strict=False):
        layers += [nn.Linear(before, after), activation(network.activation)()]
    return nn.Sequential(*layers[:-1])


def filled(network, state):
    """Return the module with these parameters."""
    module = module_of(network)
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    for name, layer in zip(network.names, linear, strict=True):
        layer.weight.data = torch.from_numpy(state[f"{name}.weight"].copy())
        layer.bias.data = torch.from_numpy(state[f"{name}.bias"].copy())
    return module


def train(network, steps, x, y, rows, seed):
    """Return what `vestige.backends.compiled.training.train` should: parameters by name, as arrays."""
    module, random = filled(network, network.initial(seed)), rng(seed, "order")
    makes = {
        "sgd": lambda p: torch.optim.SGD(
            p, steps.lr, steps.momentum, weight_decay=steps.decay, nesterov=steps.nesterov
        ),
        "adam": lambda p: torch.optim.Adam(p, steps.lr, weight_decay=steps.decay),
        "adamw": lambda p: torch.optim.AdamW(p, steps.lr, weight_decay=steps.decay),
    }
    optimiser = makes[steps.optimiser](module.parameters())
    x = torch.from_numpy(x)
    for epoch in range(steps.epochs):
        for group in optimiser.param_groups:
            group["lr"] = steps.lr * steps.multiplier(epoch / steps.epochs)
        order = torch.from_numpy(random.permutation(rows))
        for batch in torch.split(order, steps.batch):
            optimiser.zero_grad()
            _loss(steps.loss, module(x[batch]), torch.from_numpy(y)[batch]).backward()
            optimiser.step()
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    found = {}
    for name, layer in zip(network.names, linear, strict=True):
        found[f"{name}.weight"] = layer.weight.detach().numpy()
        found[f"{name}.bias"] = layer.bias.detach().numpy()
    return found


def _loss(kind, outputs, y):
    if kind == "cross_entropy":
        return F.cross_entropy(outputs, y)
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(outputs[:, 0], y.float())
    if kind == "one_hot":
        return F.mse_loss(outputs, F.one_hot(y, outputs.shape[1]).float())
    return F.mse_loss(outputs[:, 0], y.float())
