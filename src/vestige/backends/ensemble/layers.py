"""Layers without parameters, of M models at once: forward, and the hand-written backward."""

# ruff: noqa: ARG002  (every layer has the same two methods, whatever it needs of them)
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from vestige.backends.ensemble.store import Slot
from vestige.backends.ensemble.values import Value, apply, channels_last, each, per_model

ops = torch.ops.aten


@dataclass(eq=False)
class Run:
    """What one pass needs to know: whether it trains, and each model's generator for dropout."""

    train: bool
    generators: Sequence[torch.Generator] = ()


class Layer:
    """One node of the graph, bound to M models. ``forward`` keeps what ``backward`` needs in ``saved``."""

    def __init__(
        self, options: Mapping[str, Any], slots: Mapping[str, Slot], buffers: Sequence[Mapping[str, torch.Tensor]]
    ) -> None:
        self.options, self.slots, self.buffers = options, slots, buffers
        self.saved: Any = None
        self.prepare()

    def prepare(self) -> None:
        """Derive from the options what every pass needs."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Return the layer's answer for every model."""
        raise NotImplementedError

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Return the gradient of each input, and leave those of the parameters in their slots."""
        raise NotImplementedError


Unary = tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]


def _pair(name: str, o: Mapping[str, Any]) -> Unary:
    """Return (forward(x), backward(grad, x, y)) of an elementwise function."""
    match name:
        case "relu":
            return torch.relu, lambda g, _, y: ops.threshold_backward(g, y, 0)
        case "tanh":
            return torch.tanh, lambda g, _, y: ops.tanh_backward(g, y)
        case "sigmoid":
            return torch.sigmoid, lambda g, _, y: ops.sigmoid_backward(g, y)
        case "silu":
            return F.silu, lambda g, x, _: ops.silu_backward(g, x)
        case "gelu":
            kind = o.get("approximate", "none")
            return (
                lambda x: F.gelu(x, approximate=kind),
                lambda g, x, _: ops.gelu_backward(g, x, approximate=kind),
            )
        case "leaky_relu":
            slope = o.get("negative_slope", 0.01)
            return (lambda x: F.leaky_relu(x, slope)), lambda g, x, _: ops.leaky_relu_backward(g, x, slope, False)
        case "elu":
            alpha = o.get("alpha", 1.0)
            return (lambda x: F.elu(x, alpha)), lambda g, x, _: ops.elu_backward(g, alpha, 1.0, 1.0, False, x)
        case "hardtanh":
            low, high = o.get("min_val", -1.0), o.get("max_val", 1.0)
            return (lambda x: F.hardtanh(x, low, high)), lambda g, x, _: ops.hardtanh_backward(g, x, low, high)
        case "scale":
            factor = o["factor"]
            return (lambda x: x * factor), lambda g, _x, _y: g * factor
        case "shift":
            term = o["term"]
            return (lambda x: x + term), lambda g, _x, _y: g
    raise KeyError(name)


class Activation(Layer):
    """An elementwise function."""

    def prepare(self) -> None:
        """Look the function up."""
        self.function, self.derivative = _pair(self.options["function"], self.options)

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Apply the function."""
        y = apply(self.function, inputs[0])
        if run.train:
            self.saved = inputs[0], y
        return y

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Multiply by the derivative."""
        return [apply(self.derivative, grad, *self.saved)]


class Dropout(Layer):
    """Zeroes a share of the activations, from each model's own generator."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Draw a mask per model and apply it."""
        share = self.options["p"]
        if not run.train or share == 0:
            self.saved = None
            return inputs[0]
        keep = 1 - share
        self.saved = [
            torch.empty_like(x).bernoulli_(keep, generator=g).div_(keep or 1.0)
            for x, g in zip(each(inputs[0]), run.generators, strict=True)
        ]
        return apply(torch.mul, inputs[0], self.saved)

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Apply the same masks."""
        return [grad if self.saved is None else apply(torch.mul, grad, self.saved)]


class Reshape(Layer):
    """Gives each record's features another shape; images ``by_pixel`` where what reads them wants it so."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Reshape, with the batch kept."""
        x, shape = inputs[0], self.options["shape"]
        if self.options.get("by_pixel"):
            return [one.permute(0, 2, 3, 1).reshape(len(one), *shape) for one in each(x)]
        first = each(x)[0]
        self.images = first.dim() == 4 and not first.is_contiguous()
        if isinstance(x, torch.Tensor):
            self.saved = x.shape[1:]
            return x.reshape(*x.shape[:2], *shape)
        self.saved = x[0].shape
        return [one.reshape(len(one), *shape) for one in x]

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Reshape back."""
        if isinstance(grad, torch.Tensor) and not self.images:
            return [grad.reshape(len(grad), *self.saved)]
        parts = [one.reshape(self.saved) for one in each(grad)]
        return [[channels_last(part) for part in parts] if self.images else parts]


class Add(Layer):
    """A sum of two branches."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Add."""
        return apply(torch.add, *inputs)

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Both branches get the same gradient."""
        return [grad, grad]


class Multiply(Layer):
    """A product of two branches."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Multiply."""
        self.saved = inputs
        return apply(torch.mul, *inputs)

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Each branch gets the other one."""
        left, right = self.saved
        return [apply(torch.mul, grad, right), apply(torch.mul, grad, left)]


class Concatenate(Layer):
    """Branches side by side; the dimension counts from the end."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Join."""
        dim = self.options["dim"]
        self.saved = [each(v)[0].shape[dim] for v in inputs]
        return per_model(lambda *parts: torch.cat(parts, dim), *inputs)

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Cut apart again."""
        parts = [torch.split(one, self.saved, self.options["dim"]) for one in each(grad)]
        return [[part[k] for part in parts] for k in range(len(self.saved))]


HALVING = ([2, 2], [2, 2], [0, 0], [1, 1], False)


def _halved(x: torch.Tensor) -> torch.Tensor:
    """Return the maximum of each 2 x 2 window: the operator that also says where it was takes three times as long."""
    height, width = (size // 2 * 2 for size in x.shape[-2:])
    rows = torch.maximum(x[..., 0:height:2, :], x[..., 1:height:2, :])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


class MaxPool(Layer):
    """Max pooling over two dimensions."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Pool, and remember where the maxima were."""
        o = self.options
        args = (o["kernel"], o["stride"], o["padding"], o["dilation"], o["ceil"])
        if not run.train and args == HALVING:
            return per_model(_halved, inputs[0])
        pairs = per_model(lambda x: ops.max_pool2d_with_indices(x, *args), inputs[0])
        self.saved = (each(inputs[0]), [index for _, index in pairs], args) if run.train else None
        return [y for y, _ in pairs]

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Send each gradient to where the maximum was."""
        xs, indices, args = self.saved
        back = ops.max_pool2d_with_indices_backward
        return [[back(g, x, *args, i) for g, x, i in zip(each(grad), xs, indices, strict=True)]]


class AveragePool(Layer):
    """Average pooling over two dimensions."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Pool."""
        o = self.options
        self.saved = each(inputs[0])
        self.args = (o["kernel"], o["stride"], o["padding"], o["ceil"], o["count_pad"], o["divisor"])
        return per_model(lambda x: ops.avg_pool2d(x, *self.args), inputs[0])

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Spread each gradient over its window."""
        return [[ops.avg_pool2d_backward(g, x, *self.args) for g, x in zip(each(grad), self.saved, strict=True)]]


class AdaptiveAveragePool(Layer):
    """Average pooling to a given size."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Pool."""
        self.saved = each(inputs[0])
        return per_model(lambda x: F.adaptive_avg_pool2d(x, self.options["size"]), inputs[0])

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Spread each gradient over its window."""
        back = ops._adaptive_avg_pool2d_backward
        pairs = zip(each(grad), self.saved, strict=True)
        if self.options["size"] == [1, 1]:
            return [[(g / (x.shape[-1] * x.shape[-2])).expand_as(x) for g, x in pairs]]
        return [[back(g, x) for g, x in pairs]]
