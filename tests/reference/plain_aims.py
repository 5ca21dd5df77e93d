"""What defences change in the training of `plain_networks`, by automatic differentiation and arithmetic in full."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from reference.plain_networks import filled
from vestige.backends.ensemble.losses import CrossEntropy, SquaredError
from vestige.backends.ensemble.objectives import RelaxedLoss, SoftenedLoss
from vestige.seeds import rng


def scrambled(x):
    """Return 32 bits from 32, in whole numbers that cannot overflow."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return x ^ (x >> 16)


def mask(key, turn, layer, rows, columns, keep):
    """Return (rows, columns) zeros and 1 / keep."""
    low, high = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    first = scrambled((low + turn * 0x9E3779B9) & 0xFFFFFFFF)
    second = scrambled((high + (layer + 1) * 0x85EBCA6B) & 0xFFFFFFFF)
    limit = int(np.float32(keep) * 4294967296.0)
    drawn = [[scrambled(scrambled((first + i * columns + j) & 0xFFFFFFFF) ^ second) for j in range(columns)]
             for i in range(rows)]  # fmt: skip
    return torch.from_numpy((np.array(drawn) < limit) / keep).float()


def losses(steps, epoch):
    """Return the loss of an epoch."""
    aims = steps.aims
    if aims.softened is not None:
        return SoftenedLoss(aims.softened)
    if aims.relaxed is not None:
        return RelaxedLoss(aims.relaxed).at(epoch)
    return CrossEntropy() if steps.loss == "cross_entropy" else SquaredError()


def train(network, steps, x, y, rows, seed):
    """Return what `vestige.backends.compiled.training.train` should by gradient descent, and the module."""
    module, random = filled(network, network.initial(seed)), rng(seed, "order")
    blends, keys = rng(seed, "mixup"), rng(seed, "dropout")
    optimiser = torch.optim.SGD(module.parameters(), steps.lr, steps.momentum, weight_decay=steps.decay)
    x, y, aims = torch.from_numpy(x), torch.from_numpy(y), steps.aims
    for epoch in range(steps.epochs):
        optimiser.param_groups[0]["lr"] = steps.rate(epoch)
        order = torch.from_numpy(random.permutation(rows))
        loss, key = losses(steps, epoch), 0
        batches = torch.split(order, steps.batch)
        drawn = [(blends.beta(aims.mixup, aims.mixup), blends.permutation(len(b))) for b in batches if aims.mixup]
        if aims.dropout:
            key = int(keys.integers(1 << 62))
        for turn, batch in enumerate(batches):
            shown, wanted = x[batch], y[batch]
            if aims.mixup:
                share, partners = drawn[turn]
                shown = share * shown + (1 - share) * shown[partners]
            depth = 0
            for layer in module:
                shown = layer(shown)
                if aims.dropout and not isinstance(layer, nn.Linear):
                    shown = shown * mask(key, turn, depth, *shown.shape, 1 - aims.dropout)
                    depth += 1
            value = loss.value(shown, wanted)
            if aims.mixup:
                value = share * value + (1 - share) * loss.value(shown, wanted[partners])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    found = {}
    for name, layer in zip(network.names, [one for one in module if isinstance(one, nn.Linear)], strict=True):
        found[f"{name}.weight"], found[f"{name}.bias"] = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return found
