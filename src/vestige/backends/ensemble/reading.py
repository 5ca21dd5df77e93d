"""Recognises one node of a traced module as a layer that the stacked engine knows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Part:
    """A recognised node: its kind, the names of the nodes it reads, and the module that has its parameters."""

    kind: str
    inputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    module: str | None = None


# A size or a shape: not an activation, so nothing to compute.
NOT_A_VALUE = Part("not a value")

_RESHAPES = {"flatten", "view", "reshape", "unsqueeze", "squeeze"}
_METHODS = {"relu", "relu_", "tanh", "sigmoid"}
_FUNCTIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    torch.relu: ("relu", ()),
    torch.relu_: ("relu", ()),
    F.relu: ("relu", ("inplace",)),
    torch.tanh: ("tanh", ()),
    F.tanh: ("tanh", ()),
    torch.sigmoid: ("sigmoid", ()),
    F.sigmoid: ("sigmoid", ()),
    F.silu: ("silu", ("inplace",)),
    F.gelu: ("gelu", ("approximate",)),
    F.leaky_relu: ("leaky_relu", ("negative_slope", "inplace")),
    F.elu: ("elu", ("alpha", "inplace")),
}


def read(node: fx.Node, twin: fx.Node, modules: Mapping[str, nn.Module], batch: int) -> Part | None:
    """Return what ``node`` is, or None when it is not a known layer; ``twin`` is the same node, traced for training."""
    shape = node.meta.get("shape")
    if shape is None:
        return NOT_A_VALUE
    if len(shape) < 1 or shape[0] != batch:
        return None
    if node.op == "call_module":
        target = str(node.target)
        part = _module(modules[target], target, node)
    elif node.op == "call_function":
        part = _function(node, twin)
    elif node.op == "call_method":
        part = _method(node)
    else:
        return None
    if part is not None and _inplace(node, modules) and len(node.all_input_nodes[0].users) > 1:
        return None
    return part


def _inplace(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    own = node.op == "call_module" and getattr(modules[str(node.target)], "inplace", False)
    named = node.op == "call_method" and str(node.target).endswith("_")
    return bool(
        own or named or node.kwargs.get("inplace") or node.target in (operator.iadd, operator.imul, torch.relu_)
    )


def _source(node: fx.Node) -> tuple[str, ...]:
    return (node.all_input_nodes[0].name,)


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["shape"])


def _reshape(node: fx.Node) -> Part | None:
    before = node.all_input_nodes[0]
    shape = _shape(node)
    size = 1
    for n in _shape(before):
        size *= n
    for n in shape:
        size //= n
    return (
        Part("reshape", (before.name,), {"shape": shape[1:]}) if size == 1 and _shape(before)[0] == shape[0] else None
    )


def _pair(value: Any) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(value)] * 2


def _max_pool(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> dict[str, Any]:
    return {
        "kernel": _pair(kernel),
        "stride": _pair(kernel if stride is None else stride),
        "padding": _pair(padding),
        "dilation": _pair(dilation),
        "ceil": bool(ceil),
    }


def _average_pool(
    kernel: Any, stride: Any, padding: Any, ceil: bool, count: bool, divisor: int | None
) -> dict[str, Any]:
    return {
        "kernel": _pair(kernel),
        "stride": _pair(kernel if stride is None or stride == [] else stride),
        "padding": _pair(padding),
        "ceil": bool(ceil),
        "count_pad": bool(count),
        "divisor": divisor,
    }


def _module(module: nn.Module, name: str, node: fx.Node) -> Part | None:
    # Exact types only: a subclass may compute anything.
    source = _source(node)
    if len(node.args) != 1 or node.kwargs:
        return None
    kind = type(module)
    simple = _SIMPLE_MODULES.get(kind)
    if simple is not None:
        return Part("activation", source, simple(module))
    match module:
        case nn.Identity() if kind is nn.Identity:
            return Part("same", source)
        case nn.Dropout() if kind is nn.Dropout:
            return Part("dropout", source, {"p": module.p})
        case nn.Flatten() | nn.Unflatten() if kind in (nn.Flatten, nn.Unflatten):
            return _reshape(node)
        case nn.Linear() if kind is nn.Linear:
            return Part("linear", source, {"relu": False}, name)
        case nn.Conv2d() if kind is nn.Conv2d and module.padding_mode == "zeros" and module.padding != "same":
            padding = [0, 0] if module.padding == "valid" else _pair(module.padding)
            return Part(
                "convolution",
                source,
                {
                    "stride": _pair(module.stride),
                    "padding": padding,
                    "dilation": _pair(module.dilation),
                    "groups": module.groups,
                },
                name,
            )
        case nn.BatchNorm1d() | nn.BatchNorm2d() if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
            if module.momentum is None:
                return None
            return Part("batch_norm", source, {"momentum": module.momentum, "eps": module.eps}, name)
        case nn.LayerNorm() if kind is nn.LayerNorm:
            return Part("layer_norm", source, {"shape": list(module.normalized_shape), "eps": module.eps}, name)
        case nn.GroupNorm() if kind is nn.GroupNorm:
            return Part("group_norm", source, {"groups": module.num_groups, "eps": module.eps}, name)
        case nn.Embedding() if kind is nn.Embedding and module.max_norm is None and not module.sparse:
            if module.scale_grad_by_freq:
                return None
            padding_index = -1 if module.padding_idx is None else module.padding_idx
            return Part("embedding", source, {"padding": padding_index}, name)
        case nn.MaxPool2d() if kind is nn.MaxPool2d and not module.return_indices:
            o = _max_pool(module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
            return Part("max_pool", source, o)
        case nn.AvgPool2d() if kind is nn.AvgPool2d:
            o = _average_pool(
                module.kernel_size,
                module.stride,
                module.padding,
                module.ceil_mode,
                module.count_include_pad,
                module.divisor_override,
            )
            return Part("average_pool", source, o)
        case nn.AdaptiveAvgPool2d() if kind is nn.AdaptiveAvgPool2d:
            return Part("adaptive_average_pool", source, {"size": list(_shape(node)[-2:])})
    return None


_SIMPLE_MODULES: dict[type[nn.Module], Callable[[Any], dict[str, Any]]] = {
    nn.ReLU: lambda _: {"function": "relu"},
    nn.Tanh: lambda _: {"function": "tanh"},
    nn.Sigmoid: lambda _: {"function": "sigmoid"},
    nn.SiLU: lambda _: {"function": "silu"},
    nn.GELU: lambda m: {"function": "gelu", "approximate": m.approximate},
    nn.LeakyReLU: lambda m: {"function": "leaky_relu", "negative_slope": m.negative_slope},
    nn.ELU: lambda m: {"function": "elu", "alpha": m.alpha},
    nn.Hardtanh: lambda m: {"function": "hardtanh", "min_val": m.min_val, "max_val": m.max_val},
    nn.ReLU6: lambda _: {"function": "hardtanh", "min_val": 0.0, "max_val": 6.0},
}


def _arguments(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any] | None:
    if len(node.args) - 1 > len(names) or not set(node.kwargs) <= set(names):
        return None
    return {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}


def _function(node: fx.Node, twin: fx.Node) -> Part | None:
    target = node.target
    if target in _FUNCTIONS:
        name, parameters = _FUNCTIONS[target]
        given = _arguments(node, parameters)
        if given is None or any(isinstance(v, fx.Node) for v in given.values()):
            return None
        if given.pop("inplace", False) and len(node.all_input_nodes[0].users) > 1:
            return None
        return Part("activation", _source(node), {"function": name, **given})
    if target is F.dropout:
        return _dropout(node, twin)
    if target is torch.flatten:
        return _reshape(node)
    if target in (operator.add, operator.iadd, torch.add):
        return _arithmetic(node, "add", "shift", "term")
    if target in (operator.mul, operator.imul, torch.mul):
        return _arithmetic(node, "multiply", "scale", "factor")
    if target in (torch.cat, torch.concat):
        return _concatenate(node)
    if target is F.max_pool2d:
        given = _arguments(node, ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"))
        if given is None or given.pop("return_indices", False):
            return None
        options = _max_pool(
            given["kernel_size"],
            given.get("stride"),
            given.get("padding", 0),
            given.get("dilation", 1),
            given.get("ceil_mode", False),
        )
        return Part("max_pool", _source(node), options)
    if target is F.avg_pool2d:
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        given = _arguments(node, names)
        defaults = dict(zip(names, (None, None, 0, False, True, None), strict=True))
        return (
            None
            if given is None
            else Part("average_pool", _source(node), _average_pool(*{**defaults, **given}.values()))
        )
    if target is F.adaptive_avg_pool2d:
        return Part("adaptive_average_pool", _source(node), {"size": list(_shape(node)[-2:])})
    return None


def _dropout(node: fx.Node, twin: fx.Node) -> Part | None:
    names = ("p", "training", "inplace")
    answering, training = _arguments(node, names), _arguments(twin, names)
    if answering is None or training is None or answering.get("training", True) or not training.get("training", True):
        return None
    return Part("dropout", _source(node), {"p": float(training.get("p", 0.5))})


def _arithmetic(node: fx.Node, both: str, constant: str, option: str) -> Part | None:
    if len(node.args) != 2 or node.kwargs:
        return None
    left, right = node.args
    if isinstance(left, fx.Node) and isinstance(right, fx.Node):
        tensors = all("shape" in side.meta for side in (left, right))
        return Part(both, (left.name, right.name)) if tensors and _shape(left) == _shape(right) else None
    number = right if isinstance(left, fx.Node) else left
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return Part("activation", _source(node), {"function": constant, option: float(number)})
    return None


def _concatenate(node: fx.Node) -> Part | None:
    given = _arguments(node, ("dim",))
    parts = node.args[0]
    if given is None or not isinstance(parts, (list, tuple)):
        return None
    sources = [p for p in parts if isinstance(p, fx.Node)]
    if len(sources) != len(parts):
        return None
    dim, depth = given.get("dim", 0), len(_shape(node))
    if not isinstance(dim, int) or dim in (0, -depth):
        return None
    return Part("concatenate", tuple(p.name for p in sources), {"dim": dim if dim < 0 else dim - depth})


def _method(node: fx.Node) -> Part | None:
    name = str(node.target)
    if name in _RESHAPES:
        return _reshape(node)
    if name == "contiguous" and not node.kwargs and len(node.args) == 1:
        return Part("same", _source(node))
    if name in _METHODS and len(node.args) == 1 and not node.kwargs:
        return Part("activation", _source(node), {"function": name.rstrip("_")})
    return None
