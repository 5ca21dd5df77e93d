"""Upper parts of torch modules, from a linear layer upwards."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from vestige.backends.torch import TorchRecipe, query_many
from vestige.records import Records
from vestige.signals.base import Setting
from vestige.signals.internal.heads import Head, Logits
from vestige.signals.internal.modules import still, whole
from vestige.target import IntArray, Recipe

BLOCK = 512
NAMED = ("hidden", "channels", "norm", "activation", "dropout", "confidence")


def heads_of(owner: Any, setting: Setting, layers: int) -> list[Head]:
    """Return the module's upper parts from each of its last ``layers`` linear layers on, the last one first.

    Only those that the module really ends in: its own answer is compared with theirs.
    """
    module = whole(owner.module)
    found: list[Head] = []
    for head in _cuts(module):
        if len(found) == layers:
            break
        with still(module), torch.no_grad():
            two = owner.prepared(setting.records.rows_of(np.array([0, len(setting.records) - 1])))
            answer, read = _captured(module, head[0], two)
            if read is None or not _alike(head(read), answer):
                continue
        found.append(_head(owner, head, setting))
    return found


def _alike(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-4, atol=1e-5)


def _cuts(module: nn.Module) -> list[nn.Sequential]:
    """Return candidates: the ends of a sequence from each linear layer that has layers below it, or linear layers."""
    flat = list(_flattened(module))
    if len(flat) > 1:
        places = [k for k, m in enumerate(flat) if isinstance(m, nn.Linear)]
        below = [k for k in places if any(list(m.parameters()) for m in flat[:k])]
        return [nn.Sequential(*flat[k:]) for k in reversed(below or places[-1:])]
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return [nn.Sequential(m) for m in reversed(linear)]


def _flattened(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for child in module:
            yield from _flattened(child)
    else:
        yield module


def _captured(module: nn.Module, layer: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the module's answer and what the layer read, None unless it ran once."""
    read: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: read.append(given[0].detach().clone()))
    try:
        answer = module(x)
    finally:
        handle.remove()
    return answer, read[0] if len(read) == 1 else None


def _head(owner: Any, head: nn.Sequential, setting: Setting) -> Head:
    features = _features(owner, head, setting.records)
    everything = np.arange(len(setting.records))
    with still(head), torch.no_grad():
        answers = [head(torch.from_numpy(features[k]).to(owner.device)) for k in _blocks(everything)]
    pool = Records(features, setting.records.y, setting.records.ids, None, setting.records.classes)
    recipe = _recipe(setting.recipe, head)

    def retrained(rows: Sequence[IntArray], seeds: Sequence[int]) -> list[Logits | None]:
        targets = recipe.fit_many(pool, rows, seeds)
        parts = [logits for _, logits in query_many(targets, features)]
        return list(np.concatenate(parts, axis=1))

    own = np.concatenate([owner.checked(answer, len(answer)) for answer in answers])
    return Head(own, retrained)


def _features(owner: Any, head: nn.Sequential, records: Records) -> np.ndarray[Any, np.dtype[np.float32]]:
    parts = []
    module = whole(owner.module)
    with still(module), torch.no_grad():
        for part in _blocks(np.arange(len(records))):
            _, read = _captured(module, head[0], owner.prepared(records.rows_of(part)))
            assert read is not None
            parts.append(read.float().cpu().numpy())
    return np.concatenate(parts)


def _blocks(rows: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _recipe(recipe: Recipe | None, head: nn.Sequential) -> TorchRecipe:
    """Return the target's own training, or the usual one where it is not known, for the head alone."""
    known = recipe if isinstance(recipe, TorchRecipe) else TorchRecipe()
    plain: dict[str, Any] = dict.fromkeys(NAMED)
    return dataclasses.replace(known, model=_untrained(head), normalize="none", augment="none", **plain)


def _untrained(head: nn.Sequential) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        fresh = copy.deepcopy(head).train()
        for m in fresh.modules():
            reset = getattr(m, "reset_parameters", None)
            if callable(reset):
                reset()
        return fresh.requires_grad_(True)

    return build
