"""Normalisation and embedding layers that know each record's part of their gradient, as in `dp_layers`."""

from __future__ import annotations

import torch

from vestige.defend.private.dp_layers import Convolution, Linear, Sizes, Weighted, along, ops, parted, raised, zeroed


class Norm(Weighted):
    """Layer and group normalisation: each record by itself, then a factor and a term per feature or channel."""

    def forward(self, x: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        """Normalise all records alike, and apply each model's own factors."""
        self.x, self.sizes, self.like = x.contiguous(), sizes, x
        self.normal, *self.stats = self._normalised(self.x)
        y = self.normal
        for name, function in (("weight", torch.mul), ("bias", torch.add)):
            if name in self.values:
                parts = zip(parted(y, sizes), self.values[name], strict=True)
                y = torch.cat([function(part, self._wide(own)) for part, own in parts])
        return y

    def backward(self, grad: torch.Tensor, needed: bool) -> torch.Tensor | None:
        """Keep each record's gradient for factor and term, and differentiate through its own statistics."""
        self.own = {}
        if "weight" in self.values:
            self.own["weight"] = self._narrow(grad * self.normal)
        if "bias" in self.values:
            self.own["bias"] = self._narrow(grad)
        if not needed:
            return None
        if "weight" in self.values:
            parts = zip(parted(grad, self.sizes), self.values["weight"], strict=True)
            grad = torch.cat([part * self._wide(own) for part, own in parts])
        return self._back(grad.contiguous())

    def squares(self) -> torch.Tensor:
        """Return the norms of the few numbers that each record has."""
        found = [one.flatten(1).square().sum(1) for one in self.own.values()]
        return torch.stack(found).sum(0) if found else self.x.new_zeros(len(self.x))

    def drop(self, bad: torch.Tensor) -> None:
        """Make the records' numbers zero."""
        self.own = {name: zeroed(one, bad) for name, one in self.own.items()}

    def add(self, weights: torch.Tensor) -> None:
        """Add them up."""
        for name, one in self.own.items():
            parts = zip(parted(weights, self.sizes), parted(one.flatten(1), self.sizes), self.sums[name], strict=True)
            for own, grads, total in parts:
                total.add_((own @ grads).view(total.shape))

    def _normalised(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError

    def _back(self, grad: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _wide(self, own: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def _narrow(self, grad: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class LayerNorm(Norm):
    """Over the last dimensions."""

    def _normalised(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.native_layer_norm(x, self.options["shape"], None, None, self.options["eps"])

    def _back(self, grad: torch.Tensor) -> torch.Tensor:
        shape, mask = self.options["shape"], [True, False, False]
        found: torch.Tensor = ops.native_layer_norm_backward(grad, self.x, shape, *self.stats, None, None, mask)[0]
        return found

    def _wide(self, own: torch.Tensor) -> torch.Tensor:
        return own

    def _narrow(self, grad: torch.Tensor) -> torch.Tensor:
        between = tuple(range(1, grad.dim() - len(self.options["shape"])))
        return grad.sum(between) if between else grad


class GroupNorm(Norm):
    """Over groups of channels."""

    def _normalised(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.shape = (len(x), x.shape[1], x[0, 0].numel(), self.options["groups"])
        return torch.native_group_norm(x, None, None, *self.shape, self.options["eps"])

    def _back(self, grad: torch.Tensor) -> torch.Tensor:
        mask = [True, False, False]
        found: torch.Tensor = ops.native_group_norm_backward(grad, self.x, *self.stats, None, *self.shape, mask)[0]
        return found

    def _wide(self, own: torch.Tensor) -> torch.Tensor:
        return own.view(-1, *[1] * (self.x.dim() - 2))

    def _narrow(self, grad: torch.Tensor) -> torch.Tensor:
        return grad.flatten(2).sum(2) if grad.dim() > 2 else grad


class Embedding(Weighted):
    """A table of vectors, looked up by index."""

    def forward(self, x: torch.Tensor, sizes: Sizes) -> torch.Tensor:
        """Look the indices up."""
        self.x, self.sizes = x, sizes
        parts = zip(self.values["weight"], parted(x, sizes), strict=True)
        return torch.cat([ops.embedding(weight, own) for weight, own in parts])

    def backward(self, grad: torch.Tensor, needed: bool) -> torch.Tensor | None:  # noqa: ARG002
        """Keep the gradients of what was looked up, but of padding."""
        padding = self.options["padding"]
        self.delta = grad * (self.x != padding).unsqueeze(-1) if padding >= 0 else grad
        return None

    def squares(self) -> torch.Tensor:
        """Return the norms, an index that comes twice counting as the sum of both."""
        index, delta = self.x.flatten(1), self.delta.flatten(1, -2) if self.x.dim() > 1 else self.delta.unsqueeze(1)
        alike, double = index.unsqueeze(2) == index.unsqueeze(1), delta.double()
        squares = (torch.bmm(double, double.transpose(1, 2)) * alike).sum((1, 2)).clamp_(min=0.0)
        return raised(squares, torch.linalg.vector_norm(double, dim=2).sum(1))

    def drop(self, bad: torch.Tensor) -> None:
        """Make the records' gradients zero."""
        self.delta = zeroed(self.delta, bad)

    def add(self, weights: torch.Tensor) -> None:
        """Add each weighted gradient to its row of the table."""
        delta = self.delta * along(weights, self.delta)
        for total, own, index in zip(
            self.sums["weight"], parted(delta, self.sizes), parted(self.x, self.sizes), strict=True
        ):
            total.add_(ops.embedding_dense_backward(own, index, len(total), self.options["padding"], False))


WEIGHTED: dict[str, type[Weighted]] = {
    "linear": Linear,
    "convolution": Convolution,
    "layer_norm": LayerNorm,
    "group_norm": GroupNorm,
    "embedding": Embedding,
}
