"""A graph bound to the parameters of M models: one forward and one backward pass for all of them."""

from __future__ import annotations

from typing import Any

import torch

from vestige.backends.ensemble import indicators, layers, pooled, weighted
from vestige.backends.ensemble.graph import Graph, Node
from vestige.backends.ensemble.layers import Layer, Run
from vestige.backends.ensemble.store import ParameterStore
from vestige.backends.ensemble.values import Value, apply

KINDS: dict[str, type[Layer]] = {
    "activation": layers.Activation,
    "dropout": layers.Dropout,
    "reshape": layers.Reshape,
    "add": layers.Add,
    "multiply": layers.Multiply,
    "concatenate": layers.Concatenate,
    "max_pool": layers.MaxPool,
    "average_pool": layers.AveragePool,
    "adaptive_average_pool": layers.AdaptiveAveragePool,
    "linear": weighted.Linear,
    indicators.KIND: indicators.IndicatorLinear,
    "convolution": weighted.Convolution,
    pooled.KIND: pooled.PooledConvolution,
    "batch_norm": weighted.BatchNorm,
    "layer_norm": weighted.LayerNorm,
    "group_norm": weighted.GroupNorm,
    "embedding": weighted.Embedding,
}


class Stack:
    """M models of one structure."""

    def __init__(self, graph: Graph, store: ParameterStore) -> None:
        self.graph = graph = pooled.merged(graph, store)
        self.store = store
        self.layers = [_bind(node, store) for node in graph.nodes]
        self.needed = self._needed()

    def _needed(self) -> list[bool]:
        """Which values need a gradient: those with a parameter somewhere before them."""
        needed = [False]
        for node in self.graph.nodes:
            needed.append(node.module is not None or any(needed[i] for i in node.inputs))
        return needed

    def forward(self, x: Value | indicators.Ones, run: Run) -> Value:
        """Return every model's answers to its own batch."""
        values: list[Any] = [x]
        for node, layer in zip(self.graph.nodes, self.layers, strict=True):
            values.append(layer.forward([values[i] for i in node.inputs], run))
        answer: Value = values[-1]
        return answer

    def backward(self, grad: Value) -> None:
        """Leave the gradients of every parameter in the store's slots."""
        pending: dict[int, Value] = {len(self.layers): grad}
        for k in range(len(self.layers) - 1, -1, -1):
            inputs = self.graph.nodes[k].inputs
            if not self.needed[k + 1]:
                continue
            needed = [self.needed[i] for i in inputs]
            for i, part in zip(inputs, self.layers[k].backward(pending.pop(k + 1), needed), strict=True):
                if part is not None and self.needed[i]:
                    pending[i] = apply(torch.add, pending[i], part) if i in pending else part


def _bind(node: Node, store: ParameterStore) -> Layer:
    prefix = f"{node.module}." if node.module else ""
    own = node.module is not None
    slots = {n.removeprefix(prefix): s for n, s in store.slots.items() if own and _inside(n, prefix)}
    buffers = [
        {n.removeprefix(prefix): b for n, b in one.items() if own and _inside(n, prefix)} for one in store.buffers
    ]
    return KINDS[node.kind](node.options, slots, buffers)


def _inside(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and "." not in name[len(prefix) :]
