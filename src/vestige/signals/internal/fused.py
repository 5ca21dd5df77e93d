"""Lengths of single records' gradients for small convolutional networks, from the kernels that train them.

Of the answers that a pooling throws away nobody needs a gradient, and the compiled kernels never compute one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from vestige.backends.ensemble.graph import trace
from vestige.backends.ensemble.layers import Run
from vestige.backends.ensemble.pooled import KIND, PooledConvolution
from vestige.backends.ensemble.stack import Stack
from vestige.backends.ensemble.store import view_state
from vestige.backends.ensemble.values import channels_last, each
from vestige.backends.ensemble.weighted import Linear
from vestige.errors import ModelError

Tensor = torch.Tensor


class Found(NamedTuple):
    """Logits; and by each layer's path, in the order of the calls, what it read and the lengths (R,)."""

    logits: Tensor
    given: dict[str, Tensor]
    lengths: dict[str, Tensor]


class Fused:
    """One network as the graph that trains it. Raises ModelError where some layer's gradients take another way."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        graph = trace(module, x) if x.dim() == 4 and x.device.type == "cpu" else None
        if graph is None:
            raise ModelError("Not a network of images that the kernels know.")
        state = {name: t.detach() for name, t in module.state_dict().items()}
        self.stack = Stack(graph, view_state([state]))
        nodes = self.stack.graph.nodes
        if not self.stack.graph.has(KIND) or any(
            n.module is not None and n.kind not in (KIND, "linear") for n in nodes
        ):
            raise ModelError("A layer of another kind.")

    def read(self, x: Tensor, slope: Callable[[Tensor], Tensor]) -> Found:
        """Answer a batch, and take the gradients of the sum of logits times what ``slope`` makes of them."""
        with torch.no_grad():
            nodes, layers = self.stack.graph.nodes, self.stack.layers
            values: list[list[Tensor]] = [[channels_last(x)]]
            for node, layer in zip(nodes, layers, strict=True):
                run = Run(node.kind != "dropout")  # a model that is asked drops nothing
                values.append(each(layer.forward([values[i] for i in node.inputs], run)))
            logits = values[-1][0]
            pending: dict[int, Tensor] = {len(nodes): slope(logits)}
            lengths: dict[str, Tensor] = {}
            for k in range(len(nodes) - 1, -1, -1):
                node, layer = nodes[k], layers[k]
                needed = [self.stack.needed[i] for i in node.inputs]
                grad = pending.pop(k + 1)
                if isinstance(layer, PooledConvolution):
                    lengths[str(node.module)] = layer.lengths(grad)
                    back = [layer.back(grad) if needed[0] else None]
                elif isinstance(layer, Linear):
                    lengths[str(node.module)], found = layer.single(grad, needed=needed[0])
                    back = [found]
                else:
                    back = [None if one is None else each(one)[0] for one in layer.backward([grad], needed)]
                for i, part in zip(node.inputs, back, strict=True):
                    if part is not None and self.stack.needed[i]:
                        pending[i] = pending[i] + part if i in pending else part
        weighted = [(str(node.module), node.inputs[0]) for node in nodes if node.module is not None]
        return Found(logits, {path: values[i][0] for path, i in weighted}, lengths)
