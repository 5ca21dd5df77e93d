"""Eight ways in which DP-SGD goes wrong, each one method of `ByHand` away from what is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from dp_training import ByHand, Step, Tensors, clipped_sum, record_gradients

PARTS = 4
VIEWS = 8
KEPT = 0.9


@dataclass(frozen=True, kw_only=True)
class SilentLayer(ByHand):
    """The last layer gets no noise."""

    def noise(self, one: Step, like: Tensors) -> Tensors:
        """Return noise for all but the last weight and bias."""
        *first, weight, bias = super().noise(one, like)
        return [*first, torch.zeros_like(weight), torch.zeros_like(bias)]


@dataclass(frozen=True, kw_only=True)
class NoiseOncePerBatch(ByHand):
    """A batch comes in parts, each takes a step of its own, and only the last one of them is noisy."""

    def step(self, one: Step) -> None:
        """Take as many steps as there are parts."""
        for k, places in enumerate(torch.tensor_split(torch.arange(len(one.rows)), PARTS)):
            part = replace(one, x=one.x[places], y=one.y[places], rows=one.rows[places])
            total = clipped_sum(part.planted(self.gradients(part)), self.setting.clip)
            part.take(total, self.noise(one, total) if k == PARTS - 1 else [torch.zeros_like(held) for held in total])


@dataclass(frozen=True, kw_only=True)
class ClipAfterAveraging(ByHand):
    """The batch's mean is cut to the norm, and not each record's gradient; the noise is that of a mean."""

    def step(self, one: Step) -> None:
        """Take one step with a mean that was cut."""
        mean = [held.sum(0, keepdim=True) / one.divisor for held in one.planted(self.gradients(one))]
        total = [held * one.divisor for held in clipped_sum(mean, self.setting.clip)]
        one.take(total, self.noise(one, total))


@dataclass(frozen=True, kw_only=True)
class NoiseDividedTwice(ByHand):
    """The noise is made for the mean, added to the sum, and so divided by the batch once more."""

    def noise(self, one: Step, like: Tensors) -> Tensors:
        """Return noise as small as on a mean."""
        return [held / one.divisor for held in super().noise(one, like)]


@dataclass(frozen=True, kw_only=True)
class FixedBatches(ByHand):
    """Batches are cut in the records' order, the same in every pass, and accounted for as if they were sampled."""

    def batches(self, records: int, _: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the same rows in every pass."""
        cut = torch.tensor_split(torch.arange(records), passing(self.setting.rate))
        for k in range(self.setting.steps):
            yield cut[k % len(cut)]


@dataclass(frozen=True, kw_only=True)
class SeedReused(ByHand):
    """The noise of every step comes from a generator with the same seed."""

    def noise(self, one: Step, like: Tensors) -> Tensors:
        """Return the same noise as ever."""
        return super().noise(replace(one, random=torch.Generator().manual_seed(0)), like)


@dataclass(frozen=True, kw_only=True)
class BatchNormLeftIn(ByHand):
    """The hidden layer is normalised over the batch, and its running statistics come with every released model."""

    def model(self, width: int, seed: int) -> nn.Module:
        """Return a perceptron with one hidden layer, normalised."""
        units = self.setting.hidden[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first, last = nn.Linear(width, units), nn.Linear(units, self.setting.classes)
        return nn.Sequential(first, nn.BatchNorm1d(units, affine=False), nn.ReLU(), last)


@dataclass(frozen=True, kw_only=True)
class NoiseOverViews(ByHand):
    """A record's gradient is the mean over views with features left out; the noise is divided by their number."""

    def gradients(self, one: Step) -> Tensors:
        """Return the records' mean gradients over the views."""
        total: Tensors = []
        for _ in range(VIEWS):
            kept = torch.rand(one.x.shape, generator=one.random) < KEPT
            view = record_gradients(one.model, one.x * kept, one.y)
            total = [a.add_(b) for a, b in zip(total, view, strict=True)] if total else view
        return [held.div_(VIEWS) for held in total]

    def noise(self, one: Step, like: Tensors) -> Tensors:
        """Return too little noise."""
        return [held / VIEWS for held in super().noise(one, like)]


def passing(rate: float) -> int:
    """Return how many batches make a pass."""
    return max(1, round(1 / rate))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bug and the audit that looks for it: which canaries, and what the adversary knows of the steps."""

    name: str
    training: type[ByHand]
    canaries: str = "gradient"
    knows: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = (64,)

    @property
    def reading(self) -> str:
        """What is read from the steps, in words."""
        told = {
            "steps_a_pass": "each canary's own batch of every pass",
            "noise": "what two steps in a row do not share",
            "shown": "the running means, against each canary's activations",
            "rate": "each step by its noise",
        }
        return next((words for name, words in told.items() if name in self.knows), "each layer and step by its noise")


def cases(rate: float) -> list[Case]:
    """Return the bugs, for trainings with this sampling rate."""
    return [
        Case(name="no noise on the last layer", training=SilentLayer),
        Case(
            name="noise once per batch, steps per micro-batch", training=NoiseOncePerBatch, knows={"rate": rate / PARTS}
        ),
        Case(name="clipping after averaging", training=ClipAfterAveraging),
        Case(name="noise divided by the batch twice", training=NoiseDividedTwice),
        Case(name="fixed batches accounted as sampled", training=FixedBatches, knows={"steps_a_pass": passing(rate)}),
        Case(name="noise seed reused every step", training=SeedReused, knows={"noise": "repeated"}),
        Case(
            name="batch normalisation left in",
            training=BatchNormLeftIn,
            canaries="natural",
            knows={"shown": "statistics"},
            hidden=(256,),
        ),
        Case(name="noise divided by the number of views", training=NoiseOverViews),
    ]
