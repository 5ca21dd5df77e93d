"""Many small models trained at once, every record's gradient cut to a norm, none of them ever written out.

One forward and one backward pass give what every record adds to every layer; its norm follows from that, and so does
the weighted sum of the cut gradients. The rows of all models lie in one tensor, one model's after another's, and where
memory is aligned decides the last bits of a product, so every part begins where it would begin alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from vestige.backends import memory
from vestige.backends.ensemble import Plan
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.layers import Dropout, Layer, Run
from vestige.backends.ensemble.losses import CrossEntropy, Loss, SquaredError, _wanted, at_epoch
from vestige.backends.ensemble.order import generator
from vestige.backends.ensemble.stack import KINDS
from vestige.backends.ensemble.store import ALIGNMENT, ParameterStore, gather
from vestige.defend.private.clipping import Clip, shares
from vestige.defend.private.dp_layers import Weighted, parted
from vestige.defend.private.dp_norms import WEIGHTED
from vestige.defend.private.randomness import Randomness, poisson
from vestige.defend.private.terms import Terms
from vestige.seeds import seed_for
from vestige.target import IntArray

State = dict[str, torch.Tensor]
OnEpoch = Callable[[int, int, State], None]
MIXING = ("batch_norm",)
ROWS = 16
"""Each model's rows start at a multiple of this, so that its matrices are aligned as they would be alone."""


def readable(graph: Graph | None) -> bool:
    """Whether every layer with parameters can tell its records apart."""
    return graph is not None and not any(
        node.kind in MIXING or (node.module is not None and node.kind not in WEIGHTED) for node in graph.nodes
    )


class Network:
    """A graph bound to the parameters of M models, and room for one sum of gradients each.

    ``sums``: by the parameter's name, one tensor per model.
    """

    def __init__(self, graph: Graph, store: ParameterStore, dropout: Sequence[torch.Generator]) -> None:
        self.graph, self.store, self.dropout = graph, store, dropout
        shapes = {name: slot.values[0].shape for name, slot in store.slots.items()}
        room = [-(-shape.numel() // ALIGNMENT) * ALIGNMENT for shape in shapes.values()]
        flat = torch.zeros(store.models, sum(room), device=store_device(store))
        self.sums: dict[str, list[torch.Tensor]] = {}
        start = 0
        for (name, shape), taken in zip(shapes.items(), room, strict=True):
            self.sums[name] = [own[start : start + shape.numel()].view(shape) for own in flat]
            start += taken
        self.layers: list[Weighted | Layer] = [
            self._bound(node.kind, node.module, node.options) for node in graph.nodes
        ]
        self.needed = [False]
        for node in graph.nodes:
            self.needed.append(node.module is not None or any(self.needed[i] for i in node.inputs))

    def _bound(self, kind: str, module: str | None, options: object) -> Weighted | Layer:
        if module is None:
            return KINDS[kind](options, {}, [])  # type: ignore[arg-type]
        names = {name.rpartition(".")[2]: name for name in self.sums if name.rpartition(".")[0] == module}
        values = {short: self.store.slots[name].values for short, name in names.items()}
        sums = {short: self.sums[name] for short, name in names.items()}
        return WEIGHTED[kind](options, values, sums)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """Return the answers of model m to its ``sizes[m]`` records, for all models."""
        values = [x]
        run = Run(True)
        for node, layer in zip(self.graph.nodes, self.layers, strict=True):
            given = [values[i] for i in node.inputs]
            if isinstance(layer, Weighted):
                values.append(layer.forward(given[0], sizes))
            elif isinstance(layer, Dropout):
                values.append(self._dropped(layer, given[0], sizes))
            else:
                values.append(layer.forward([[one] for one in given], run)[0])
        return values[-1]

    def _dropped(self, layer: Dropout, x: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        keep = 1 - layer.options["p"]
        masks = [
            torch.empty_like(own).bernoulli_(keep, generator=g)
            for own, g in zip(parted(x, sizes), self.dropout, strict=True)
        ]
        mask = torch.cat(masks).div_(keep) if keep else torch.zeros_like(x)
        layer.saved = [mask]
        return x * mask

    def backward(self, grad: torch.Tensor) -> None:
        """Let every layer keep what each record adds to it, from the gradient of each record's own loss."""
        pending = {len(self.layers): grad}
        for k in range(len(self.layers) - 1, -1, -1):
            inputs, layer = self.graph.nodes[k].inputs, self.layers[k]
            if not self.needed[k + 1]:
                continue
            own, needed = pending.pop(k + 1), [self.needed[i] for i in inputs]
            if isinstance(layer, Weighted):
                found: Sequence[torch.Tensor | None] = [layer.backward(own, needed[0])]
            elif isinstance(layer, Dropout):
                found = [own * layer.saved[0]]
            else:
                found = [None if part is None else part[0] for part in layer.backward([own], needed)]
            for i, part in zip(inputs, found, strict=True):
                if part is not None and self.needed[i]:
                    pending[i] = pending[i] + part if i in pending else part

    @property
    def weighted(self) -> list[Weighted]:
        """The layers with parameters."""
        return [layer for layer in self.layers if isinstance(layer, Weighted)]

    def norms(self) -> torch.Tensor:
        """Return (R,) the norm of each record's gradient; one that is not finite is made zero, and forgotten."""
        total = torch.stack([layer.squares() for layer in self.weighted]).sum(0)
        bad = ~total.isfinite()
        if bad.any():
            for layer in self.weighted:
                layer.drop(bad)
            total = total.masked_fill(bad, 0.0)
        return total.sqrt_()

    def add(self, weights: torch.Tensor) -> None:
        """Add each model's weighted sum of its records' gradients to its room."""
        for layer in self.weighted:
            layer.add(weights)


def store_device(store: ParameterStore) -> torch.device:
    """Return where the parameters are."""
    return next(iter(store.slots.values())).values[0].device


def own_gradients(plan: Plan, outputs: torch.Tensor, y: torch.Tensor, epoch: int = 0) -> torch.Tensor:
    """Return d loss / d outputs of each record by itself, as if it were alone in its batch."""
    loss = at_epoch(plan.loss, epoch)
    if isinstance(loss, CrossEntropy):
        return CrossEntropy._rows(outputs, y, 1)
    if isinstance(loss, SquaredError):
        return (outputs - _wanted(outputs, y)) * (2.0 / max(1, outputs[:1].numel()))

    def one(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return loss.value(output[None], wanted[None]).sum()

    with torch.enable_grad():
        try:
            found: torch.Tensor = torch.func.vmap(torch.func.grad(one), randomness="different")(outputs, y)
        except RuntimeError:
            # A loss of the user's own may decide by values, which cannot be done for all records at once.
            found = _one_by_one(loss, outputs, y)
    return found


def _one_by_one(loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    found = torch.zeros_like(outputs)
    for k in range(len(outputs)):
        leaf = outputs[k : k + 1].detach().requires_grad_()
        found[k] = torch.autograd.grad(loss.value(leaf, y[k : k + 1]).sum(), leaf)[0][0]
    return found


def train(
    plan: Plan,
    graph: Graph,
    modules: Sequence[nn.Module],
    terms: Terms,
    clips: Sequence[Clip],
    rows: Sequence[IntArray],
    random: Sequence[Randomness],
    on_epoch: OnEpoch | None = None,
    rates: Sequence[torch.Tensor | float] | None = None,
) -> list[State]:
    """Return the trained state of each module, all on the same terms; the same bytes however they are grouped.

    ``rows``, ``clips`` and ``random`` have one entry per model, and so have ``rates`` where they differ from the terms.
    """
    with torch.no_grad(), memory.kept():
        store = gather(modules, plan.device)
        trainer = _Trainer(
            plan,
            Network(graph, store, [generator(r.seed, "dropout", plan.device) for r in random]),
            terms,
            clips,
            rows,
            random,
            [terms.rate] * len(modules) if rates is None else rates,
        )
        for epoch in range(plan.epochs):
            trainer.epoch(epoch)
            for m in range(len(modules)) if on_epoch is not None else ():
                assert on_epoch is not None
                on_epoch(m, epoch, store.state(m))
        return [store.state(m) for m in range(len(modules))]


class _Trainer:
    def __init__(
        self,
        plan: Plan,
        network: Network,
        terms: Terms,
        clips: Sequence[Clip],
        rows: Sequence[IntArray],
        random: Sequence[Randomness],
        rates: Sequence[torch.Tensor | float],
    ) -> None:
        self.plan, self.network, self.terms, self.clips = plan, network, terms, clips
        self.random, self.now = random, 0
        steps = terms.steps * plan.epochs
        self.batches = [
            poisson(own, rate, steps, r.generator("sample")) for own, rate, r in zip(rows, rates, random, strict=True)
        ]
        self.noise = [r.generator("noise") for r in random]
        self.augment = [generator(r.seed, "augment", plan.device) for r in random]
        slots = network.store.slots.values()
        self.models = list(range(network.store.models))
        self.update = plan.optimiser.on([[slot.values[m] for slot in slots] for m in self.models])
        self.grads = [own[m] for m in self.models for own in network.sums.values()]

    def epoch(self, epoch: int) -> None:
        """Take an epoch's steps."""
        rate, noise = self.plan.rate(epoch), self.terms.noise * self.terms.factors[epoch]
        self.now = epoch
        for _ in range(self.terms.steps):
            self.fill(noise)
            rows = [next(own) for own in self.batches]
            self.look(rows)
            self.update.step(self.models, self.grads, rate)

    def fill(self, noise: float) -> None:
        """Begin every model's sums with its noise, parameter by parameter, as Opacus draws it."""
        for m, (clip, draw) in enumerate(zip(self.clips, self.noise, strict=True)):
            spread = clip.spread(noise) / self.terms.divisor
            for name in self.network.sums:
                self.random[m].normal(self.network.sums[name][m], spread, draw)

    def look(self, rows: Sequence[torch.Tensor]) -> None:
        """Add the cut gradients of one batch per model, any of which may be empty, and let the norms be seen."""
        lengths = [len(own) for own in rows]
        # The records that fill up a model's last block of rows have no weight.
        sizes = [-(-length // ROWS) * ROWS for length in lengths]
        real = torch.zeros(sum(sizes), dtype=torch.bool)
        index = torch.zeros(sum(sizes), dtype=torch.int64)
        for own, taken, place in zip(rows, parted(real, sizes), parted(index, sizes), strict=True):
            taken[: len(own)] = True
            place[: len(own)] = own
        norms = self._added(rows, index, real, sizes) if len(real) else torch.zeros(0)
        for clip, own in zip(self.clips, parted(norms, lengths), strict=True):
            clip.observe(own, self.terms.divisor)

    def _added(
        self, rows: Sequence[torch.Tensor], index: torch.Tensor, real: torch.Tensor, sizes: Sequence[int]
    ) -> torch.Tensor:
        plan = self.plan
        index, real = index.to(plan.device), real.to(plan.device)
        x, y = plan.batch(index), plan.y.index_select(0, index)
        if plan.augment is not None:
            batches = zip(parted(x, sizes), self.augment, strict=True)
            x = torch.cat([plan.augment(own, draw) if len(own) else own for own, draw in batches])
        self.network.backward(own_gradients(plan, self.network.forward(x, sizes), y, self.now))
        norms = self.network.norms()
        limits = torch.zeros_like(norms)
        models = zip(self.clips, rows, parted(norms, sizes), parted(limits, sizes), strict=True)
        for clip, own, seen, into in models:
            into[: len(own)] = clip.limits(own, seen[: len(own)])
        self.network.add(shares(norms, limits).div_(self.terms.divisor))
        return norms[real]


def initialised(plan: Plan, seed: int) -> nn.Module:
    """Return an untrained module whose weights the seed alone decides."""
    with own_randomness(seed, "weights"):
        return plan.build()


@contextmanager
def own_randomness(seed: int, purpose: str) -> Iterator[None]:
    """Seed torch's global generator for one model, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, purpose))
        yield
