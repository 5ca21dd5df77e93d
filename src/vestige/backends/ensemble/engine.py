"""Chooses how models are trained from their structure, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from vestige.backends import memory
from vestige.backends.ensemble import loop, stacked
from vestige.backends.ensemble.graph import Graph, trace
from vestige.backends.ensemble.order import Order
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.watching import Watch
from vestige.seeds import seed_for
from vestige.target import IntArray

State = dict[str, torch.Tensor]
OnEpoch = Callable[[int, int, State], None]


def structure(plan: Plan) -> Graph | None:
    """Return the layers of the plan's module, or None when it has to run as it is."""
    with _own_randomness(plan.device, 0):
        module = plan.build()
    return trace(module, plan.batch(torch.arange(min(3, len(plan.x)), device=plan.device)).cpu())


def train_many(
    plan: Plan,
    graph: Graph | None,
    rows: Sequence[IntArray],
    seeds: Sequence[int],
    *,
    threads: int = 1,
    on_model: Callable[[int], None] | None = None,
    on_epoch: OnEpoch | None = None,
    start: Sequence[State] | None = None,
    watch: Watch | None = None,
) -> list[State]:
    """Train one model per entry of ``rows``; each is the one that its rows and seed alone would give.

    ``threads`` cut each operation up; batches of a few dozen records gain little from that, and other processes next to
    this one gain more. ``on_epoch`` gets, after each epoch, the model's number, the epoch's, and a copy of its state;
    it changes no bit of what is trained. ``start``: the states to go on from, one per model; by default new ones. Where
    the plan stops early, each model ends with its best weights, and ``on_epoch`` sees none of its epochs after patience
    ran out; ``watch``: what keeps them, for a caller who wants to read it.
    """
    modules = [_initialised(plan, seed) for seed in seeds]
    for module, state in zip(modules, start, strict=True) if start is not None else ():
        module.load_state_dict(state)
    normalises = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules[0].modules()) if modules else False
    orders = [
        Order.of(own, plan.batch_size, seed, join_last_single=normalises) for own, seed in zip(rows, seeds, strict=True)
    ]
    if plan.stopping is not None and watch is None:
        watch = Watch(plan, graph, plan.stopping, len(modules))
    with _threads(plan.device, threads), memory.kept():
        if graph is None:
            return _one_by_one(plan, modules, orders, on_model, on_epoch, watch)
        over = None if watch is None else watch.all_over
        states = stacked.train(plan, graph, modules, orders, _both(watch, on_epoch), over)
    if watch is not None:
        states = [watch.state(k) for k in range(len(states))]
    if on_model is not None:
        for k in range(len(states)):
            on_model(k)
    return states


def _one_by_one(
    plan: Plan,
    modules: Sequence[nn.Module],
    orders: Sequence[Order],
    on_model: Callable[[int], None] | None,
    on_epoch: OnEpoch | None,
    watch: Watch | None,
) -> list[State]:
    seen, states = _both(watch, on_epoch), []
    for k, (module, order) in enumerate(zip(modules, orders, strict=True)):
        with _own_randomness(plan.device, order.seed):
            over = None if watch is None else partial(watch.over, k)
            state = loop.train(plan, module, order, None if seen is None else partial(seen, k), over)
            states.append(state if watch is None else watch.state(k))
        if on_model is not None:
            on_model(k)
    return states


def _both(watch: Watch | None, on_epoch: OnEpoch | None) -> OnEpoch | None:
    """Return what sees every epoch: the one who asked, and the watch, which shows it none after a model's last."""
    if watch is None:
        return on_epoch

    def seen(model: int, epoch: int, state: State) -> None:
        if watch.over(model):
            return
        watch.see(model, state)
        if on_epoch is not None:
            on_epoch(model, epoch, state)

    return seen


def _initialised(plan: Plan, seed: int) -> nn.Module:
    with _own_randomness(plan.device, seed):
        return plan.build()


@contextmanager
def _own_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generator for one model, and put it back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_for(seed, "weights"))
        yield


@contextmanager
def _threads(device: torch.device, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if device.type != "cpu" or before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
