"""Individual accounting the obvious way: one record, one step, one Rényi order after another."""

import copy
import math

import torch


def sampled_cost(order, rate, noise):
    """Return the Rényi divergence of whole order of one Poisson-sampled Gaussian step, by its binomial sum."""
    terms = [
        math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
        + k * math.log(rate) + (order - k) * math.log1p(-rate) + (k * k - k) / (2 * noise**2)
        for k in range(order + 1)
    ]  # fmt: skip
    top = max(terms)
    return (top + math.log(sum(math.exp(one - top) for one in terms))) / (order - 1)


def filtered_descent(module, x, y, loss, *, limit, allowed, steps, lr, divisor):
    """Return the parameters after full-batch descent without noise, and how many steps each record took part in.

    A record takes part while the squares of its own cut gradients, this step's included, stay within ``allowed`` times
    the squared limit; once it does not, it never does again.
    """
    module = copy.deepcopy(module).double().train()
    spent, gone, used = [0.0] * len(x), [False] * len(x), [0] * len(x)
    for _ in range(steps):
        total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
        for i, (one, label) in enumerate(zip(x, y, strict=True)):
            module.zero_grad()
            loss(module(one[None].double()), label[None]).backward()
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in module.parameters()))
            cost = min(norm, limit) ** 2
            gone[i] = gone[i] or spent[i] + cost > allowed * limit**2
            if gone[i]:
                continue
            spent[i] += cost
            used[i] += 1
            for name, p in module.named_parameters():
                total[name] += p.grad * min(1.0, limit / (norm + 1e-6))
        with torch.no_grad():
            for name, p in module.named_parameters():
                p -= lr * total[name] / divisor
    return {name: p.detach() for name, p in module.named_parameters()}, used
