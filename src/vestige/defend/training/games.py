"""The game of adversarial regularisation: one attack network, and the steps of both sides."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from vestige.backends.ensemble.losses import at_epoch
from vestige.backends.ensemble.order import generator
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.values import each
from vestige.defend.training.schemes import Ask, columns, shown
from vestige.seeds import seed_for
from vestige.target import IntArray

if TYPE_CHECKING:
    from vestige.defend.training.adversarial import AdversarialRegularization


class AttackNetwork(nn.Module):
    """Answers (R, C) and labels (R,) to (R,) logits of membership."""

    def __init__(self, classes: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in pairwise((classes, *hidden)):
            layers += [nn.Linear(into, out), nn.ReLU()]
        self.answers = nn.Sequential(*layers)
        # A linear layer over one-hot labels is a table of its columns.
        self.labels = nn.Embedding(classes, hidden[-1])
        self.both = nn.Sequential(nn.Linear(2 * hidden[-1], hidden[-1]), nn.ReLU(), nn.Linear(hidden[-1], 1))

    def forward(self, answers: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        found: torch.Tensor = self.both(torch.cat([self.answers(answers), F.relu(self.labels(y))], 1)).squeeze(1)
        return found


class Game:
    """One model's training, and the network it plays against."""

    def __init__(
        self,
        plan: Plan,
        options: AdversarialRegularization,
        rows: IntArray,
        reserve: IntArray,
        seed: int,
        classes: int,
    ) -> None:
        self.plan, self.options = plan, options
        self._members, self._others = (torch.as_tensor(r, dtype=torch.int64) for r in (rows, reserve))
        self._size = min(plan.batch_size, len(rows), len(reserve))
        self._draw, self._augment = generator(seed, "game"), generator(seed, "augment", plan.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "attack_network"))
            self.network = AttackNetwork(classes, options.hidden).to(plan.device)
        self._adam = torch.optim.Adam(self.network.parameters(), options.attack_lr, fused=True)

    def inputs(self, epoch: int, rows: torch.Tensor, ask: Ask) -> torch.Tensor:
        """Let the attack network take its steps, and return the model's batch."""
        if self._plays(epoch):
            for _ in range(self.options.attack_steps):
                self.attack(ask)
        return shown(self.plan, rows, self._augment)

    def gradient(self, epoch: int, rows: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Return the slope of the plain loss plus the weighted gain."""
        y = self.plan.y.index_select(0, rows)
        plain = each(at_epoch(self.plan.loss, epoch).gradient([outputs], y.unsqueeze(0)))[0]
        if not self._plays(epoch):
            return plain
        return plain + self.options.strength * self.gain_slope(outputs, y)

    def attack(self, ask: Ask) -> float:
        """Take one step of the attack network up its gain; return the gain before it."""
        drawn = [
            own[torch.randperm(len(own), generator=self._draw)[: self._size]] for own in (self._members, self._others)
        ]
        rows = torch.cat(drawn).to(self.plan.device)
        with torch.no_grad():
            answers = self._view(ask(self.plan.batch(rows)))
        logits = self.network(answers, self.plan.y.index_select(0, rows))
        members, others = logits[: self._size], logits[self._size :]
        loss = (F.softplus(-members).mean() + F.softplus(others).mean()) / 2
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return -float(loss.detach())

    def gain_slope(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return how half the mean of log h changes with the model's answers; the network's weights take no part."""
        leaf = outputs.detach().requires_grad_()
        gain = F.logsigmoid(self.network(self._view(leaf), y)).mean() / 2
        return torch.autograd.grad(gain, leaf)[0]

    def _view(self, outputs: torch.Tensor) -> torch.Tensor:
        logits = columns(outputs)
        return logits.softmax(1) if self.options.sees == "probabilities" else logits

    def _plays(self, epoch: int) -> bool:
        return self.options.strength > 0 and epoch >= self.options.warm_up
