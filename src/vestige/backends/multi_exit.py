"""Networks with an exit after every block: a record that one of them is sure of goes no further."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from vestige.backends.architectures import Shape, mlp
from vestige.errors import ConfigError

CONFIDENCE = 0.9


class MultiExit(nn.Module):
    """Blocks in a row, and a small classifier, the exit, after each of them.

    In training it answers a tuple, one answer per exit, whose losses the recipe adds up. Asked in evaluation mode, a
    record leaves at the first exit whose largest probability is at least ``confidence``, at the last exit in any case,
    and the blocks behind are not run for it; so answers to some records take less time.

    Teerapittayanon, McDanel & Kung, BranchyNet: fast inference via early exiting from deep neural networks, ICPR 2016.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], exits: Sequence[nn.Module], *, confidence: float = CONFIDENCE
    ) -> None:
        super().__init__()
        if not blocks or len(blocks) != len(exits):
            raise ConfigError(f"Expected one exit for each block, got {len(blocks)} blocks and {len(exits)} exits.")
        self.blocks = nn.ModuleList(blocks)
        self.exits = nn.ModuleList(exits)
        self.confidence = confidence

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return every exit's logits (R, C) in training, else those of the exit where each record left."""
        return self.all_exits(x) if self.training else self.early(x)[0]

    def through(self) -> nn.Module:
        """Return the network without its early exits, of the same weights: what white-box signals look into."""
        return nn.Sequential(*self.blocks, self.exits[-1])

    def all_exits(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return every exit's logits, first exit first."""
        answers = []
        for block, leave in zip(self.blocks, self.exits, strict=True):
            x = block(x)
            answers.append(leave(x))
        return tuple(answers)

    def early(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (R, C) logits and (R,) the exit, counted from 0, where each record left."""
        going = torch.arange(len(x), device=x.device)
        parts: list[tuple[torch.Tensor, torch.Tensor, int]] = []
        for depth, (block, leave) in enumerate(zip(self.blocks, self.exits, strict=True)):
            x = block(x)
            logits = leave(x)
            sure = torch.softmax(logits.detach(), 1).amax(1) >= self.confidence
            if depth == len(self.blocks) - 1 or bool(sure.all()):
                parts.append((going, logits, depth))
                break
            if bool(sure.any()):
                parts.append((going[sure], logits[sure], depth))
                x, going = x[~sure], going[~sure]
        rows, answers, depths = zip(*parts, strict=True)
        left = torch.cat([torch.full_like(own, depth) for own, depth in zip(rows, depths, strict=True)])
        if len(parts) == 1:
            return answers[0], left
        order = torch.argsort(torch.cat(rows))
        return torch.cat(answers)[order], left[order]


def multi_exit(
    shape: Shape,
    outputs: int,
    *,
    hidden: Sequence[int] = (256, 256, 256, 256),
    norm: str = "none",
    activation_name: str = "relu",
    dropout: float = 0.0,
    confidence: float = CONFIDENCE,
) -> MultiExit:
    """Fully connected layers with an exit after each: ``hidden`` says how many and how wide."""
    if outputs < 2:
        raise ConfigError(
            "The model 'multi_exit' leaves early when it is sure of a class, and a regression has no classes.",
            hint="Use 'mlp' for a regression.",
        )
    if not hidden:
        raise ConfigError("Expected at least one hidden layer for 'multi_exit', got none.")
    blocks, exits = [], []
    for before, units in pairwise([shape, *((int(width),) for width in hidden)]):
        whole = mlp(before, outputs, hidden=units, norm=norm, activation_name=activation_name, dropout=dropout)
        *block, leave = whole.children()
        blocks.append(nn.Sequential(*block))
        exits.append(leave)
    return MultiExit(blocks, exits, confidence=confidence)
