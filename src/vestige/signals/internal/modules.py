"""Gradients of single records in a torch module, without computing one record at a time.

Three ways, the fastest that is right for the module: one pass that watches layers of known kinds, torch's own
vectorised gradients for layers of any other kind, and one record after the other for modules that cannot be vectorised.
The first two are compared with the last on two records before they are used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from vestige.errors import ModelError
from vestige.signals.internal.inside import FLOOR, Double, Inside
from vestige.signals.internal.inside import slopes as slopes_of
from vestige.signals.internal.layers import FLOATS, Square, rule_of
from vestige.target import IntArray

ACTIVATIONS = 6_000_000
FEWEST = 8
CLOSE = 1e-3

Tensor = torch.Tensor


class Layer(NamedTuple):
    """A submodule, the names of the parameters it owns, and how its gradient's length is found in one pass."""

    module: nn.Module
    names: tuple[str, ...]
    rule: Square | None


class Pass(NamedTuple):
    """What one pass over a batch shows; tensors, one row per record."""

    logits: Tensor
    slope: tuple[Double, Double, Double]
    hidden: Tensor
    activity: Tensor
    lengths: Tensor


Way = Callable[[Tensor, IntArray], Pass]


@dataclass(eq=False)
class Call:
    """What one layer read and where its answer stands in the graph, at its latest call; ``count``: how many calls."""

    given: Tensor | None = None
    edge: Any = None
    count: int = 0


@dataclass(eq=False)
class Reader:
    """Reads the inside of one module, batch after batch; the module is left as it was."""

    module: nn.Module
    layers: list[Layer] = field(init=False)
    way: Way | None = field(init=False, default=None)
    size: int = field(init=False, default=1)
    kernels: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.module = whole(self.module)
        self.layers = layers_of(self.module)
        if not self.layers:
            raise ModelError("The model has no parameters, so records have no gradients.")

    def read(self, x: Tensor, y: IntArray) -> Inside:
        """Return what the weights show of a batch; ``x`` as the module reads it."""
        with still(self.module):
            way = self.way = self.way or self._chosen(x, y)
            starts = range(0, len(x), self.size)
            parts = [_packed(way(x[start : start + self.size], y[start : start + self.size])) for start in starts]
        return Inside(*(np.concatenate([getattr(p, name) for p in parts]) for name in Inside.__dataclass_fields__))

    def _chosen(self, x: Tensor, y: IntArray) -> Way:
        two = [0, len(x) - 1]
        x, y = x[two], y[two]
        with _counted(self.module) as outputs:
            try:
                slow = self.one_by_one(x, y)
            except ModelError:
                raise
            except Exception as error:  # whatever the author's own forward raises
                raise ModelError(
                    f"The gradients of single records could not be taken: {str(error).splitlines()[0]}.",
                    hint="The module must be differentiable and must answer a batch of one record.",
                ) from error
        # Both passes of each record were counted: without gradients, and with.
        self.size = int(np.clip(ACTIVATIONS // max(1, sum(outputs) // 4), FEWEST, 512))
        for way in (self.fused, partial(self.watched, channels_last=True), self.watched, self.mapped):
            try:
                fast = way(x, y)
            except Exception:  # the next way serves every module that this one does not
                continue
            if _alike(fast.lengths, slow.lengths) and _alike(fast.logits, slow.logits):
                return way
        return self.one_by_one

    def watched(self, x: Tensor, y: IntArray, *, channels_last: bool = False) -> Pass:
        """Take one pass, and each layer's lengths by its rule; raises ModelError where there is no rule.

        ``channels_last``: hand images over in the order in memory that processors pool and convolve fastest.
        """
        if channels_last:
            x = _channels_last(x)
        with torch.enable_grad(), self._watch(graph=True) as calls:
            logits = two_columns(self.module(x))
            slope = _slopes(logits, y)
            for layer in self.layers:
                if layer.rule is None or calls[layer.module].count > 1:
                    raise ModelError("A layer of another kind, or one that is used twice.")
            live = [layer for layer in self.layers if calls[layer.module].edge is not None]
            found = torch.autograd.grad(
                logits, [calls[layer.module].edge for layer in live], _like(slope[1], logits), allow_unused=True
            )
        by_module = dict(zip((layer.module for layer in live), found, strict=True))
        squares = []
        for layer in self.layers:
            call, upper = calls[layer.module], by_module.get(layer.module)
            assert layer.rule is not None
            if upper is None or call.given is None:  # the answer does not depend on it
                squares.append(x.new_zeros(len(x), dtype=logits.dtype))
            elif len(call.given) != len(x):
                raise ModelError("A layer does not see one row per record.")
            else:
                squares.append(layer.rule(layer.module, call.given, upper))
        lengths = torch.stack(squares, dim=1).clamp(min=0).sqrt()
        return Pass(logits.detach(), slope, self._hidden(calls, logits), self._activity(calls, x), lengths.detach())

    def fused(self, x: Tensor, y: IntArray) -> Pass:
        """Take one pass through the kernels that train such networks; raises ModelError where they do not."""
        from vestige.signals.internal.fused import Fused

        own = self.kernels = self.kernels or Fused(self.module, x)
        slope: list[tuple[Double, Double, Double]] = []

        def sloped(logits: Tensor) -> Tensor:
            slope.append(_slopes(two_columns(logits), y))
            return _like(slope[0][1], logits)[:, -logits.shape[1] :]

        found = own.read(x, sloped)
        paths = [layer.names[0].rpartition(".")[0] for layer in self.layers]
        modules = {path: self.module.get_submodule(path) for path in found.given}
        calls = {modules[path]: Call(given=given, count=1) for path, given in found.given.items()}
        lengths = torch.stack([found.lengths[path] for path in paths], dim=1)
        logits = two_columns(found.logits)
        return Pass(logits, slope[0], self._hidden(calls, logits), self._activity(calls, x), lengths)

    def mapped(self, x: Tensor, y: IntArray) -> Pass:
        """Take the lengths through torch.func, for modules of any differentiable layers."""
        logits, slope, hidden, activity = self._answered(x, y)
        named = dict(self.module.named_parameters())
        names = [name for layer in self.layers for name in layer.names]
        own = {name: named[name].detach() for name in names}
        fixed = {name: p.detach() for name, p in named.items() if name not in own}
        fixed |= {name: b.detach() for name, b in self.module.named_buffers()}

        def projected(weights: dict[str, Tensor], one: Tensor, slope: Tensor) -> Tensor:
            answer = torch.func.functional_call(self.module, {**weights, **fixed}, (one[None],))
            return (two_columns(answer)[0] * slope).sum()

        each = torch.func.vmap(torch.func.grad(projected), in_dims=(None, 0, 0))
        direction = _like(slope[1], logits)
        step = max(1, FLOATS // max(1, sum(p.numel() for p in own.values())))
        parts = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            for start in range(0, len(x), step):
                found = each(own, x[start : start + step], direction[start : start + step])
                parts.append(self._lengths({name: g.flatten(1) for name, g in found.items()}))
        return Pass(logits, slope, hidden, activity, torch.cat(parts))

    def one_by_one(self, x: Tensor, y: IntArray) -> Pass:
        """Differentiate one record after the other."""
        each = [self._one(x[k : k + 1], y[k : k + 1]) for k in range(len(x))]
        said, direction, length = (np.concatenate([one.slope[place] for one in each]) for place in range(3))
        return Pass(
            torch.cat([one.logits for one in each]),
            (said, direction, length),
            torch.cat([one.hidden for one in each]),
            torch.cat([one.activity for one in each]),
            torch.cat([one.lengths for one in each]),
        )

    def _one(self, x: Tensor, y: IntArray) -> Pass:
        logits, slope, hidden, activity = self._answered(x, y)
        named = dict(self.module.named_parameters())
        names = [name for layer in self.layers for name in layer.names]
        weights = [named[name] for name in names]
        with torch.enable_grad():
            again = two_columns(self.module(x))
            found: Sequence[Tensor | None] = torch.autograd.grad(
                again, weights, _like(slope[1], again), allow_unused=True
            )
        flat = [p.new_zeros(1, 1) if g is None else g.flatten()[None] for p, g in zip(weights, found, strict=True)]
        return Pass(logits, slope, hidden, activity, self._lengths(dict(zip(names, flat, strict=True))))

    def _lengths(self, gradients: dict[str, Tensor]) -> Tensor:
        squares = [
            torch.stack([gradients[name].square().sum(1) for name in layer.names]).sum(0) for layer in self.layers
        ]
        return torch.stack(squares, dim=1).sqrt()

    def _answered(self, x: Tensor, y: IntArray) -> tuple[Tensor, tuple[Double, Double, Double], Tensor, Tensor]:
        with torch.no_grad(), self._watch(graph=False) as calls:
            logits = two_columns(self.module(x))
        return logits, _slopes(logits, y), self._hidden(calls, logits), self._activity(calls, x)

    @contextmanager
    def _watch(self, *, graph: bool) -> Iterator[dict[nn.Module, Call]]:
        """Record what every layer reads; keys are in the order of their latest calls."""
        calls = {layer.module: Call() for layer in self.layers}

        def note(own: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
            call = calls.pop(own, None) or Call()
            call.count += 1
            call.given = given[0].detach() if given and isinstance(given[0], Tensor) else None
            # An edge, not the tensor: an activation in place would turn the tensor into its own answer.
            traced = graph and isinstance(answer, Tensor) and answer.requires_grad
            call.edge = torch.autograd.graph.get_gradient_edge(answer) if traced else None
            calls[own] = call

        watched = [m for m in self.module.modules() if m in calls or isinstance(m, nn.Linear)]
        handles = [m.register_forward_hook(note) for m in watched]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()

    def _hidden(self, calls: dict[nn.Module, Call], logits: Tensor) -> Tensor:
        """Return what the last linear layer read, or else the last layer; averaged over places where it has many."""
        called = [(m, call.given) for m, call in calls.items() if call.given is not None]
        linear = [pair for pair in called if isinstance(pair[0], nn.Linear)]
        if not called:
            return logits.detach()
        last, given = (linear or called)[-1]
        if len(given) != len(logits) or given.dim() < 2:
            return logits.detach()
        inner = range(1, given.dim() - 1) if isinstance(last, nn.Linear) else range(2, given.dim())
        given = given.to(logits.dtype)
        return given.mean(tuple(inner)) if len(inner) else given

    def _activity(self, calls: dict[nn.Module, Call], x: Tensor) -> Tensor:
        found = []
        for layer in self.layers:
            given = calls[layer.module].given
            if given is None or len(given) != len(x):
                found.append(torch.zeros(len(x), 3, device=x.device))
                continue
            values, inner = given.float(), tuple(range(1, given.dim()))
            size = values[0].numel()
            mean = torch.linalg.vector_norm(values, dim=inner) / size**0.5 + FLOOR
            largest = values.abs().amax(inner) + FLOOR
            filled = values.sign().abs_().sum(inner) / size  # counting what is not zero takes six times as long
            found.append(torch.stack([mean.log(), filled, (largest / mean).log()], dim=1))
        return torch.stack(found, dim=1)


def whole(module: nn.Module) -> nn.Module:
    """Return the module, or of one that records may leave early all of it: who has the weights can run it through."""
    through: Callable[[], nn.Module] | None = getattr(module, "through", None)
    return module if through is None else through()


def _channels_last(x: Tensor) -> Tensor:
    """Return images with their channels innermost; of one channel too, where only the strides say so."""
    if x.dim() != 4 or not x.is_floating_point() or x.device.type != "cpu":
        raise ModelError("Not a batch of images in main memory.")
    _, depth, height, width = x.shape
    strides = (depth * height * width, 1, depth * width, depth)
    return torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)


def two_columns(answer: Any) -> Tensor:
    """Return (R, C) logits; one logit stands for the second of two classes."""
    if not isinstance(answer, Tensor) or answer.dim() not in (1, 2):
        raise ModelError("Expected the model to answer with one row of class scores per record.")
    if answer.dim() == 1:
        answer = answer[:, None]
    return torch.cat([torch.zeros_like(answer), answer], dim=1) if answer.shape[1] == 1 else answer


def layers_of(module: nn.Module) -> list[Layer]:
    """Return the submodules that own trained parameters, in order of definition; all parameters if none is trained.

    A parameter that several own is the first one's, and no rule knows what the others do with it.
    """
    frozen = not any(p.requires_grad for p in module.parameters())
    owners: dict[str, list[str]] = {}
    for name, p in module.named_parameters():
        if p.requires_grad or frozen:
            owners.setdefault(name.rpartition(".")[0], []).append(name)
    several = len(list(module.named_parameters(remove_duplicate=False))) > len(list(module.named_parameters()))
    found = []
    for path, names in owners.items():
        own = module.get_submodule(path)
        found.append(Layer(own, tuple(names), None if several else rule_of(own)))
    return found


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode, with parameters that have gradients, and give it back as it was."""
    training = [m for m in module.modules() if m.training]
    frozen = [] if any(p.requires_grad for p in module.parameters()) else list(module.parameters())
    module.eval()
    for p in frozen:
        p.requires_grad_(p.is_floating_point())
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)
        for m in training:
            m.training = True


@contextmanager
def _counted(module: nn.Module) -> Iterator[list[int]]:
    """Count the numbers that submodules answer with: what a graph keeps in memory."""
    outputs: list[int] = []

    def count(own: nn.Module, given: Any, answer: Any) -> None:  # noqa: ARG001
        if isinstance(answer, Tensor):
            outputs.append(answer.numel())

    handles = [m.register_forward_hook(count) for m in module.modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _slopes(logits: Tensor, y: IntArray) -> tuple[Double, Double, Double]:
    return slopes_of(logits.detach().double().cpu().numpy(), y)


def _like(slope: Any, logits: Tensor) -> Tensor:
    return torch.from_numpy(slope).to(logits.device, logits.dtype)


def _alike(first: Tensor, second: Tensor) -> bool:
    return bool(((first - second).abs() <= CLOSE * second.abs().amax(0, keepdim=True) + 1e-6).all())


def _packed(found: Pass) -> Inside:
    rest = (t.detach().double().cpu().numpy() for t in (found.hidden, found.lengths, found.activity))
    return Inside(*found.slope, *rest)
