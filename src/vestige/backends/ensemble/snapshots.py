"""Asks one model about the same records again and again while it trains: what the records need is prepared once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from vestige.backends.ensemble.gemm import fastest
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.indicators import KIND, Ones, Pool, first_layer
from vestige.backends.ensemble.layers import Run
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.pooled import unturned
from vestige.backends.ensemble.querying import IMAGES
from vestige.backends.ensemble.stack import Stack
from vestige.backends.ensemble.store import ParameterStore, Slot, view_state
from vestige.backends.ensemble.values import channels_last, each
from vestige.target import IntArray

State = dict[str, torch.Tensor]
BLOCK = 1024


class Snapshots:
    """Rows of the plan's records that states of its module are asked about, in evaluation mode."""

    def __init__(self, plan: Plan, graph: Graph | None, rows: IntArray) -> None:
        self.plan, self.graph = plan, graph
        self.x = plan.x.index_select(0, torch.as_tensor(rows, dtype=torch.int64, device=plan.device))
        self.images = graph is not None and graph.has("convolution") and self.x.dim() == 4
        self._module: nn.Module | None = None
        self._reader: int | None = None
        self._ones: list[Ones] | None = None

    def answers(self, state: State) -> torch.Tensor:
        """Return (R, …) answers of the model in this state."""
        with torch.no_grad():
            if self.graph is None:
                return torch.cat(list(self._plainly(state)))
            store = view_state([state])
            if self._ones is None:
                self._prepare(store, self.graph)
            if self._reader is None:
                stack, run = Stack(*unturned(self.graph, store)), Run(False)
                return torch.cat([each(stack.forward([part], run))[0] for part in self._blocks()])
            folded, nodes = _folded(store, self.graph, self._reader)
            stack, run = Stack(nodes, folded), Run(False)
            return torch.cat([each(stack.forward(ones, run))[0] for ones in self._ones or ()])

    def _plainly(self, state: State) -> Iterator[torch.Tensor]:
        # A module that draws random numbers even now would otherwise train on others for having been asked.
        devices = [self.plan.device] if self.plan.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            if self._module is None:
                self._module = self.plan.build().to(self.plan.device).eval()
            self._module.load_state_dict(state)
            with fastest():
                for part in self._blocks():
                    yield self._module(part)

    @property
    def _block(self) -> int:
        return IMAGES if self.x.dim() == 4 else BLOCK

    def _blocks(self) -> Iterator[torch.Tensor]:
        size = self._block
        for start in range(0, len(self.x), size):
            part = self.plan.floats(self.x[start : start + size])
            yield channels_last(part) if self.images else part

    def _prepare(self, store: ParameterStore, graph: Graph) -> None:
        """Write records of zeros and a few ones as lists of ones, where that is how they are trained on."""
        self._ones = []
        self._reader = first_layer(self.plan, graph, store)
        if self._reader is None or not len(self.x):
            self._reader = None
            return
        bias = f"{graph.nodes[self._reader].module}.bias" in store.slots
        pool = Pool(self.x, self.x.shape[1] + 1, bias=bias)
        places, size = torch.arange(len(self.x)), self._block
        whole = len(places) // size * size
        for part in (places[:whole].view(-1, 1, size), places[whole:].view(1, 1, -1)):
            self._ones += list(pool.batches(part)) if part.numel() else []


def _folded(store: ParameterStore, graph: Graph, node: int) -> tuple[ParameterStore, Graph]:
    """Return the model with its first layer's weight and bias as one table, a row per feature."""
    module = graph.nodes[node].module
    weight, bias = store.slots[f"{module}.weight"].values[0], store.slots.get(f"{module}.bias")
    last = torch.zeros_like(weight[:, 0]) if bias is None else bias.values[0]
    table = torch.cat([weight.t(), last[None]])
    slots = {name: slot for name, slot in store.slots.items() if name.rpartition(".")[0] != module}
    slots[f"{module}.table"] = Slot([table], [], [])
    nodes = tuple(replace(one, kind=KIND) if k == node else one for k, one in enumerate(graph.nodes))
    return ParameterStore(slots, store.buffers, 1), Graph(nodes)
