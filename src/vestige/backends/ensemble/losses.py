"""The gradient of each model's loss with respect to its outputs; losses average over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from vestige.backends.ensemble.values import Value, each


class Loss(Protocol):
    """How a batch's outputs are judged."""

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return d loss / d outputs for every model; ``y`` is (M, batch)."""
        ...

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return one model's loss, for automatic differentiation."""
        ...


def at_epoch(loss: Loss, epoch: int) -> Loss:
    """Return what a loss is in an epoch; most are the same in all."""
    at: Callable[[int], Loss] | None = getattr(loss, "at", None)
    return loss if at is None else at(epoch)


class CrossEntropy:
    """Cross-entropy of logits; one column means the logit of the second of two classes."""

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return softmax minus the one-hot label, over the batch size."""
        if isinstance(outputs, torch.Tensor) and outputs.dim() == 3:
            return self._rows(outputs.reshape(-1, outputs.shape[-1]), y.reshape(-1), outputs.shape[1]).view_as(outputs)
        return [self._rows(o, labels, len(o)) for o, labels in zip(each(outputs), y, strict=True)]

    @staticmethod
    def _rows(logits: torch.Tensor, y: torch.Tensor, batch: int) -> torch.Tensor:
        if logits.dim() == 1 or logits.shape[-1] == 1:
            return (torch.sigmoid(logits) - y.view_as(logits)) / batch
        share = 1.0 / batch
        grad = torch.softmax(logits, 1).mul_(share)
        return grad.scatter_add_(1, y.unsqueeze(1), grad.new_full((1, 1), -share).expand(len(y), 1))

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        if outputs.dim() == 1 or outputs.shape[-1] == 1:
            return F.binary_cross_entropy_with_logits(outputs.view(-1), y.to(outputs.dtype))
        return F.cross_entropy(outputs, y)


class SquaredError:
    """Mean squared error: of the predicted number, or of class outputs against one-hot labels."""

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return twice the residual, over the number of outputs."""
        pairs = zip(each(outputs), y, strict=True)
        return [(o - _wanted(o, labels)) * (2.0 / o.numel()) for o, labels in pairs]

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error."""
        return F.mse_loss(outputs, _wanted(outputs, y))


def _wanted(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if y.is_floating_point() or outputs.dim() == 1 or outputs.shape[-1] == 1:
        return y.to(outputs.dtype).view_as(outputs)
    return F.one_hot(y, outputs.shape[-1]).to(outputs.dtype)


class OwnLoss:
    """A user's ``function(outputs, y) -> scalar``."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        self.function = function

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Differentiate the function with respect to the outputs alone."""
        grads = []
        with torch.enable_grad():
            for o, labels in zip(each(outputs), y, strict=True):
                leaf = o.detach().requires_grad_()
                grads.append(torch.autograd.grad(self.function(leaf, labels), leaf)[0])
        return grads

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the user's loss."""
        loss: torch.Tensor = self.function(outputs, y)
        return loss
