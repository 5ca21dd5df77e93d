"""Asks many models of one structure about the same records, a block of records at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from vestige.backends import memory
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.layers import Run
from vestige.backends.ensemble.pooled import unturned
from vestige.backends.ensemble.stack import Stack
from vestige.backends.ensemble.store import view_state
from vestige.backends.ensemble.values import channels_last, each

BLOCK, IMAGES = 256, 192


def block_of(x: torch.Tensor) -> int:
    """Return how many records to ask about at a time: as many as leave what lies between two layers in the caches."""
    return IMAGES if x.dim() == 4 else BLOCK


def answer_many(
    graph: Graph, states: Sequence[dict[str, torch.Tensor]], x: torch.Tensor, *, block: int
) -> Iterator[list[torch.Tensor]]:
    """Yield, for each block of records, one answer (records, …) per model, in evaluation mode."""
    with torch.no_grad(), memory.kept():
        stack = Stack(*unturned(graph, view_state(states)))
        images = graph.has("convolution") and x.dim() == 4
        for start in range(0, len(x), block):
            part = x[start : start + block]
            if images:
                part = channels_last(part)
            yield each(stack.forward([part] * len(states), Run(False)))
