"""DP-SGD's sum of cut gradients the obvious way: one record, one backward pass, one norm, in double precision."""

import copy

import torch


def clipped_sum(module, x, y, loss, limit):
    """Return {name: Σ g · min(1, limit / ‖g‖)} and the norms; gradients that are not finite count as zero."""
    module = copy.deepcopy(module).double().train()
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    norms = []
    for one, label in zip(x, y, strict=True):
        module.zero_grad()
        given = one[None].double() if one.is_floating_point() else one[None]
        loss(module(given), label[None]).backward()
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}
        norm = sum(float(g.square().sum()) for g in grads.values()) ** 0.5
        if not norm < float("inf"):
            norms.append(0.0)
            continue
        norms.append(norm)
        for name, g in grads.items():
            total[name] += g * min(1.0, limit / (norm + 1e-6))
    return total, torch.tensor(norms)
