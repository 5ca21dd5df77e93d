"""MemGuard's phase I as it was published: one record at a time, gradients by automatic differentiation, every round
from the start. The second implementation that the batched search is held against, and the yardstick of its speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def module_of(net: Any) -> torch.nn.Module:
    """Return the defender's classifier (its weights and biases) as torch layers that end in one logit."""
    layers: list[torch.nn.Module] = []
    for place, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data = torch.from_numpy(weight.T.copy())
        linear.bias.data = torch.from_numpy(bias.copy())
        layers += [linear] if place == len(net.weights) - 1 else [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers).requires_grad_(False)


def slow_phase_one(
    logits: Any, classifier: torch.nn.Module, *, c1: float = 1.0, c2: float = 10.0, dtype: torch.dtype = torch.float32
) -> np.ndarray:
    """Return the noised scores of one record, or its own where none were found."""
    z = torch.as_tensor(np.asarray(logits), dtype=dtype)
    own = torch.softmax(z, 0)
    label = int(z.argmax())

    def judge(scores: torch.Tensor) -> torch.Tensor:
        return classifier(scores.sort(descending=True).values[None])[0, 0]

    before = float(judge(own))
    found = own
    if abs(float(torch.sigmoid(torch.tensor(before, dtype=torch.float64))) - 0.5) <= 1e-5:
        return found.numpy().astype(np.float64)
    c3 = 0.1
    for _ in range(7):
        noise = torch.zeros_like(z)
        turned = False
        for _ in range(300):
            noise.requires_grad_(True)
            moved = z + noise
            scores = torch.softmax(moved, 0)
            others = torch.cat([moved[:label], moved[label + 1 :]])
            loss = c1 * judge(scores).abs() + c2 * torch.relu(others.max() - moved[label])
            loss = loss + c3 * (scores - own).abs().sum()
            (slope,) = torch.autograd.grad(loss, noise)
            length = slope.norm()
            noise = noise.detach()
            if not float(length) > 0:
                break
            noise = noise - 0.1 * slope / length
            moved = z + noise
            kept = float(moved[label]) > float(torch.cat([moved[:label], moved[label + 1 :]]).max())
            if kept and float(judge(torch.softmax(moved, 0))) * before <= 0:
                turned = True
                break
        if not turned:
            break
        found = torch.softmax(z + noise, 0)
        c3 *= 10
    return found.numpy().astype(np.float64)
