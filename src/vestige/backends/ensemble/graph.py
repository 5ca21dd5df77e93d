"""Reads a module's structure: a graph of known layers, or None when any part of it is not one of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from vestige.backends.ensemble.reading import NOT_A_VALUE, read

BATCH = 3


@dataclass(frozen=True)
class Node:
    """One layer: its kind, its inputs (0 is the batch itself), and the name of the module that has its parameters."""

    kind: str
    inputs: tuple[int, ...]
    options: Mapping[str, Any]
    module: str | None


@dataclass(frozen=True)
class Graph:
    """Nodes in order of evaluation; node k's answer is value k + 1, and the last one is the module's answer."""

    nodes: tuple[Node, ...]

    def has(self, kind: str) -> bool:
        """Whether any layer is of this kind."""
        return any(node.kind == kind for node in self.nodes)


def trace(module: nn.Module, example: torch.Tensor) -> Graph | None:
    """Return the graph of ``module`` for batches like ``example`` (a few records), or None when it cannot be read."""
    if not _plain(module):
        return None
    try:
        train, answer = _symbolic(module, True), _symbolic(module, False)
        _Shapes(answer).run(example)
    except Exception:
        # Tracing runs the author's own forward on symbols; whatever it raises means "not a plain chain of layers".
        return None
    train_nodes, nodes = list(train.graph.nodes), list(answer.graph.nodes)
    if [(n.op, n.target) for n in train_nodes] != [(n.op, n.target) for n in nodes]:
        return None
    graph = _convert(module, train_nodes, nodes, len(example))
    return None if graph is None else _simplify(graph)


class _Shapes(fx.Interpreter):
    """Notes the shape of every tensor; torch's own pass for it loads a computer algebra system first."""

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note the shape of its answer."""
        answer = super().run_node(n)
        if isinstance(answer, torch.Tensor):
            n.meta["shape"] = answer.shape
        return answer


def _symbolic(module: nn.Module, training: bool) -> fx.GraphModule:
    return fx.symbolic_trace(copy.deepcopy(module).train(training).to("cpu"))


def _plain(module: nn.Module) -> bool:
    parameters = list(module.named_parameters(remove_duplicate=False))
    if not parameters or len({id(p) for _, p in parameters}) != len(parameters):
        return False
    if not all(p.requires_grad and p.dtype == torch.float32 for _, p in parameters):
        return False
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(getattr(m, name) for m in module.modules() for name in hooks)


def _convert(module: nn.Module, train: list[fx.Node], nodes: list[fx.Node], batch: int) -> Graph | None:
    position: dict[str, int] = {}
    found: list[Node] = []
    used: set[str] = set()
    modules = dict(module.named_modules())
    for twin, node in zip(train, nodes, strict=True):
        if node.op == "placeholder":
            if position:
                return None
            position[node.name] = 0
            continue
        if node.op == "output":
            argument = node.args[0]
            complete = isinstance(argument, fx.Node) and position.get(argument.name) == len(found)
            read_by_some = {i for one in found for i in one.inputs} | {len(found)}
            complete = complete and len(read_by_some) == len(found) + 1 and used >= _owners(module)
            return Graph(tuple(found)) if complete and found else None
        part = read(node, twin, modules, batch)
        if part is None:
            return None
        if part is NOT_A_VALUE:
            continue
        if part.module in used or not all(name in position for name in part.inputs):
            return None
        if part.module is not None:
            used.add(part.module)
        if part.kind == "same":
            position[node.name] = position[part.inputs[0]]
            continue
        found.append(Node(part.kind, tuple(position[name] for name in part.inputs), part.options, part.module))
        position[node.name] = len(found)
    return None


def _owners(module: nn.Module) -> set[str]:
    return {name.rpartition(".")[0] for name, _ in module.named_parameters()}


def _simplify(graph: Graph) -> Graph:
    """Move a ReLU behind the max-pooling after it (the same numbers, a quarter of the work), or into a linear layer."""
    nodes = list(graph.nodes)
    readers: dict[int, int] = {}
    for node in nodes:
        for i in node.inputs:
            readers[i] = readers.get(i, 0) + 1

    def relu(node: Node) -> bool:
        return node.kind == "activation" and node.options["function"] == "relu"

    for k in range(len(nodes) - 1):
        first, second = nodes[k], nodes[k + 1]
        if relu(first) and second.kind == "max_pool" and second.inputs == (k + 1,) and readers.get(k + 1) == 1:
            nodes[k] = replace(second, inputs=first.inputs)
            nodes[k + 1] = replace(first, inputs=(k + 1,))
    kept: list[Node] = []
    moved = {0: 0}
    for k, node in enumerate(nodes):
        source = node.inputs[0] - 1
        if relu(node) and source >= 0 and nodes[source].kind == "linear" and readers.get(source + 1) == 1:
            at = moved[source + 1] - 1
            kept[at] = replace(kept[at], options={**kept[at].options, "relu": True})
            moved[k + 1] = at + 1
            continue
        kept.append(replace(node, inputs=tuple(moved[i] for i in node.inputs)))
        moved[k + 1] = len(kept)
    return Graph(tuple(kept))
