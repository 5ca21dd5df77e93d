"""The length of one record's gradient by one layer's parameters, from what the layer read and its output's gradient.

The gradient of a linear layer's weight for one record is an outer product, so its length is a product of two lengths
(Goodfellow 2015, arXiv:1510.01799); convolutions are linear layers over patches. Each rule here takes (R, …) inputs and
(R, …) gradients of outputs and returns (R,) squared lengths, counting the parameters that are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
Square = Callable[[Any, Tensor, Tensor], Tensor]
FLOATS = 16_000_000
_PLAIN = {"weight", "bias"}


def rule_of(module: Any) -> Square | None:
    """Return the rule of a layer, or None when there is none for its kind.

    The very class counts, not what derives from it, and the parameters must be the usual two: a subclass or a
    reparametrised weight may compute something else.
    """
    kind = type(module)
    if {name for name, _ in module.named_parameters(recurse=False)} - _PLAIN:
        return None
    if kind is nn.Linear:
        return _of_linear
    if kind in (nn.Conv1d, nn.Conv2d) and module.padding_mode == "zeros":
        return _of_convolution
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d) and module.running_mean is not None:
        return _of_batch_norm
    if kind in (nn.LayerNorm, nn.GroupNorm):
        return _of_layer_norm if kind is nn.LayerNorm else _of_group_norm
    if kind is nn.Embedding and module.max_norm is None and not module.scale_grad_by_freq:
        return _of_embedding
    return None


def _trained(parameter: Any) -> bool:
    return parameter is not None and bool(parameter.requires_grad)


def _of_linear(module: nn.Linear, given: Tensor, slope: Tensor) -> Tensor:
    if given.dim() == 2:
        factor = slope.new_zeros(len(slope))
        if _trained(module.weight):
            factor = factor + given.square().sum(1)
        return slope.square().sum(1) * (factor + float(_trained(module.bias)))
    a, d = given.flatten(1, -2), slope.flatten(1, -2)
    total = d.new_zeros(len(d))
    if _trained(module.weight):
        total = total + _products(a, d)
    if _trained(module.bias):
        total = total + d.sum(1).square().sum(1)
    return total


def _products(a: Tensor, d: Tensor) -> Tensor:
    """Return |Σ_t a_t d_tᵀ|² per record over T places, (R, T, in) and (R, T, out), by the smaller of its two forms."""
    if _few(a.shape[1], a.shape[2], d.shape[2]):
        return ((a @ a.transpose(1, 2)) * (d @ d.transpose(1, 2))).sum((1, 2))
    return (a.transpose(1, 2) @ d).square().sum((1, 2))


def _few(places: int, inputs: int, outputs: int) -> bool:
    """Say whether products of places with places take less arithmetic than those of inputs with outputs."""
    return places * (inputs + outputs) < inputs * outputs


def _of_convolution(module: Any, given: Tensor, slope: Tensor) -> Tensor:
    flat = given.dim() == 3
    if flat:  # one dimension is two, of which one is one long
        given, slope = given[:, :, None], slope[:, :, None]
    kernel, dilation, stride = ((1, *v) if flat else v for v in (module.kernel_size, module.dilation, module.stride))
    padding = module.padding
    if padding == "same":
        sizes = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        given = F.pad(given, (sizes[1] // 2, sizes[1] - sizes[1] // 2, sizes[0] // 2, sizes[0] - sizes[0] // 2))
    padding = (0, 0) if isinstance(padding, str) else (0, *padding) if flat else padding
    places, size = slope[0, 0].numel(), module.weight[0].numel()
    if module.groups == 1 and tuple(stride) == (1, 1) and not _few(places, size, slope.shape[1]):
        total = _shifted(
            module, F.pad(given, (padding[1], padding[1], padding[0], padding[0])), slope, kernel, dilation
        )
    else:
        total = _patched(module, given, slope, (kernel, dilation, padding, stride))
    if _trained(module.bias):
        total = total + slope.sum((2, 3)).square().sum(1)
    return total


def _shifted(module: Any, given: Tensor, slope: Tensor, kernel: Any, dilation: Any) -> Tensor:
    """Return the squared length for a weight that moves pixel by pixel, one place of the kernel after the other.

    Rows of the slope are filled up with zeros to the input's width. Then each place of the kernel pairs the slope with
    the same input, moved by one number of pixels, and no patch is ever copied.
    """
    total = slope.new_zeros(len(slope))
    if not _trained(module.weight):
        return total
    height, width = slope.shape[2], given.shape[3]
    length = (height - 1) * width + slope.shape[3]
    d = F.pad(slope, (0, width - slope.shape[3])).flatten(2)[:, :, :length].transpose(1, 2)
    a = given.flatten(2)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            start = i * dilation[0] * width + j * dilation[1]
            total += (a[:, :, start : start + length] @ d).square().sum((1, 2))
    return total


def _patched(module: Any, given: Tensor, slope: Tensor, options: Any) -> Tensor:
    """Return the squared length for any convolution's weight: a linear layer over patches, for each group."""
    total = slope.new_zeros(len(slope))
    if not _trained(module.weight):
        return total
    groups = module.groups
    # Patches hold a pixel once for each place of the kernel: a few records at a time.
    step = max(1, FLOATS // max(1, slope[0, 0].numel() * module.weight[0].numel() * groups))
    for start in range(0, len(given), step):
        part = slice(start, start + step)
        patches = F.unfold(given[part], *options)
        count, _, places = patches.shape
        a = patches.reshape(count * groups, -1, places).transpose(1, 2)
        d = slope[part].reshape(count * groups, -1, places).transpose(1, 2)
        total[part] = _products(a, d).reshape(count, groups).sum(1)
    return total


def _of_batch_norm(module: Any, given: Tensor, slope: Tensor) -> Tensor:
    shape = (1, -1, *(1,) * (given.dim() - 2))
    plain = (given - module.running_mean.view(shape)) / (module.running_var.view(shape) + module.eps).sqrt()
    return _scaled(module, plain, slope, tuple(range(2, given.dim())))


def _of_group_norm(module: nn.GroupNorm, given: Tensor, slope: Tensor) -> Tensor:
    plain = F.group_norm(given, module.num_groups, eps=module.eps)
    return _scaled(module, plain, slope, tuple(range(2, given.dim())))


def _of_layer_norm(module: nn.LayerNorm, given: Tensor, slope: Tensor) -> Tensor:
    plain = F.layer_norm(given, module.normalized_shape, eps=module.eps)
    return _scaled(module, plain, slope, tuple(range(1, given.dim() - len(module.normalized_shape))))


def _scaled(module: Any, plain: Tensor, slope: Tensor, over: tuple[int, ...]) -> Tensor:
    """Return the squared length for ``weight * plain + bias`` with parameters shared over some dimensions."""
    total = slope.new_zeros(len(slope))
    for parameter, found in ((module.weight, slope * plain), (module.bias, slope)):
        if _trained(parameter):
            total = total + (found.sum(over) if over else found).flatten(1).square().sum(1)
    return total


def _of_embedding(module: nn.Embedding, given: Tensor, slope: Tensor) -> Tensor:
    """A row's gradient is the sum over the places where it was looked up."""
    rows, d = given.flatten(1), slope.flatten(1, -2)
    same = rows[:, :, None] == rows[:, None, :]
    if module.padding_idx is not None:
        same = same & (rows != module.padding_idx)[:, :, None]
    return ((d @ d.transpose(1, 2)) * same).sum((1, 2))
