"""The loss of a student: cross-entropy against another model's probabilities."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vestige.backends.ensemble.values import Value, each


class SoftCrossEntropy:
    """Cross-entropy of logits against (batch, C) probabilities: the divergence from them, up to their own entropy.

    One column of logits means the logit of the second of two classes.
    """

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return softmax minus the probabilities, over the batch size; ``y`` is (M, batch, C)."""
        if isinstance(outputs, torch.Tensor) and outputs.dim() == 3:
            flat = self._rows(outputs.reshape(-1, outputs.shape[-1]), y.reshape(-1, y.shape[-1]), outputs.shape[1])
            return flat.view_as(outputs)
        return [self._rows(o, wanted, len(o)) for o, wanted in zip(each(outputs), y, strict=True)]

    @staticmethod
    def _rows(logits: torch.Tensor, wanted: torch.Tensor, batch: int) -> torch.Tensor:
        if logits.dim() == 1 or logits.shape[-1] == 1:
            return (torch.sigmoid(logits) - wanted[:, 1].view_as(logits)) / batch
        return torch.softmax(logits, 1).sub_(wanted).mul_(1.0 / batch)

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        if outputs.dim() == 1 or outputs.shape[-1] == 1:
            return F.binary_cross_entropy_with_logits(outputs.view(-1), y[:, 1].to(outputs.dtype))
        return F.cross_entropy(outputs, y)
