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
from vestige.backends.ensemble.losses import CrossEntropy
from vestige.backends.ensemble.order import generator
from vestige.defend.private.clipping import SLACK, Clip
from vestige.defend.private.dp_batched import State, own_gradients, own_randomness
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
) -> State:
    """Return the trained state of one module. Raises ConfigError for a module that Opacus refuses."""
    with warned_once(), own_randomness(random.seed, "dropout"):
        steps = _Steps(plan, module, terms, clip, random, mode)
        batches = poisson(rows, terms.rate, terms.steps * plan.epochs, random.generator("sample"))
        for epoch in range(plan.epochs):
            for group, rate in zip(steps.optimiser.param_groups, steps.rates, strict=True):
                group["lr"] = rate * plan.rate(epoch)
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
        self.plan, self.terms, self.clip, self.mode = plan, terms, clip, mode
        self.module = module.to(plan.device).train()
        self.wrapped = _wrapped(self.module, mode)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        inner = plan.optimiser.of_torch(list[torch.Tensor](self.parameters))
        self.rates = [group["lr"] for group in inner.param_groups]
        kind = DPOptimizerFastGradientClipping if mode == "ghost" else DPOptimizer
        self.optimiser: Any = kind(
            inner,
            noise_multiplier=terms.noise,
            max_grad_norm=clip.norm,
            expected_batch_size=terms.divisor,
            loss_reduction="mean",
            generator=random.generator("noise") if plan.device.type == "cpu" else None,
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
            norms = self._ghost(x, y) if self.mode == "ghost" else self._each(x, y)
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

    def _each(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave every record's gradient on every parameter, and return their norms."""
        losses(self.plan, self.wrapped(x), y).sum().backward()  # type: ignore[no-untyped-call]
        for p in self.parameters:
            held = getattr(p, "grad_sample", None)
            if held is None:
                p.grad_sample = p.new_zeros(len(x), *p.shape)  # type: ignore[attr-defined]
            elif isinstance(held, list):
                p.grad_sample = torch.stack(held).sum(0)  # type: ignore[attr-defined]
        squares = torch.stack([p.grad_sample.flatten(1).square().sum(1) for p in self.parameters]).sum(0)  # type: ignore[attr-defined]
        bad = ~squares.isfinite()
        if bad.any():
            for p in self.parameters:
                p.grad_sample[bad] = 0.0  # type: ignore[attr-defined]
            squares = squares.masked_fill(bad, 0.0)
        return squares.sqrt()

    def _ghost(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Leave the sum of cut gradients on every parameter by two backward passes, and return the norms."""
        norms, good = torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool)
        while True:
            # Both passes must drop the same units.
            own = losses(self.plan, self.wrapped(x[good]), y[good])
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
        weights = (self.clip.norm / (found + SLACK)).clamp(max=1.0)
        self.wrapped.disable_hooks()
        (weights * own).sum().backward()
        self.wrapped.enable_hooks()
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        return norms


def losses(plan: Plan, answer: Any, y: torch.Tensor) -> torch.Tensor:
    """Return (R,) every record's own loss, with its gradient; where there are several exits, the sum of theirs."""
    if not isinstance(answer, torch.Tensor):
        return torch.stack([losses(plan, one, y) for one in answer]).sum(0)
    if isinstance(plan.loss, CrossEntropy) and answer.dim() == 2 and answer.shape[1] > 1:
        return torch.nn.functional.cross_entropy(answer, y, reduction="none")
    # The gradient with respect to the answers is each record's own, so this product has the loss's gradient.
    return (answer * own_gradients(plan, answer.detach(), y)).view(len(y), -1).sum(1)


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
    if mode == "ghost":
        return GradSampleModuleFastGradientClipping(module, loss_reduction="sum", use_ghost_clipping=True)
    return GradSampleModule(module, loss_reduction="sum", force_functorch=mode == "functorch")


@contextmanager
def warned_once() -> Iterator[None]:
    """Keep to ourselves what Opacus always says: that noise is not cryptographic, that first layers have no inputs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="opacus")
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield
