"""The objectives of `vestige.backends.objectives` in torch: by hand for stacked models, and for automatic gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vestige.backends.ensemble.losses import Loss
from vestige.backends.ensemble.values import Value, each
from vestige.backends.objectives import FLOOR, Levels, Objective, Relaxed


def loss_of(objective: Objective, classes: int) -> Loss:
    """Return an objective as a loss for so many classes."""
    return RelaxedLoss(objective) if isinstance(objective, Relaxed) else SoftenedLoss(objective.levels(classes))


def _columns(outputs: torch.Tensor) -> torch.Tensor:
    """Return logits of two classes where there is one column, which is that of the second."""
    if outputs.dim() > 1 and outputs.shape[-1] > 1:
        return outputs
    one = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(one), one], 1)


@dataclass(frozen=True, eq=False)
class SoftenedLoss:
    """Cross-entropy against softened labels, less entropy."""

    levels: Levels

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return the gradient for every model; ``y`` is (M, batch)."""
        if isinstance(outputs, torch.Tensor) and outputs.dim() == 3 and outputs.shape[-1] > 1:
            flat = self._rows(outputs.reshape(-1, outputs.shape[-1]), y.reshape(-1))
            return flat.div_(outputs.shape[1]).view_as(outputs)
        parts = []
        for o, labels in zip(each(outputs), y, strict=True):
            grad = self._rows(_columns(o), labels).div_(len(o))
            parts.append(grad if o.dim() > 1 and o.shape[-1] > 1 else grad[:, 1].reshape(o.shape))
        return parts

    def _rows(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return each record's own gradient."""
        logs = torch.log_softmax(logits, 1)
        p, wanted = logs.exp(), self._wanted(logs, y)
        grad = p * wanted.sum(1, keepdim=True) - wanted if self.levels.rest < 0 else p - wanted
        if self.levels.penalty:
            terms = p * logs
            grad += self.levels.penalty * (terms - p * terms.sum(1, keepdim=True))
        return grad

    def _wanted(self, logs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        wanted = torch.full_like(logs, self.levels.rest)
        if self.levels.rest < 0:
            wanted = wanted.masked_fill(logs.detach() <= FLOOR, 0.0)
        return wanted.scatter(1, y.unsqueeze(1), self.levels.top)

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean loss."""
        logs = torch.log_softmax(_columns(outputs), 1)
        loss = -(self._wanted(logs, y) * logs).sum(1)
        if self.levels.penalty:
            loss = loss + self.levels.penalty * (logs.exp() * logs).sum(1)
        return loss.mean()


@dataclass(frozen=True, eq=False)
class RelaxedLoss:
    """Cross-entropy held at a level, as it is in one epoch."""

    objective: Relaxed
    epoch: int = 0

    def at(self, epoch: int) -> RelaxedLoss:
        """Return the loss of an epoch."""
        return replace(self, epoch=epoch)

    def gradient(self, outputs: Value, y: torch.Tensor) -> Value:
        """Return the gradient for every model; ``y`` is (M, batch)."""
        parts = []
        for o, labels in zip(each(outputs), y, strict=True):
            grad = self._rows(_columns(o), labels)
            parts.append(grad if o.dim() > 1 and o.shape[-1] > 1 else grad[:, 1].reshape(o.shape))
        return parts

    def _rows(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logs, own = torch.log_softmax(logits, 1), y.unsqueeze(1)
        p = logs.exp()
        true = torch.zeros_like(p).scatter_(1, own, 1.0)
        plain = p - true
        above = self._above(-logs.gather(1, own))
        if self.epoch % 2 == 0:
            found = torch.where(above, plain, -plain)
        else:
            found = torch.where(above, plain, self._flattening(logs, p, true, own, plain))
        return found / len(logits)

    def _above(self, losses: torch.Tensor) -> torch.Tensor:
        return (losses if self.objective.per_record else losses.mean()) > self.objective.level

    def _flattening(
        self, logs: torch.Tensor, p: torch.Tensor, true: torch.Tensor, own: torch.Tensor, plain: torch.Tensor
    ) -> torch.Tensor:
        o, rest = self.objective, logs.shape[1] - 1
        sure = p.gather(1, own)
        kept = sure.clamp(max=o.upper)
        pulled = p - (true * kept + (1 - true) * ((1 - kept) / rest))
        if o.flatten == "paper":
            return pulled
        mine = logs.gather(1, own)
        slope = (logs.sum(1, keepdim=True) - mine) / rest - mine
        through = torch.where(sure <= o.upper, slope * sure, 0.0) * (true - p)
        wrong = (p.argmax(1, keepdim=True) != own).to(p.dtype)
        return wrong * (pulled + through) - plain

    def value(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the loss, whose gradient is `gradient`."""
        o, own = self.objective, y.unsqueeze(1)
        logs = torch.log_softmax(_columns(outputs), 1)
        losses = -logs.gather(1, own)
        above = self._above(losses.detach())
        if self.epoch % 2 == 0:
            return torch.where(above, losses, -losses).mean()
        sure = logs.gather(1, own).exp()
        if o.flatten == "paper":
            sure = sure.detach()
        kept = sure.clamp(max=o.upper)
        others = logs.sum(1, keepdim=True) + losses
        flat = kept * losses - (1 - kept) / (logs.shape[1] - 1) * others
        if o.flatten == "reference":
            wrong = (logs.argmax(1, keepdim=True) != own).to(flat.dtype)
            flat = wrong * flat - losses
        return torch.where(above, losses, flat).mean()
