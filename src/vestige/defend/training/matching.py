"""The squared maximum mean discrepancy of two sets of answers, and the step that makes it small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.backends.ensemble import mixing
from vestige.backends.ensemble.losses import at_epoch
from vestige.backends.ensemble.mixing import Blend, Mixer
from vestige.backends.ensemble.order import generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import each
from vestige.defend.training.schemes import Ask, columns, shown
from vestige.errors import UsageError
from vestige.seeds import rng
from vestige.target import IntArray

if TYPE_CHECKING:
    from vestige.defend.training.mixup_mmd import MixupMMD

SMALLEST = 1e-12


def discrepancy(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the unbiased squared MMD of (n, C) and (m, C) points: 0 on average where both have one law.

    The kernel is Gaussian, of the median distance among all points, which no gradient goes through; n, m ≥ 2.
    """
    points = torch.cat([first, second])
    squares = (points.unsqueeze(0) - points.unsqueeze(1)).square().sum(2)
    n, total = len(first), len(points)
    apart = torch.ones(total, total, dtype=torch.bool, device=points.device).triu_(1)
    width = squares.detach()[apart].median().clamp_min(SMALLEST)
    kernel = torch.exp(-squares / (2 * width))
    own, other, cross = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    m = total - n
    return (
        (own.sum() - own.diagonal().sum()) / (n * (n - 1))
        + (other.sum() - other.diagonal().sum()) / (m * (m - 1))
        - 2 * cross.mean()
    )


def slope(outputs: torch.Tensor, members: int) -> torch.Tensor:
    """Return how the discrepancy changes with the answers of the first ``members`` rows: nothing goes to the others."""
    leaf = outputs.detach().requires_grad_()
    scores = columns(leaf).softmax(1)
    return torch.autograd.grad(discrepancy(scores[:members], scores[members:].detach()), leaf)[0]


class Matching:
    """One model's training: a batch, blended, and in each step members and others of one class."""

    def __init__(self, plan: Plan, options: MixupMMD, rows: IntArray, reserve: IntArray, seed: int) -> None:
        self.plan, self.options = plan, options
        self._draw, self._augment = rng(seed, "matching"), generator(seed, "augment", plan.device)
        self._mixer = Mixer(seed, options.spread) if options.spread else None
        labels = plan.y.cpu().numpy()
        classes = np.intersect1d(_repeated(labels[rows]), _repeated(labels[reserve]))
        self._sides = [(rows[labels[rows] == c], reserve[labels[reserve] == c]) for c in classes]
        if options.strength and not self._sides:
            raise UsageError(
                f"The defence '{options.name}' matches answers class by class, and no class has two members and two "
                "records of the defender's own.",
                hint="Raise [data] population, or train on more records.",
            )
        self._blend: Blend | None = None
        self._counts = (0, 0)

    def inputs(self, epoch: int, rows: torch.Tensor, ask: Ask) -> torch.Tensor:  # noqa: ARG002
        """Return the blended batch, and behind it the drawn members and others, each filled up to ``matched``."""
        x = shown(self.plan, rows, self._augment)
        self._blend = None if self._mixer is None else self._mixer.draw(len(rows))
        if self._blend is not None:
            x = mixing.blended(x, self._blend)
        if not self._matches(epoch):
            return x
        sides = self._sides[self._draw.integers(len(self._sides))]
        parts = [self._draw.permutation(side)[: self.options.matched] for side in sides]
        self._counts = (len(parts[0]), len(parts[1]))
        # Steps of one length can be taken by many models together.
        padded = np.concatenate([np.resize(part, self.options.matched) for part in parts])
        return torch.cat([x, self.plan.batch(torch.from_numpy(padded).to(x.device))])

    def gradient(self, epoch: int, rows: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the slope of the blended loss, and of the weighted discrepancy."""
        y, loss, batch = self.plan.y.index_select(0, rows), at_epoch(self.plan.loss, epoch), len(rows)
        own = [outputs[:batch]]
        if self._blend is None:
            plain = each(loss.gradient(own, y.unsqueeze(0)))[0]
        else:
            plain = each(mixing.gradient(loss, own, y.unsqueeze(0), [self._blend]))[0]
        if len(outputs) == batch:
            return plain
        found = torch.zeros_like(outputs)
        found[:batch] = plain
        members, others = self._counts
        at = batch + self.options.matched
        compared = torch.cat([outputs[batch : batch + members], outputs[at : at + others]])
        found[batch : batch + members] = self.options.strength * slope(compared, members)[:members]
        return found

    def _matches(self, epoch: int) -> bool:
        started = epoch >= self.options.start * self.plan.epochs
        return bool(self.options.strength) and started


def _repeated(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the labels that occur at least twice."""
    found, counts = np.unique(labels, return_counts=True)
    return np.asarray(found[counts >= 2])
