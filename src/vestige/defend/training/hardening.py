"""Projected gradient ascent on records, and the step that trains on what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vestige.backends.ensemble.losses import at_epoch
from vestige.backends.ensemble.order import generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import each
from vestige.defend.training.schemes import Ask, columns, shown
from vestige.errors import ConfigError

if TYPE_CHECKING:
    from vestige.defend.training.robust import AdversarialTraining


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number among all records' features, as the module reads them."""

    low: float
    high: float


def range_of(plan: Plan) -> Range:
    """Return the range of a plan's records; raises ConfigError for codes, which cannot be moved a little."""
    if not plan.x.is_floating_point() and plan.x.dtype != torch.uint8:
        raise ConfigError(
            "Adversarial training moves records of numbers, and these are codes that the model looks up.",
            hint="Remove the defence 'adversarial_training'.",
        )
    ends = plan.floats(torch.stack([plan.x.min(), plan.x.max()]))
    return Range(float(ends[0]), float(ends[1]))


def hardened(
    judge: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    start: torch.Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    box: Range,
) -> torch.Tensor:
    """Return what climbs ``judge``, a loss, from ``start``, within ``epsilon`` of ``x`` and inside the box."""
    low, high = (x - epsilon).clamp_(min=box.low), (x + epsilon).clamp_(max=box.high)
    moved = torch.minimum(torch.maximum(start, low), high)
    for _ in range(steps):
        leaf = moved.detach().requires_grad_()
        with torch.enable_grad():
            slope = torch.autograd.grad(judge(leaf), leaf)[0]
        moved = torch.minimum(torch.maximum(moved + step_size * slope.sign(), low), high)
    return moved.detach()


class Hardening:
    """One model's training on its own adversarial examples."""

    def __init__(self, plan: Plan, options: AdversarialTraining, box: Range, seed: int) -> None:
        self.plan, self.options, self.box = plan, options, box
        self._draw, self._augment = generator(seed, "hardening"), generator(seed, "augment", plan.device)

    def inputs(self, epoch: int, rows: torch.Tensor, ask: Ask) -> torch.Tensor:
        """Return the moved records, after the plain ones where both are trained on."""
        x, o = shown(self.plan, rows, self._augment), self.options
        y, loss = self.plan.y.index_select(0, rows), at_epoch(self.plan.loss, epoch)
        size, width = o.epsilon * (self.box.high - self.box.low), o.step_size * (self.box.high - self.box.low)
        draw = torch.rand(x.shape, generator=self._draw).to(x.device)
        if o.aim == "madry":

            def judge(moved: torch.Tensor) -> torch.Tensor:
                return loss.value(ask(moved), y)

        else:
            plain = columns(ask(x)).log_softmax(1)

            def judge(moved: torch.Tensor) -> torch.Tensor:
                return (plain.exp() * (plain - columns(ask(moved)).log_softmax(1))).sum()

        start = x + size * (2 * draw - 1)
        moved = hardened(judge, x, start, epsilon=size, step_size=width, steps=o.steps, box=self.box)
        return moved if o.aim == "madry" else torch.cat([x, moved])

    def gradient(self, epoch: int, rows: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the slope of the loss on the moved records, or of the plain loss plus the divergence."""
        y, loss = self.plan.y.index_select(0, rows), at_epoch(self.plan.loss, epoch)
        if self.options.aim == "madry":
            return each(loss.gradient([outputs], y.unsqueeze(0)))[0]
        found = torch.zeros_like(outputs)
        found[: len(y)] = each(loss.gradient([outputs[: len(y)]], y.unsqueeze(0)))[0]
        leaf = outputs.detach().requires_grad_()
        plain, moved = (columns(part).log_softmax(1) for part in (leaf[: len(y)], leaf[len(y) :]))
        divergence = (plain.exp() * (plain - moved)).sum() / len(y)
        return found + self.options.beta * torch.autograd.grad(divergence, leaf)[0]
