"""Layers with parameters, of M models. Matrix products run model by model, so that stacking never changes a bit."""

# ruff: noqa: ARG002  (every layer has the same two methods, whatever it needs of them)
from __future__ import annotations

from typing import Any

import torch

from vestige.backends.ensemble.gemm import pick
from vestige.backends.ensemble.layers import Layer, Run
from vestige.backends.ensemble.values import Value, apply, each

ops = torch.ops.aten


class Linear(Layer):
    """An affine map of the last dimension, with the ReLU that follows it when there is one."""

    def prepare(self) -> None:
        """Name the weights once, and their transposes."""
        self.weights = self.slots["weight"].values
        self.transposed = [w.t() for w in self.weights]
        bias = self.slots.get("bias")
        self.biases = bias.values if bias else [None] * len(self.weights)
        self.relu = bool(self.options["relu"])
        self.rows = None if bias is None else [room.view(1, -1) for room in bias.room]

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Multiply each model's batch by its own weights."""
        xs, leading = _flat(inputs[0])
        batch, width = xs[0].shape
        fast = pick(batch, width, len(self.weights[0]), xs[0].device)
        if fast is not None:
            ending = "relu" if self.relu else "none"
            answers = [fast(x, w, b, ending, [], "") for x, w, b in zip(xs, self.weights, self.biases, strict=True)]
            y: Value = answers
        else:
            y = xs[0].new_empty(len(xs), batch, len(self.weights[0]))
            for out, x, w, b in zip(y.unbind(0), xs, self.transposed, self.biases, strict=True):
                if b is None:
                    torch.mm(x, w, out=out)
                else:
                    torch.addmm(b, x, w, out=out)
            if self.relu:
                y.relu_()
        if run.train:
            self.saved = xs, y, leading, fast
        return y if leading is None else [one.view(*leading, one.shape[-1]) for one in each(y)]

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Return the input's gradient; store those of weight and bias."""
        xs, y, leading, fast = self.saved
        if leading is not None:
            grad = _flat(grad)[0]
        if self.relu:
            grad = apply(_relu_backward, grad, y)
        grads = each(grad)
        weight = self.slots["weight"]
        for m, (g, x) in enumerate(zip(grads, xs, strict=True)):
            if fast is not None:
                weight.grads[m] = fast(g.t(), x.t(), None, "none", [], "")
            else:
                weight.grads[m] = torch.mm(g.t(), x, out=weight.room[m])
        if self.rows is not None:
            self._bias_gradient(grads)
        if not needed[0]:
            return [None]
        if fast is not None:
            back: Value = [fast(g, w, None, "none", [], "") for g, w in zip(grads, self.transposed, strict=True)]
        else:
            together = xs[0].new_empty(len(xs), *xs[0].shape)
            for out, g, w in zip(together.unbind(0), grads, self.weights, strict=True):
                torch.mm(g, w, out=out)
            back = together
        return [back if leading is None else [one.view(*leading, one.shape[-1]) for one in each(back)]]

    def single(self, grad: torch.Tensor, *, needed: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return (N,) the length of each record's own gradient by the parameters, and the input's, of the only model.

        Raises ValueError where a record has more than one row.
        """
        (x,), y, leading, fast = self.saved
        if leading is not None:
            raise ValueError("A record has many rows.")
        grad = _relu_backward(grad, each(y)[0]) if self.relu else grad
        square = torch.linalg.vector_norm(x, dim=1).square() + float(self.rows is not None)
        lengths = torch.linalg.vector_norm(grad, dim=1) * square.sqrt()
        if not needed:
            return lengths, None
        if fast is None:
            return lengths, grad @ self.weights[0]
        return lengths, fast(grad, self.transposed[0], None, "none", [], "")

    def _bias_gradient(self, grads: list[torch.Tensor]) -> None:
        # A product with ones is faster than a sum over the batch, which walks across rows.
        ones, slot = grads[0].new_ones(1, len(grads[0])), self.slots["bias"]
        for m, (g, row) in enumerate(zip(grads, self.rows or [], strict=True)):
            torch.mm(ones, g, out=row)
            slot.grads[m] = slot.room[m]


def _flat(value: Value) -> tuple[list[torch.Tensor], torch.Size | None]:
    """Return one matrix per model, and the leading dimensions when there is more than the batch."""
    parts = each(value)
    if parts[0].dim() == 2:
        return parts, None
    return [part.reshape(-1, part.shape[-1]) for part in parts], parts[0].shape[:-1]


def _relu_backward(grad: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    masked: torch.Tensor = ops.threshold_backward(grad, y, 0)
    return masked


class Convolution(Layer):
    """A two-dimensional convolution."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Convolve each model's batch with its own filters."""
        o = self.options
        self.args = (o["stride"], o["padding"], o["dilation"], False, [0, 0], o["groups"])
        xs = each(inputs[0])
        if run.train:
            self.saved = xs
        weights = self.slots["weight"].values
        biases = self.slots["bias"].values if "bias" in self.slots else [None] * len(xs)
        return [ops.convolution(x, w, b, *self.args) for x, w, b in zip(xs, weights, biases, strict=True)]

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Return the input's gradient when it is needed; store those of filters and bias."""
        weight, bias = self.slots["weight"], self.slots.get("bias")
        sizes = [len(weight.values[0])] if bias else None
        back = []
        for m, (g, x) in enumerate(zip(each(grad), self.saved, strict=True)):
            mask = [needed[0], True, bias is not None]
            gx, gw, gb = ops.convolution_backward(g, x, weight.values[m], sizes, *self.args, mask)
            weight.grads[m] = gw
            if bias:
                bias.grads[m] = gb
            back.append(gx)
        return [back if needed[0] else None]


class _Norm(Layer):
    """What the normalisation layers share: optional weight and bias, gradients from one native call."""

    def affine(self, m: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        weight, bias = self.slots.get("weight"), self.slots.get("bias")
        return (weight.values[m] if weight else None), (bias.values[m] if bias else None)

    def keep(self, m: int, gw: torch.Tensor | None, gb: torch.Tensor | None) -> None:
        for name, grad in (("weight", gw), ("bias", gb)):
            if name in self.slots and grad is not None:
                self.slots[name].grads[m] = grad

    def mask(self, needed: bool) -> list[bool]:
        return [needed, "weight" in self.slots, "bias" in self.slots]


class BatchNorm(_Norm):
    """Batch normalisation: each model's own batch statistics, and its own running ones."""

    def _running(self, m: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        own = self.buffers[m]
        return own.get("running_mean"), own.get("running_var")

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Normalise; training also moves the running statistics."""
        o, answers, self.saved = self.options, [], []
        for m, x in enumerate(each(inputs[0])):
            mean, var = self._running(m)
            batch = run.train or mean is None
            y, *stats = torch.native_batch_norm(x, *self.affine(m), mean, var, batch, o["momentum"], o["eps"])
            if run.train and "num_batches_tracked" in self.buffers[m]:
                self.buffers[m]["num_batches_tracked"].add_(1)
            answers.append(y)
            self.saved.append((x, *stats))
        return answers

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Differentiate through the batch statistics."""
        back: list[Any] = []
        for m, (g, (x, mean, rstd)) in enumerate(zip(each(grad), self.saved, strict=True)):
            running = self._running(m)
            gx, gw, gb = ops.native_batch_norm_backward(
                g.contiguous() if g.dim() == 2 else g, x, self.affine(m)[0], *running, mean, rstd, True,
                self.options["eps"], self.mask(needed[0]),
            )  # fmt: skip
            self.keep(m, gw, gb)
            back.append(gx)
        return [back if needed[0] else None]


class LayerNorm(_Norm):
    """Layer normalisation."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Normalise each record."""
        answers, self.saved = [], []
        for m, x in enumerate(each(inputs[0])):
            y, *stats = torch.native_layer_norm(x, self.options["shape"], *self.affine(m), self.options["eps"])
            answers.append(y)
            self.saved.append((x, *stats))
        return answers

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Differentiate through each record's statistics."""
        back: list[Any] = []
        for m, (g, (x, mean, rstd)) in enumerate(zip(each(grad), self.saved, strict=True)):
            gx, gw, gb = ops.native_layer_norm_backward(
                g, x, self.options["shape"], mean, rstd, *self.affine(m), self.mask(needed[0])
            )
            self.keep(m, gw, gb)
            back.append(gx)
        return [back if needed[0] else None]


class GroupNorm(_Norm):
    """Group normalisation."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Normalise each record's groups of channels."""
        o, answers, self.saved = self.options, [], []
        for m, x in enumerate(each(inputs[0])):
            x = x.contiguous()
            shape = (len(x), x.shape[1], x[0, 0].numel(), o["groups"])
            y, *stats = torch.native_group_norm(x, *self.affine(m), *shape, o["eps"])
            answers.append(y)
            self.saved.append((x, shape, *stats))
        return answers

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Differentiate through each group's statistics."""
        back: list[Any] = []
        for m, (g, (x, shape, mean, rstd)) in enumerate(zip(each(grad), self.saved, strict=True)):
            gx, gw, gb = ops.native_group_norm_backward(
                g.contiguous(), x, mean, rstd, self.affine(m)[0], *shape, self.mask(needed[0])
            )
            self.keep(m, gw, gb)
            back.append(gx)
        return [back if needed[0] else None]


class Embedding(Layer):
    """A table of vectors, looked up by index."""

    def forward(self, inputs: list[Value], run: Run) -> Value:
        """Look the indices up."""
        self.saved = each(inputs[0])
        return [ops.embedding(w, i) for w, i in zip(self.slots["weight"].values, self.saved, strict=True)]

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Add each vector's gradient to its row of the table."""
        slot, padding = self.slots["weight"], self.options["padding"]
        for m, (g, index) in enumerate(zip(each(grad), self.saved, strict=True)):
            slot.grads[m] = ops.embedding_dense_backward(g, index, len(slot.values[m]), padding, False)
        return [None]
