"""Drift: what a released gradient holds of the records at large, to be taken off before canaries are looked for.

At the end of training a canary's push is held up by those of all others, and at its beginning all push one way; a sum
over steps would see little else. The adversary of differential privacy knows every record but the one in question, so
the mean gradient is known; how much of it a step released is fitted, weight matrix by weight matrix, which makes up for
clipping, learning rates and divisors of any kind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from vestige.seeds import rng

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Encode = Callable[[Any, Any], tuple[torch.Tensor, torch.Tensor]]
Named = dict[str, torch.Tensor]

TOGETHER = 4096
"""Records whose mean gradient is taken at once."""
SAMPLE = 512
"""Records that stand for all where gradients have to be taken and cut one by one."""
CHUNK_BYTES = 1 << 26
"""Memory for the gradients of single records that are held at once."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Batch:
    """Records as the model reads them."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Batch:
        """Return the same on another device."""
        return Batch(self.x.to(device), self.y.to(device))

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the records in blocks."""
        for start in range(0, len(self), size):
            yield Batch(self.x[start : start + size], self.y[start : start + size])


class Drift:
    """The mean gradient of ``known``: batches with the weight that each record of theirs counts by.

    ``clip``: the norm to which single gradients are cut before they are added up, None where they are not. Then a
    sample of the records, by weight and drawn anew for every step, stands for all of them.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        known: Sequence[tuple[Batch, float]],
        *,
        clip: float | None = None,
        seed: int = 0,
    ) -> None:
        self._module, self._loss, self._known, self._clip = bare(module), loss, known, clip
        self._buffers = dict(module.named_buffers())
        self._random = rng(seed, "canary", "drift")
        self.block = max(1, CHUNK_BYTES // (4 * max(sum(p.numel() for p in module.parameters()), 1)))
        self._mean_of = grad(self._value)
        self.one_by_one = vmap(grad(self._value_of_one), in_dims=(None, 0, 0))

    def off(self, released: Named, values: Named) -> Named:
        """Return what is left of the released gradients without their share of the mean one."""
        mean = self._together(values) if self._clip is None else self._cut(values, self._clip)
        left = {}
        for name, tensor in released.items():
            size = mean[name].square().sum()
            part_of = (mean[name] * tensor).sum() / size if size > 0 else size
            left[name] = tensor - part_of * mean[name]
        return left

    def _together(self, values: Named) -> Named:
        total = {name: torch.zeros_like(value) for name, value in values.items()}
        for records, weight in self._known:
            for part in records.parts(TOGETHER):
                for name, tensor in self._mean_of(values, part.x, part.y).items():
                    total[name].add_(tensor, alpha=weight * len(part))
        return total

    def _cut(self, values: Named, clip: float) -> Named:
        x, y = (torch.cat([getattr(records, side) for records, _ in self._known]) for side in "xy")
        weights = np.concatenate([np.full(len(records), weight) for records, weight in self._known])
        if len(weights) > SAMPLE:
            drawn = torch.from_numpy(self._random.choice(len(weights), SAMPLE, p=weights / weights.sum())).to(x.device)
            x, y, weights = x[drawn], y[drawn], np.ones(SAMPLE)
        share = torch.from_numpy(weights.astype(np.float32)).to(x.device)
        total = {name: torch.zeros_like(value) for name, value in values.items()}
        for start in range(0, len(x), self.block):
            stop = start + self.block
            own = self.one_by_one(values, x[start:stop], y[start:stop])
            factor = share[start:stop] * (clip / (lengths(own) + TINY)).clamp(max=1.0)
            for name, tensor in own.items():
                total[name].add_(torch.einsum("b,b...->...", factor, tensor))
        return total

    def _value(self, values: Named, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._loss(functional_call(self._module, (values, self._buffers), (x,)), y)

    def _value_of_one(self, values: Named, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._value(values, x.unsqueeze(0), y.unsqueeze(0))


def lengths(own: Named) -> torch.Tensor:
    """Return the norm of each record's gradient over all parameters."""
    return torch.stack([tensor.square().flatten(1).sum(1) for tensor in own.values()]).sum(0).sqrt()


def bare(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode without the hooks that others have put on it."""
    clean = copy.deepcopy(module).eval()
    for part in clean.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            getattr(part, name).clear()
    return clean


def held(parameters: Named) -> tuple[Named, Named]:
    """Return the parameters' values, and their gradients, zero where there are none."""
    values = {name: p.detach() for name, p in parameters.items()}
    released = {name: torch.zeros_like(p) if p.grad is None else p.grad.detach() for name, p in parameters.items()}
    return values, released


def usual_loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of class scores, or the mean squared error of numbers."""
    if y.is_floating_point():
        return F.mse_loss(outputs.reshape(y.shape), y)
    if outputs.shape[-1] == 1 or outputs.dim() == 1:
        return F.binary_cross_entropy_with_logits(outputs.reshape(y.shape), y.to(outputs.dtype))
    return F.cross_entropy(outputs, y)


def plain(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features as float32, and labels as whole numbers or float32."""
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    labels = np.asarray(y)
    kind = np.int64 if labels.dtype.kind in "iu" else np.float32
    return torch.from_numpy(np.array(x, np.float32)), torch.from_numpy(labels.astype(kind))
