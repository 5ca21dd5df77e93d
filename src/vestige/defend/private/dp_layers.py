"""Layers that know each record's part of their gradient: its squared norm, and sums over records with weights.

The records of M models lie one after another in one tensor, so that batches of any sizes need no padding: what a model
computes does not depend on its neighbours. A record's part scales with the gradient of its outputs, so the weighted sum
takes no second backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

Slots = Mapping[str, Sequence[torch.Tensor]]
Sizes = Sequence[int]
ops = torch.ops.aten
ROUNDING = 2.0**-23
"""How much of its terms' length a sum in single precision is off by, where it is far less than they are."""


class Weighted:
    """A layer with parameters of M models; ``values`` and ``sums``: each parameter's, one tensor per model."""

    def __init__(self, options: Mapping[str, Any], values: Slots, sums: Slots) -> None:
        self.options, self.values, self.sums = options, values, sums

    def forward(self, x: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        """Answer ``sizes[m]`` records with the parameters of model m."""
        raise NotImplementedError

    def backward(self, grad: torch.Tensor, needed: bool) -> torch.Tensor | None:
        """Keep what the outputs' gradient says of each record, and return the input's when it is needed."""
        raise NotImplementedError

    def squares(self) -> torch.Tensor:
        """Return (R,) the squared norm of each record's gradient for this layer's parameters."""
        raise NotImplementedError

    def drop(self, bad: torch.Tensor) -> None:
        """Forget the (R,) marked records, whose numbers are not finite."""
        raise NotImplementedError

    def add(self, weights: torch.Tensor) -> None:
        """Add the weighted sum of the records' gradients to ``sums``."""
        raise NotImplementedError


class Linear(Weighted):
    """An affine map of the last dimension, with the ReLU that follows it when there is one."""

    def forward(self, x: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        """Multiply each model's records by its own weights."""
        weights, biases = self.values["weight"], self.values.get("bias")
        width = x.shape[-1]
        y = x.new_empty(*x.shape[:-1], len(weights[0]))
        parts = zip(parted(x, sizes), parted(y, sizes), weights, strict=True)
        for m, (own, out, weight) in enumerate(parts):
            flat, into = own.reshape(-1, width), out.view(-1, len(weight))
            if biases is None:
                torch.mm(flat, weight.t(), out=into)
            else:
                torch.addmm(biases[m], flat, weight.t(), out=into)
        if self.options["relu"]:
            y.relu_()
        self.x, self.y, self.sizes = x, y, sizes
        return y

    def backward(self, grad: torch.Tensor, needed: bool) -> torch.Tensor | None:
        """Multiply back."""
        self.delta = ops.threshold_backward(grad, self.y, 0) if self.options["relu"] else grad
        if not needed:
            return None
        back = torch.empty_like(self.x)
        parts = zip(parted(self.delta, self.sizes), parted(back, self.sizes), self.values["weight"], strict=True)
        for own, out, weight in parts:
            torch.mm(own.reshape(-1, len(weight)), weight, out=out.view(-1, weight.shape[1]))
        return back

    def squares(self) -> torch.Tensor:
        """Return ‖δ‖² ‖x‖² where a record has one position, else the norm of δᵀx by the shorter of two ways."""
        bias = "bias" in self.values
        if self.x.dim() == 2:
            lengths = torch.linalg.vector_norm(self.x, dim=1).square_()
            deltas: torch.Tensor = torch.linalg.vector_norm(self.delta, dim=1).square_()
            return deltas.mul_(lengths.add_(float(bias)))
        x, delta = self.x.flatten(1, -2), self.delta.flatten(1, -2)
        found = product_squares(delta.transpose(1, 2), x)
        return found + sum_squares(delta) if bias else found

    def drop(self, bad: torch.Tensor) -> None:
        """Make the records' inputs and gradients zero."""
        self.x, self.delta = zeroed(self.x, bad), zeroed(self.delta, bad)

    def add(self, weights: torch.Tensor) -> None:
        """Multiply the weighted gradients by the inputs."""
        delta = self.delta * along(weights, self.delta)
        for m, (own, x) in enumerate(zip(parted(delta, self.sizes), parted(self.x, self.sizes), strict=True)):
            flat = own.reshape(-1, own.shape[-1])
            self.sums["weight"][m].addmm_(flat.t(), x.reshape(-1, x.shape[-1]))
            if "bias" in self.sums:
                self.sums["bias"][m].add_(flat.sum(0))


class Convolution(Weighted):
    """A two-dimensional convolution."""

    def forward(self, x: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        """Convolve each model's records with its own filters."""
        o, biases = self.options, self.values.get("bias")
        self.args = (o["stride"], o["padding"], o["dilation"], False, [0, 0], o["groups"])
        self.x, self.sizes = x, sizes
        found = [
            ops.convolution(own, weight, None if biases is None else biases[m], *self.args)
            for m, (own, weight) in enumerate(zip(parted(x, sizes), self.values["weight"], strict=True))
        ]
        return torch.cat(found)

    def backward(self, grad: torch.Tensor, needed: bool) -> torch.Tensor | None:
        """Convolve back."""
        self.delta = grad.contiguous()
        self.held: torch.Tensor | None = None
        if not needed:
            return None
        return torch.cat(self._backward(self.delta, [True, False, False], 0))

    def _backward(self, grad: torch.Tensor, mask: list[bool], which: int) -> list[torch.Tensor]:
        parts = zip(parted(grad, self.sizes), parted(self.x, self.sizes), self.values["weight"], strict=True)
        return [ops.convolution_backward(g, x, w, [len(w)], *self.args, mask)[which] for g, x, w in parts]

    def squares(self) -> torch.Tensor:
        """Return the norms of δ times the patches, made record by record only where that is the shorter way."""
        o, weight = self.options, self.values["weight"][0]
        delta, places = self.delta.flatten(2), self.delta[0, 0].numel()
        patches = F.unfold(self.x, weight.shape[2:], o["dilation"], o["padding"], o["stride"])
        bias = sum_squares(delta.transpose(1, 2)) if "bias" in self.values else 0.0
        if o["groups"] == 1 and 2 * places**2 < weight.numel():
            return product_squares(delta, patches.transpose(1, 2)) + bias
        groups = o["groups"]
        held = torch.matmul(
            delta.view(len(delta), groups, -1, places), patches.view(len(delta), groups, -1, places).transpose(2, 3)
        )
        self.held = held.flatten(1)
        lengths: torch.Tensor = torch.linalg.vector_norm(self.held, dim=1)
        return lengths.square() + bias

    def drop(self, bad: torch.Tensor) -> None:
        """Make the records' inputs and gradients zero."""
        self.x, self.delta = zeroed(self.x, bad), zeroed(self.delta, bad)
        self.held = None if self.held is None else zeroed(self.held, bad)

    def add(self, weights: torch.Tensor) -> None:
        """Add up the records' gradients where they were made, else convolve once more."""
        delta = self.delta * along(weights, self.delta)
        if self.held is None:
            found = self._backward(delta, [False, True, False], 1)
        else:
            parts = zip(parted(weights, self.sizes), parted(self.held, self.sizes), strict=True)
            found = [own @ held for own, held in parts]
        for m, (grads, own) in enumerate(zip(found, parted(delta, self.sizes), strict=True)):
            total = self.sums["weight"][m]
            total.add_(grads.view(total.shape))
            if "bias" in self.sums:
                self.sums["bias"][m].add_(own.sum((0, 2, 3)))


def product_squares(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return (R,) the squared norm of left @ right, (R, a, T) and (R, T, b), without making it where T is small.

    Terms of a record made for that may cancel out all but a little, and the sum that is later made of them in single
    precision is off by the size of the terms: the norm is taken in double precision, and what may be off is added.
    """
    places = left.shape[2]
    if 2 * places**2 < left.shape[1] * right.shape[2]:
        a, b = left.double(), right.double()
        both = torch.bmm(a.transpose(1, 2), a).mul_(torch.bmm(b, b.transpose(1, 2)))
        terms = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=2)
        return raised(both.sum((1, 2)).clamp_(min=0.0), terms.sum(1))
    lengths: torch.Tensor = torch.linalg.vector_norm(torch.bmm(left, right).flatten(1), dim=1)
    return lengths.square()


def sum_squares(parts: torch.Tensor) -> torch.Tensor:
    """Return (R,) the squared norm of the sum over the second dimension, (R, T, a), as `product_squares` does."""
    double = parts.double()
    return raised(double.sum(1).square().sum(1), torch.linalg.vector_norm(double, dim=2).sum(1))


def raised(squares: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
    """Return squared norms of sums whose terms have this length together, with the room that rounding needs."""
    return (squares.sqrt() + ROUNDING * terms).square_().to(torch.float32)


def zeroed(values: torch.Tensor, bad: torch.Tensor) -> torch.Tensor:
    """Return the values with the marked records' replaced by zero."""
    return torch.where(along(bad, values), torch.zeros_like(values), values)


def along(per_record: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return one number per record in a shape that applies to all of its values."""
    return per_record.view(-1, *[1] * (values.dim() - 1))


def parted(values: torch.Tensor, sizes: Sizes) -> list[torch.Tensor]:
    """Return each model's records."""
    return list(torch.split(values, list(sizes)))
