"""One model of any structure at a time, through Opacus: its gradients per record, its optimiser.

The batches, the noise's generator and the norm are ours, the same as in `dp_batched`: Opacus' adaptive clipping counts
wrongly, and its sampler can put made-up records in an empty batch's place. Neither is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from vestige.backends.ensemble import Plan
from vestige.backends.ensemble.losses import CrossEntropy, at_epoch
from vestige.backends.ensemble.order import generator
from vestige.defend.private.clipping import Clip, shares
from vestige.defend.private.dp_batched import State, own_gradients, own_randomness
from vestige.defend.private.dp_probe import check_apart
from vestige.defend.private.randomness import Randomness, poisson
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError, MissingDependency
from vestige.target import IntArray

Mode = Literal["hooks", "functorch", "ghost"]


def train_one(
    plan: Plan,
    module: nn.Module,
    terms: Terms,
    clip: Clip,
    rows: IntArray,
    random: Randomness,
    mode: Mode = "hooks",
    on_epoch: Callable[[int, State], None] | None = None,
    rate: torch.Tensor | float | None = None,
) -> State:
    """Return the trained state of one module, with the terms' sampling rate unless there is another.

    Raises ConfigError for a module that Opacus refuses.
    """
    with warned_once(), own_randomness(random.seed, "dropout"):
        steps = _Steps(plan, module, terms, clip, random, mode)
        often = terms.rate if rate is None else rate
        batches = poisson(rows, often, terms.steps * plan.epochs, random.generator("sample"))
        for epoch in range(plan.epochs):
            for group, first in zip(steps.optimiser.param_groups, steps.rates, strict=True):
                group["lr"] = first * plan.rate(epoch)
            steps.now = epoch
            for _ in range(terms.steps):
                steps.take(next(batches), terms.noise * terms.factors[epoch])
            if on_epoch is not None:
                on_epoch(epoch, steps.state())
        return steps.state()


class _Steps:
    def __init__(self, plan: Plan, module: nn.Module, terms: Terms, clip: Clip, random: Randomness, mode: Mode) -> None:
        try:
            from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
        except ImportError as error:
            raise MissingDependency("opacus", extra="dp", purpose="Private training of this module") from error
        self.plan, self.terms, self.clip, self.mode, self.now = plan, terms, clip, mode, 0
        self.module = module.to(plan.device).train()
        self.wrapped = _wrapped(self.module, mode)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        check_apart(plan, self.module, self.gradients_of)
        inner = plan.optimiser.of_torch(list[torch.Tensor](self.parameters))
        self.rates = [group["lr"] for group in inner.param_groups]
        kind = DPOptimizerFastGradientClipping if mode == "ghost" else DPOptimizer
        self.optimiser: Any = kind(
            inner,
            noise_multiplier=terms.noise,
            max_grad_norm=clip.norm,
            expected_batch_size=terms.divisor,
            loss_reduction="mean",
            generator=random.generator("noise", plan.device),
            secure_mode=random.release,
        )
        self.augment = generator(random.seed, "augment", plan.device)

    def take(self, rows: torch.Tensor, noise: float) -> None:
        """Take one noisy step with a batch, which may be empty."""
        clip, optimiser = self.clip, self.optimiser
        optimiser.zero_grad(set_to_none=True)
        optimiser.max_grad_norm, optimiser.noise_multiplier = clip.norm, clip.spread(noise) / clip.norm
        norms = torch.zeros(0)
        index = rows.to(self.plan.device)
        if not len(rows):
            self._empty()
        else:
            x, y = self.plan.batch(index), self.plan.y.index_select(0, index)
            if self.plan.augment is not None:
                x = self.plan.augment(x, self.augment)
            norms = self._ghost(rows, x, y) if self.mode == "ghost" else self._each(rows, x, y)
        optimiser.step()
        clip.observe(norms, self.terms.divisor)

    def state(self) -> State:
        """Return a copy of the module's parameters and buffers."""
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

    def _empty(self) -> None:
        """Leave the gradients of a batch without records."""
        for p in self.parameters:
            if self.mode == "ghost":
                p.grad = torch.zeros_like(p)
            else:
                p.grad_sample = p.new_zeros(0, *p.shape)  # type: ignore[attr-defined]

    def gradients_of(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        """Leave what Opacus finds of each record on every parameter, and return it: gradients, or their norms."""
        self._forward(x, y).sum().backward(retain_graph=self.mode == "ghost")  # type: ignore[no-untyped-call]
        if self.mode == "ghost":
            return [p._norm_sample for p in self.parameters]  # type: ignore[attr-defined]
        for p in self.parameters:
            held = p.grad_sample  # type: ignore[attr-defined]
            if held is None:
                p.grad_sample = p.new_zeros(len(x), *p.shape)  # type: ignore[attr-defined]
            elif isinstance(held, list):
                p.grad_sample = torch.stack(held).sum(0)  # type: ignore[attr-defined]
        return [p.grad_sample for p in self.parameters]  # type: ignore[attr-defined]

    def _forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for p in self.parameters:
            # What an earlier batch left would count again for a parameter that this one does not reach.
            p.grad_sample, p._norm_sample = None, torch.zeros(len(x), device=p.device)  # type: ignore[attr-defined]
        return losses(self.plan, self.wrapped(x), y, self.now)

    def _each(self, rows: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave every record's gradient on every parameter, and return their norms."""
        self.gradients_of(x, y)
        squares = torch.stack([p.grad_sample.flatten(1).square().sum(1) for p in self.parameters]).sum(0)  # type: ignore[attr-defined]
        bad = ~squares.isfinite()
        if bad.any():
            for p in self.parameters:
                p.grad_sample[bad] = 0.0  # type: ignore[attr-defined]
            squares = squares.masked_fill(bad, 0.0)
        norms = squares.sqrt()
        limits = torch.zeros_like(norms)
        limits[:] = self.clip.limits(rows, norms)
        if bool((limits < self.optimiser.max_grad_norm).any()):
            # Opacus cuts to one norm alone; whoever has a shorter one is cut before.
            for p in self.parameters:
                p.grad_sample *= shares(norms, limits).view(-1, *[1] * p.dim())  # type: ignore[attr-defined]
        return norms

    def _ghost(self, rows: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the sum of cut gradients on every parameter by two backward passes, and return the norms.

        Opacus takes them in single precision from products of activations and gradients, and so may take one for too
        short whose parts cancel; the claim of a training in this mode says so (`loop.GHOST`).
        """
        norms, good = torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool)
        while True:
            # Both passes must drop the same units.
            own = self._forward(x[good], y[good])
            own.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            found = self.wrapped.get_norm_sample()
            fine = found.isfinite()
            norms[good] = torch.where(fine, found, torch.zeros_like(found)).cpu()
            if fine.all():
                break
            # Zero times infinity is no number, so such a record has to leave the batch.
            good[good.clone()] = fine.cpu()
            self.optimiser.zero_grad(set_to_none=True)
            if not good.any():
                self._empty()
                return norms
        self.optimiser.zero_grad(set_to_none=True)
        limits = torch.zeros(len(x), device=found.device)
        limits[:] = self.clip.limits(rows, norms)
        weights = shares(found, limits[good.to(found.device)])
        self.wrapped.disable_hooks()
        (weights * own).sum().backward()  # type: ignore[no-untyped-call]
        self.wrapped.enable_hooks()
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        return norms


def losses(plan: Plan, answer: Any, y: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    """Return (R,) every record's own loss, with its gradient; where there are several exits, the sum of theirs."""
    if not isinstance(answer, torch.Tensor):
        return torch.stack([losses(plan, one, y, epoch) for one in answer]).sum(0)
    if isinstance(at_epoch(plan.loss, epoch), CrossEntropy) and answer.dim() == 2 and answer.shape[1] > 1:
        return torch.nn.functional.cross_entropy(answer, y, reduction="none")
    # The gradient with respect to the answers is each record's own, so this product has the loss's gradient.
    return (answer * own_gradients(plan, answer.detach(), y, epoch)).view(len(y), -1).sum(1)


def _wrapped(module: nn.Module, mode: Mode) -> Any:
    from opacus import GradSampleModule
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.validators import ModuleValidator

    reasons = ModuleValidator.validate(module, strict=False)
    if reasons:
        raise ConfigError(
            f"Opacus cannot train this module: {str(reasons[0]).splitlines()[0].rstrip('.')}.",
            hint="Exchange the layer for one that treats every record by itself.",
        )
    # Not strict: Opacus would refuse any buffer, and `check_apart` refuses those that training changes.
    if mode == "ghost":
        return GradSampleModuleFastGradientClipping(module, loss_reduction="sum", strict=False, use_ghost_clipping=True)
    return GradSampleModule(module, loss_reduction="sum", strict=False, force_functorch=mode == "functorch")


@contextmanager
def warned_once() -> Iterator[None]:
    """Keep to ourselves what Opacus always says: that noise is not cryptographic, that first layers have no inputs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="opacus")
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield
