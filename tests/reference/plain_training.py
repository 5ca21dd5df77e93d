"""The loop everybody writes: one module, torch.optim, one batch after another. Slow, and what training means."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from vestige.seeds import seed_for


def train_plainly(build, x, y, rows, seed, *, epochs, batch_size, optimizer, schedule="constant", loss=F.cross_entropy):
    """Return a trained module, in training mode; ``optimizer`` maps parameters to a torch optimiser."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, "weights"))
        module = build()
    shuffles = torch.Generator().manual_seed(seed_for(seed, "order"))
    optimiser = optimizer(module.parameters())
    rule = {"constant": lambda e: 1.0, "cosine": lambda e: 0.5 * (1 + math.cos(math.pi * e / epochs))}[schedule]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, rule)
    rows = torch.as_tensor(rows)
    module.train()
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows), generator=shuffles)]
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            optimiser.zero_grad()
            loss(module(x[batch]), y[batch]).backward()
            optimiser.step()
        scheduler.step()
    return module
