"""Mixup: every batch is blended with itself in another order, and so is what is wanted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vestige.backends.ensemble.losses import Loss
from vestige.backends.ensemble.values import Value, apply, each
from vestige.errors import ConfigError
from vestige.seeds import rng


@dataclass(frozen=True, eq=False)
class Blend:
    """One batch's: the records' ``share``, and the ``partners`` that the rest comes from."""

    share: float
    partners: torch.Tensor


class Mixer:
    """One model's blends, drawn from its own seed: shares from Beta(spread, spread), partners from a permutation."""

    def __init__(self, seed: int, spread: float) -> None:
        self._random, self._spread = rng(seed, "mixup"), spread

    def draw(self, batch: int) -> Blend:
        """Return the next batch's blend."""
        share = float(self._random.beta(self._spread, self._spread))
        return Blend(share, torch.from_numpy(self._random.permutation(batch)))


def blended(x: torch.Tensor, blend: Blend) -> torch.Tensor:
    """Return one model's batch, blended."""
    if not x.is_floating_point():
        raise ConfigError("Mixup blends records of numbers, and these are codes that the model looks up.")
    return x * blend.share + x.index_select(0, blend.partners.to(x.device)) * (1 - blend.share)


def blended_all(x: Value, blends: Sequence[Blend]) -> Value:
    """Return every model's batch, blended with its own."""
    parts = [blended(part, blend) for part, blend in zip(each(x), blends, strict=True)]
    return torch.stack(parts) if isinstance(x, torch.Tensor) else parts


def gradient(loss: Loss, outputs: Value, y: torch.Tensor, blends: Sequence[Blend]) -> Value:
    """Return the gradient of both halves of the blended loss; ``y`` is (M, batch, …)."""
    others = [part.index_select(0, b.partners.to(part.device)) for part, b in zip(y, blends, strict=True)]
    first, second = loss.gradient(outputs, y), loss.gradient(outputs, torch.stack(others))
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        shares = first.new_tensor([b.share for b in blends]).view(-1, *[1] * (first.dim() - 1))
        return apply(torch.lerp, second, first, shares.expand_as(first))
    pairs = zip(each(first), each(second), blends, strict=True)
    return [torch.lerp(b, a, blend.share) for a, b, blend in pairs]


def value(loss: Loss, answer: torch.Tensor, y: torch.Tensor, blend: Blend) -> torch.Tensor:
    """Return one model's blended loss, for automatic differentiation."""
    other = y.index_select(0, blend.partners.to(y.device))
    return blend.share * loss.value(answer, y) + (1 - blend.share) * loss.value(answer, other)
