"""The parameters of M models in one buffer, padded so that a model's bits never depend on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

# Elements. Two AVX-512 vectors: each model, and each parameter, starts where it would start alone.
ALIGNMENT = 32


@dataclass(frozen=True, eq=False)
class Slot:
    """One parameter of M models: its values, room for its gradients, and the gradients of the current step."""

    values: list[torch.Tensor]
    room: list[torch.Tensor]
    grads: list[torch.Tensor]

    def select(self, model: int) -> Slot:
        """Return the same parameter of one model, sharing its memory."""
        return Slot(self.values[model : model + 1], self.room[model : model + 1], self.grads[model : model + 1])


@dataclass(frozen=True, eq=False)
class ParameterStore:
    """Named parameters and buffers of M models."""

    slots: dict[str, Slot]
    buffers: list[dict[str, torch.Tensor]]
    models: int

    def select(self, model: int) -> ParameterStore:
        """Return one model's part, sharing its memory."""
        slots = {name: slot.select(model) for name, slot in self.slots.items()}
        return ParameterStore(slots, self.buffers[model : model + 1], 1)

    def gradients(self) -> list[torch.Tensor]:
        """Return the gradients of every parameter, model after model."""
        slots = list(self.slots.values())
        return [slot.grads[m] for m in range(self.models) for slot in slots]

    def state(self, model: int) -> dict[str, torch.Tensor]:
        """Return copies of one model's parameters and buffers."""
        state = {name: slot.values[model].detach().clone() for name, slot in self.slots.items()}
        return state | {name: tensor.clone() for name, tensor in self.buffers[model].items()}


def gather(modules: Sequence[nn.Module], device: torch.device) -> ParameterStore:
    """Copy the parameters of equal-shaped modules into one buffer."""
    shapes = {name: p.shape for name, p in modules[0].named_parameters()}
    offsets, total = {}, 0
    for name, shape in shapes.items():
        offsets[name] = total
        total += -(-shape.numel() // ALIGNMENT) * ALIGNMENT
    values = torch.zeros(len(modules), total, device=device)
    room = torch.zeros_like(values)
    named = [dict(module.named_parameters()) for module in modules]
    slots = {}
    for name, shape in shapes.items():
        part = slice(offsets[name], offsets[name] + shape.numel())
        own = [values[m, part].view(shape) for m in range(len(modules))]
        for m, view in enumerate(own):
            view.copy_(named[m][name].detach())
        grads = [room[m, part].view(shape) for m in range(len(modules))]
        slots[name] = Slot(own, grads, list(grads))
    buffers = [{n: b.detach().clone().to(device) for n, b in module.named_buffers()} for module in modules]
    return ParameterStore(slots, buffers, len(modules))


def view_state(states: Sequence[dict[str, torch.Tensor]]) -> ParameterStore:
    """Wrap trained states for answering queries, without copying; layers pick what they know by name."""
    slots = {name: Slot([s[name] for s in states], [], []) for name in states[0]}
    return ParameterStore(slots, [dict(s) for s in states], len(states))
