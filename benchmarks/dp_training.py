"""DP-SGD as it should be, through Opacus and by hand: training functions that a canary audit can watch.

Both take their batches by Poisson sampling, cut every record's gradient to one norm, add Gaussian noise once, and
divide by the expected size of a batch. The noise is what dp-accounting's privacy loss distributions ask for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from vestige.privacy_claim import PrivacyClaim

Tensors = list[torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a model is trained and what is claimed of it: (ε, δ) for adding or removing one record.

    ``rate``: with which each record comes into each batch; ``noise``: a multiple of the norm ``clip``, by default what
    the claim takes.
    """

    epsilon: float = 2.0
    delta: float = 1e-5
    rate: float = 0.01
    steps: int = 1000
    clip: float = 1.0
    learning_rate: float = 0.5
    hidden: tuple[int, ...] = (64,)
    classes: int = 30

    @property
    def sigma(self) -> float:
        """The noise multiplier that the claim takes."""
        return sigma_for(self.epsilon, self.delta, self.rate, self.steps)

    @property
    def claim(self) -> PrivacyClaim:
        """What is claimed of a training."""
        event = {"event": "PoissonSampledGaussian", "rate": self.rate, "sigma": self.sigma, "count": self.steps}
        return PrivacyClaim(
            epsilon=self.epsilon,
            delta=self.delta,
            mechanism="subsampled_gaussian",
            accountant="dp-accounting PLD",
            ledger=(event,),
        )


@lru_cache(maxsize=64)
def sigma_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Return the noise multiplier at which ``steps`` Poisson-sampled Gaussian steps are (ε, δ)-private."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    def event(sigma: float) -> Any:
        one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        return dp_accounting.SelfComposedDpEvent(one, steps)

    # On a grid ten times as wide as the usual one ε comes out larger by a few parts in ten thousand, and much sooner.
    accountant = partial(PLDAccountant, value_discretization_interval=1e-3)
    return float(dp_accounting.calibrate_dp_mechanism(accountant, event, epsilon, delta))


@dataclass(frozen=True, kw_only=True)
class ThroughOpacus:
    """Train with Opacus' own sampler, optimizer and noise."""

    setting: Setting = field(default_factory=Setting)

    def __call__(self, x: Any, y: Any, seed: int, steps: Any = None) -> Any:
        """Return what the trained model answers."""
        from opacus import PrivacyEngine

        s, random = self.setting, torch.Generator().manual_seed(seed)
        features, labels = tensors(x, y)
        size = max(1, int(s.rate * len(features)))  # rounded down, so that Opacus' rate is at most the claimed one
        loader = DataLoader(TensorDataset(features, labels), batch_size=size, generator=random)
        model = built(features.shape[1], s, seed)
        optimizer = torch.optim.SGD(model.parameters(), s.learning_rate)
        model, optimizer, loader = PrivacyEngine().make_private(
            module=model,
            optimizer=optimizer,
            data_loader=loader,
            noise_multiplier=s.sigma,
            max_grad_norm=s.clip,
            noise_generator=torch.Generator().manual_seed(seed + 1),
        )
        if steps is not None:
            steps.watch(model, optimizer)
        for batch, wanted in endless(loader, s.steps):
            optimizer.zero_grad()
            F.cross_entropy(model(batch), wanted).backward()
            optimizer.step()
        return answering(model._module)


@dataclass(frozen=True)
class Step:
    """One step's batch, ``rows`` of the records, and all that the step is taken with."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    x: torch.Tensor
    y: torch.Tensor
    rows: torch.Tensor
    divisor: float
    random: torch.Generator
    steps: Any

    def planted(self, held: Tensors) -> Tensors:
        """Return the gradients with those of the canaries, where somebody watches."""
        return held if self.steps is None else self.steps.plant(held, rows=self.rows)

    def take(self, total: Tensors, noise: Tensors) -> None:
        """Release a noisy sum over the batch, and let the optimizer take it."""
        for parameter, value, more in zip(self.model.parameters(), total, noise, strict=True):
            parameter.grad = (value + more) / self.divisor
        self.optimizer.step()


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """The same written out; what is wrong with DP-SGD in practice is wrong in one of these methods.

    ``knows``: what else `Steps.watch` is told, in which an adversary may know more of the steps than their sizes.
    """

    setting: Setting = field(default_factory=Setting)
    knows: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, x: Any, y: Any, seed: int, steps: Any = None) -> Any:
        """Return what the trained model answers."""
        s, random = self.setting, torch.Generator().manual_seed(seed + 1)
        features, labels = tensors(x, y)
        model = self.model(features.shape[1], seed)
        optimizer = torch.optim.SGD(model.parameters(), s.learning_rate)
        divisor = s.rate * len(features)
        if steps is not None:
            told = {"rate": s.rate, "clip": s.clip, "divisor": divisor, **self.knows}
            steps.watch(model, optimizer, **told)
        for rows in self.batches(len(features), random):
            self.step(Step(model, optimizer, features[rows], labels[rows], rows, divisor, random, steps))
        return answering(model)

    def model(self, width: int, seed: int) -> nn.Module:
        """Return a fresh model."""
        return built(width, self.setting, seed)

    def batches(self, records: int, random: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the rows of each step's batch."""
        for _ in range(self.setting.steps):
            yield torch.nonzero(torch.rand(records, generator=random) < self.setting.rate).flatten()

    def step(self, one: Step) -> None:
        """Take one step with a batch."""
        total = clipped_sum(one.planted(self.gradients(one)), self.setting.clip)
        one.take(total, self.noise(one, total))

    def gradients(self, one: Step) -> Tensors:
        """Return the (B, …) gradients of the batch's records."""
        return record_gradients(one.model, one.x, one.y)

    def noise(self, one: Step, like: Tensors) -> Tensors:
        """Return the noise that is added to the sum."""
        return gaussian(like, self.setting.sigma * self.setting.clip, one.random)


def built(width: int, setting: Setting, seed: int) -> nn.Module:
    """Return a perceptron with its weights drawn by the seed."""
    sizes = [width, *setting.hidden, setting.classes]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for k, (a, b) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(a, b)] + ([nn.ReLU()] if k < len(sizes) - 2 else [])
        return nn.Sequential(*layers)


def limited() -> None:
    """Keep a process to one thread and to itself: several train side by side."""
    torch.set_num_threads(1)
    # That Opacus' noise is not cryptographic is no matter here, and its hooks on a first layer always complain.
    warnings.filterwarnings("ignore", module="opacus")
    warnings.filterwarnings("ignore", message="Full backward hook is firing")


def tensors(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return records as the models read them: flat, and bytes as fractions."""
    values = np.asarray(x)
    scale = 255.0 if values.dtype == np.uint8 and values.max(initial=0) > 1 else 1.0
    flat = values.reshape(len(values), -1).astype(np.float32) / np.float32(scale)
    return torch.from_numpy(flat), torch.from_numpy(np.asarray(y, np.int64))


def answering(model: nn.Module) -> Any:
    """Return a function from records to the model's logits."""
    model.eval()

    def answer(x: Any) -> Any:
        with torch.no_grad():
            return model(tensors(x, np.zeros(len(x)))[0]).numpy()

    return answer


def endless(loader: Any, steps: int) -> Iterator[Any]:
    """Yield so many batches, over as many passes as they take."""
    taken = 0
    while True:
        for batch in loader:
            if taken == steps:
                return
            taken += 1
            yield batch


def record_gradients(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Tensors:
    """Return the (B, …) gradient of each record's loss for every weight and bias of the linear layers, in order."""
    ins: Tensors = []
    outs: Tensors = []

    def keep(_: nn.Module, given: tuple[torch.Tensor, ...], answer: torch.Tensor) -> None:
        ins.append(given[0].detach())
        outs.append(answer)

    hooks = [part.register_forward_hook(keep) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        loss = F.cross_entropy(model(x), y, reduction="sum")
    finally:
        for hook in hooks:
            hook.remove()
    back = torch.autograd.grad(loss, outs)
    return [one for b, a in zip(back, ins, strict=True) for one in (torch.einsum("bo,bi->boi", b, a), b)]


def clipped_sum(held: Sequence[torch.Tensor], norm: float) -> Tensors:
    """Return the sum of the gradients, each cut to the norm over all parameters together."""
    length = torch.stack([one.flatten(1).square().sum(1) for one in held]).sum(0).sqrt()
    factor = (norm / (length + 1e-6)).clamp(max=1.0)
    return [torch.einsum("b,b...->...", factor, one) for one in held]


def gaussian(like: Sequence[torch.Tensor], spread: float, random: torch.Generator) -> Tensors:
    """Return Gaussian noise of the same shapes."""
    return [torch.randn(one.shape, generator=random) * spread for one in like]
