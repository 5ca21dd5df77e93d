"""Named networks: each is a factory ``(input_shape, classes, **options) -> nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vestige.errors import ConfigError
from vestige.registry import did_you_mean

Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}
NORMS = ("none", "batch", "layer", "group")


@dataclass(frozen=True)
class Architecture:
    """A named network: what builds it, which options it understands, and whether it wants images."""

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ()
    images: bool = False


def size(shape: Shape) -> int:
    """Return how many numbers a record has."""
    total = 1
    for n in shape:
        total *= n
    return total


def groups_of(channels: int) -> int:
    """Return how many groups to normalise in: up to 8, of at least 4 channels (one alone would become zero)."""
    return max(g for g in range(1, 9) if channels % g == 0 and (channels >= 4 * g or g == 1))


def _norm(kind: str, channels: int, *, images: bool) -> list[nn.Module]:
    match kind:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)]
        case "layer":
            return [nn.GroupNorm(1, channels) if images else nn.LayerNorm(channels)]
        case "group":
            return [nn.GroupNorm(groups_of(channels), channels)]
    raise ConfigError(f"Expected norm to be one of {', '.join(NORMS)}, got '{kind}'.")


def activation(name: str) -> Callable[[], nn.Module]:
    """Return the constructor of an activation; raises ConfigError with the closest names."""
    if name not in ACTIVATIONS:
        hint = did_you_mean(name, list(ACTIVATIONS)) or f"There are: {', '.join(ACTIVATIONS)}."
        raise ConfigError(f"There is no activation called '{name}'.", hint=hint)
    return ACTIVATIONS[name]


def logistic(shape: Shape, outputs: int) -> nn.Module:
    """Multinomial logistic regression: one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(size(shape), outputs))


def mlp(
    shape: Shape,
    outputs: int,
    *,
    hidden: Sequence[int] = (256, 128),
    norm: str = "none",
    activation_name: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Fully connected layers, each followed by normalisation, activation and dropout."""
    layers: list[nn.Module] = [] if len(shape) == 1 else [nn.Flatten()]
    width = size(shape)
    for units in hidden:
        layers += [nn.Linear(width, units), *_norm(norm, units, images=False), activation(activation_name)()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def cnn(
    shape: Shape,
    outputs: int,
    *,
    channels: Sequence[int] = (16, 32),
    hidden: Sequence[int] = (64,),
    norm: str = "none",
    activation_name: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Convolutions of 3 × 3, each followed by pooling of 2 × 2, then fully connected layers."""
    depth, height, width = shape
    layers: list[nn.Module] = []
    for filters in channels:
        if height < 2 or width < 2:
            raise ConfigError(
                f"Expected at least {2 ** len(channels)} pixels a side for {len(channels)} poolings, got {shape}.",
                hint="Give fewer channels.",
            )
        layers += [nn.Conv2d(depth, filters, 3, padding=1), *_norm(norm, filters, images=True)]
        layers += [activation(activation_name)(), nn.MaxPool2d(2)]
        depth, height, width = filters, height // 2, width // 2
    layers.append(nn.Flatten())
    features = depth * height * width
    for units in hidden:
        layers += [nn.Linear(features, units), activation(activation_name)()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        features = units
    return nn.Sequential(*layers, nn.Linear(features, outputs))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, activated after the sum."""

    def __init__(self, before: int, after: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.Sequential(*_norm(norm, after, images=True))
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.Sequential(*_norm(norm, after, images=True))
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), *_norm(norm, after, images=True)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's answer."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(shape: Shape, outputs: int, *, norm: str = "batch") -> nn.Module:
    """ResNet-18 for small images: a 3 × 3 stem without pooling (He et al. 2016, as used on CIFAR)."""
    widths, depth = (64, 128, 256, 512), 64
    layers: list[nn.Module] = [
        nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False), *_norm(norm, 64, images=True), nn.ReLU()
    ]  # fmt: skip
    for k, width in enumerate(widths):
        layers += [BasicBlock(depth, width, 1 if k == 0 else 2, norm), BasicBlock(width, width, 1, norm)]
        depth = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, outputs))


class WideBlock(nn.Module):
    """A pre-activated block of two 3 × 3 convolutions, with dropout between them."""

    def __init__(self, before: int, after: int, stride: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.Sequential(*_norm(norm, before, images=True))
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm2 = nn.Sequential(*_norm(norm, after, images=True))
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.widen = before != after or stride != 1
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if self.widen else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's answer."""
        ready = F.relu(self.norm1(x))
        y = self.dropout(F.relu(self.norm2(self.conv1(ready))))
        answer: torch.Tensor = self.conv2(y) + self.shortcut(ready if self.widen else x)
        return answer


def wide_resnet(shape: Shape, outputs: int, *, norm: str = "batch", dropout: float = 0.0) -> nn.Module:
    """Wide ResNet of depth 28 and width 2 (Zagoruyko and Komodakis 2016)."""
    blocks, before = 4, 16
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False)]
    for group, width in enumerate((32, 64, 128)):
        for k in range(blocks):
            layers.append(WideBlock(before, width, 2 if group and k == 0 else 1, norm, dropout))
            before = width
    layers += [*_norm(norm, before, images=True), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(before, outputs))


def multi_exit(shape: Shape, outputs: int, **options: Any) -> nn.Module:
    """Fully connected layers with an exit after each, see `vestige.backends.multi_exit`."""
    from vestige.backends.multi_exit import multi_exit as build

    return build(shape, outputs, **options)


ARCHITECTURES: dict[str, Architecture] = {
    "logistic": Architecture(logistic),
    "mlp": Architecture(mlp, ("hidden", "norm", "activation", "dropout")),
    "cnn": Architecture(cnn, ("channels", "hidden", "norm", "activation", "dropout"), images=True),
    "resnet18": Architecture(resnet18, ("norm",), images=True),
    "wrn28-2": Architecture(wide_resnet, ("norm", "dropout"), images=True),
    "multi_exit": Architecture(multi_exit, ("hidden", "norm", "activation", "dropout", "confidence")),
}


def build(name: str, shape: Shape, outputs: int, options: dict[str, Any]) -> nn.Module:
    """Return a freshly initialised network called ``name``; options left at None keep the network's defaults."""
    architecture = ARCHITECTURES[name]
    given = {k: v for k, v in options.items() if v is not None}
    for key in given:
        if key not in architecture.options:
            raise ConfigError(
                f"The model '{name}' has no option '{key}'.",
                hint=did_you_mean(key, list(architecture.options))
                or f"It has: {', '.join(architecture.options) or 'none'}.",
            )
    if "activation" in given:
        activation(given["activation"])
        given["activation_name"] = given.pop("activation")
    if architecture.images and len(shape) != 3:
        raise ConfigError(
            f"The model '{name}' needs images, but each record has shape {shape}.", hint="Use 'mlp' for tables."
        )
    return architecture.build(shape, outputs, **given)
