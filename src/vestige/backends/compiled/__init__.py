"""Trains fully connected networks on a CPU by loops that numba compiles: one model at a time, no library within.

What passes: the recipe's models ``mlp`` and ``logistic`` without normalisation or augmentation, with any of the named
activations, optimisers, losses and schedules (or a schedule of one's own) and with what defences set (dropout, mixup,
softened labels, relaxed losses, early stopping), on any records, where there is no GPU to use instead. Everything else
is trained by torch, and so is all of it where numba is not installed; a recipe's fingerprint says which. Weights bear
the names that torch would give them, so either side reads what the other wrote.

The compiled code lets go of Python's lock, so that several models are trained in threads of one process. The first
training on a machine waits some seconds for the compiler; `calling` says how its work is kept.

`vectors`, `products`, `pointwise`, `aims`, `epoch` and `entry` are what is compiled; `layout` is what both sides know
of it.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vestige.backends.chunks import GPU_DRIVER
from vestige.backends.objectives import Objective

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

# Raise when a change of the arithmetic makes stored models differ from newly trained ones.
ARITHMETIC = 1
MODELS = ("mlp", "logistic")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu")
# Options that are followed here, whatever their values; any other must be at its default.
FOLLOWED = (
    "model", "hidden", "norm", "activation", "dropout", "epochs", "batch_size", "optimizer", "lr", "momentum",
    "weight_decay", "nesterov", "schedule", "loss", "mixup", "stopping", "normalize", "device", "threads", "chunk",
)  # fmt: skip


def takes(recipe: TorchRecipe) -> bool:
    """Whether models of this recipe are trained here; decided by the recipe and the machine, without loading torch."""
    if not isinstance(recipe.model, str) or recipe.model not in MODELS or not _installed():
        return False
    others = [field for field in dataclasses.fields(recipe) if field.name not in FOLLOWED]
    if any(getattr(recipe, field.name) != field.default for field in others):
        return False
    # What these networks have no option for, or do not know, torch's side complains about.
    own = (recipe.hidden, recipe.norm, recipe.activation, recipe.dropout)
    if recipe.model == "logistic" and any(value is not None for value in own):
        return False
    if recipe.activation not in (None, *ACTIVATIONS) or recipe.norm not in (None, "none"):
        return False
    return isinstance(recipe.optimizer, str) and isinstance(recipe.loss, str | Objective) and _on_cpu(recipe.device)


@cache
def _installed() -> bool:
    return find_spec("numba") is not None


@cache
def _on_cpu(device: str) -> bool:
    if device != "auto" or sys.platform == "darwin" or (sys.platform == "linux" and not GPU_DRIVER.exists()):
        return device in ("auto", "cpu")
    if find_spec("torch") is None:
        return True
    import torch

    return not torch.cuda.is_available()
