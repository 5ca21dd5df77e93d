"""Convolutions whose answers are halved by max pooling, in one pass that never writes what the pooling throws away."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch

from vestige.backends.ensemble.graph import Graph, Node
from vestige.backends.ensemble.kernels.building import lanes
from vestige.backends.ensemble.kernels.crews import crew
from vestige.backends.ensemble.kernels.library import Pooled, pooled
from vestige.backends.ensemble.kernels.shapes import KERNEL, Shape
from vestige.backends.ensemble.layers import HALVING, Layer, Run
from vestige.backends.ensemble.store import ParameterStore, Slot
from vestige.backends.ensemble.values import Value, each

KIND = "pooled_convolution"
# Filters times channels; above that the filters leave the caches that the compiled gradients count on.
LARGEST = 128 * 128


def merged(graph: Graph, store: ParameterStore) -> Graph:
    """Return the graph with each convolution of 3 x 3, its pooling of 2 x 2 and its ReLU as one node, where they fit.

    It depends on the layers, the device and the processor alone; without a compiler nothing is merged.
    """
    if not graph.has("convolution") or not graph.has("max_pool") or lanes() is None:
        return graph
    readers = [0] * (len(graph.nodes) + 1)
    readers[-1] = 1
    for node in graph.nodes:
        for i in node.inputs:
            readers[i] += 1
    kept: list[Node] = []
    moved = [0]
    for node in graph.nodes:
        before = kept[moved[node.inputs[0]] - 1] if node.inputs[0] else None
        if before is not None and readers[node.inputs[0]] == 1 and moved[node.inputs[0]] == len(kept):
            joined = _joined(before, node, store)
            if joined is not None:
                kept[-1] = joined
                moved.append(len(kept))
                continue
        kept.append(replace(node, inputs=tuple(moved[i] for i in node.inputs)))
        moved.append(len(kept))
    return Graph(tuple(kept))


def unturned(graph: Graph, store: ParameterStore) -> tuple[Graph, ParameterStore]:
    """Return what answers the same without turning the pooled images around before they are flattened.

    They lie channel by channel within each pixel, so a linear layer that reads them all gets its columns in that order
    instead. For answers alone: the weight is a copy.
    """
    graph = merged(graph, store)
    readers = [sum(k in node.inputs for node in graph.nodes) for k in range(len(graph.nodes) + 1)]
    nodes, slots = list(graph.nodes), dict(store.slots)
    for k, (flat, linear) in enumerate(pairwise(nodes)):
        key = f"{linear.module}.weight"
        if flat.kind != "reshape" or linear.kind != "linear" or linear.inputs != (k + 1,) or readers[k + 1] != 1:
            continue
        source = flat.inputs[0]
        while source and nodes[source - 1].kind in ("activation", "dropout"):
            source = nodes[source - 1].inputs[0]
        if not source or nodes[source - 1].kind != KIND or len(flat.options["shape"]) != 1:
            continue
        depth = len(slots[f"{nodes[source - 1].module}.weight"].values[0])
        turned = [w.view(len(w), depth, -1).transpose(1, 2).reshape(len(w), -1) for w in slots[key].values]
        nodes[k] = replace(flat, options={**flat.options, "by_pixel": True})
        slots[key] = Slot(turned, [], [])
    return Graph(tuple(nodes)), replace(store, slots=slots)


def _joined(before: Node, node: Node, store: ParameterStore) -> Node | None:
    """Return two nodes as one, or None."""
    if before.kind == "convolution" and node.kind == "max_pool" and _halves(node) and _fits(before, store):
        return replace(before, kind=KIND, options={"padding": before.options["padding"][0], "relu": False})
    relu = node.kind == "activation" and node.options["function"] == "relu"
    if before.kind == KIND and relu and not before.options["relu"]:
        return replace(before, options={**before.options, "relu": True})
    return None


def _halves(pool: Node) -> bool:
    o = pool.options
    return (o["kernel"], o["stride"], o["padding"], o["dilation"], o["ceil"]) == HALVING


def _fits(convolution: Node, store: ParameterStore) -> bool:
    o, weight = convolution.options, store.slots[f"{convolution.module}.weight"].values[0]
    plain = o["stride"] == [1, 1] and o["dilation"] == [1, 1] and o["groups"] == 1
    even = o["padding"] in ([0, 0], [1, 1], [2, 2]) and tuple(weight.shape[2:]) == (KERNEL, KERNEL)
    small = weight.shape[0] * weight.shape[1] <= LARGEST
    return plain and even and small and weight.device.type == "cpu" and weight.dtype == torch.float32


class PooledConvolution(Layer):
    """A convolution, the maxima of its windows, and their ReLU where there is one."""

    def prepare(self) -> None:
        """Name the parameters once."""
        self.weights = self.slots["weight"].values
        self.biases = self.slots["bias"].values if "bias" in self.slots else [None] * len(self.weights)
        self.rooms: dict[tuple[Shape, int, int], torch.Tensor] = {}

    def _room(self, kernel: Pooled, model: int, images: int) -> torch.Tensor:
        key = (kernel.shape, model, images)
        if key not in self.rooms:
            self.rooms[key] = kernel.room(images)
        return self.rooms[key]

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Convolve and pool each model's batch."""
        answers: list[torch.Tensor] = []
        self.saved = []
        for m, (x, weight, bias) in enumerate(zip(each(inputs[0]), self.weights, self.biases, strict=True)):
            images = x.permute(0, 2, 3, 1).contiguous()
            kernel = self._kernel(images, len(weight))
            room = self._room(kernel, m, len(x)) if run.train else self._room(kernel, 0, crew(len(x)))
            y, codes = kernel.forward(images, weight, bias, room, train=run.train)
            if run.train:
                self.saved.append((kernel, room, codes))
            answers.append(y.permute(0, 3, 1, 2))
        return answers

    def _kernel(self, images: torch.Tensor, filters: int) -> Pooled:
        _, height, width, depth = images.shape
        o = self.options
        return pooled(Shape(height, width, depth, filters, o["padding"], o["relu"], lanes() or 8))

    def lengths(self, grad: torch.Tensor) -> torch.Tensor:
        """Return (N,) the length of each record's own gradient by the parameters, of the only model."""
        kernel, room, codes = self.saved[0]
        own = grad.permute(0, 2, 3, 1).contiguous()
        found: torch.Tensor = kernel.lengths(room, own, codes, bias="bias" in self.slots)
        return found

    def back(self, grad: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the input, of the only model, and leave the parameters' alone."""
        kernel, _, codes = self.saved[0]
        found: torch.Tensor = kernel.inputs(grad.permute(0, 2, 3, 1).contiguous(), codes, self.weights[0])
        return found.permute(0, 3, 1, 2)

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Return the input's gradient when it is needed; store those of filters and bias."""
        weight, bias = self.slots["weight"], self.slots.get("bias")
        back = []
        for m, (g, (kernel, room, codes)) in enumerate(zip(each(grad), self.saved, strict=True)):
            own = g.permute(0, 2, 3, 1).contiguous()
            filters, biases = kernel.weights(room, own, codes)
            weight.grads[m] = filters
            if bias is not None:
                bias.grads[m] = biases
            if needed[0]:
                back.append(kernel.inputs(own, codes, self.weights[m]).permute(0, 3, 1, 2))
        return [back if needed[0] else None]
