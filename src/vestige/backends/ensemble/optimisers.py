"""Updates of all parameters of all models in one fused call, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

Parameters = list[torch.Tensor]


class Update(Protocol):
    """One optimiser's state for M models."""

    def step(self, models: Sequence[int], grads: Parameters, multiplier: float) -> None:
        """Move these models' tensors (one model, or all); ``multiplier`` scales the learning rate."""
        ...


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """What moves the weights, and how far."""

    kind: Literal["sgd", "adam", "adamw"] | Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def on(self, models: Sequence[Parameters]) -> Update:
        """Return a fresh state for each model's tensors."""
        if not isinstance(self.kind, str):
            return OwnUpdate(models, self.kind)
        return Sgd(models, self) if self.kind == "sgd" else Adam(models, self)

    def of_torch(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Return torch's own optimiser for one module's parameters."""
        if not isinstance(self.kind, str):
            return self.kind(parameters)
        if self.kind == "sgd":
            return torch.optim.SGD(
                parameters, self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov, fused=True
            )
        make = torch.optim.Adam if self.kind == "adam" else torch.optim.AdamW
        return make(parameters, self.lr, weight_decay=self.weight_decay, fused=True)


@dataclass(eq=False)
class Tensors:
    """The same list of tensors for each model, and for all of them one after another."""

    own: list[Parameters]

    def __post_init__(self) -> None:
        self.joined = [tensor for one in self.own for tensor in one]

    def of(self, models: Sequence[int]) -> Parameters:
        """Return the tensors of one model, or of all."""
        return self.own[models[0]] if len(models) == 1 else self.joined

    def like(self) -> Tensors:
        """Return zeros of the same shapes."""
        return Tensors([[torch.zeros_like(t) for t in one] for one in self.own])


class Sgd:
    """Stochastic gradient descent with momentum, Nesterov's or the plain one."""

    def __init__(self, models: Sequence[Parameters], options: Optimiser) -> None:
        self.values, self.options = Tensors([list(one) for one in models]), options
        self.moments = self.values.like() if options.momentum else Tensors([[] for _ in models])

    def step(self, models: Sequence[int], grads: Parameters, multiplier: float) -> None:
        """Apply one update."""
        o = self.options
        torch._fused_sgd_(
            self.values.of(models), grads, self.moments.of(models), weight_decay=o.weight_decay, momentum=o.momentum,
            lr=o.lr * multiplier, dampening=0.0, nesterov=o.nesterov, maximize=False, is_first_step=False,
        )  # fmt: skip


class Adam:
    """Adam, or AdamW with decoupled weight decay."""

    def __init__(self, models: Sequence[Parameters], options: Optimiser) -> None:
        self.values, self.options = Tensors([list(one) for one in models]), options
        self.first, self.second = self.values.like(), self.values.like()
        self.steps = Tensors([[torch.zeros((), device=p.device) for p in one] for one in models])
        self.update: Any = torch._fused_adamw_ if options.kind == "adamw" else torch._fused_adam_

    def step(self, models: Sequence[int], grads: Parameters, multiplier: float) -> None:
        """Apply one update."""
        o, steps = self.options, self.steps.of(models)
        torch._foreach_add_(steps, 1)
        self.update(
            self.values.of(models), grads, self.first.of(models), self.second.of(models), [], steps,
            lr=o.lr * multiplier, beta1=0.9, beta2=0.999, weight_decay=o.weight_decay, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip


class OwnUpdate:
    """A user's ``callable(params) -> torch.optim.Optimizer`` per model; the schedule scales its learning rates."""

    def __init__(
        self, models: Sequence[Parameters], make: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer]
    ) -> None:
        self.leaves = [[p.detach().requires_grad_() for p in one] for one in models]
        self.optimisers = [make(one) for one in self.leaves]
        self.rates = [[group["lr"] for group in one.param_groups] for one in self.optimisers]

    def step(self, models: Sequence[int], grads: Parameters, multiplier: float) -> None:
        """Hand each model its gradients and step."""
        given = iter(grads)
        for m in models:
            for group, rate in zip(self.optimisers[m].param_groups, self.rates[m], strict=True):
                group["lr"] = rate * multiplier
            for leaf in self.leaves[m]:
                leaf.grad = next(given)
            with torch.enable_grad():
                self.optimisers[m].step()
