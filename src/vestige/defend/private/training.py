"""Trains private models by the engine that fits their structure: many at once, or one by one through Opacus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from vestige.backends.ensemble.engine import _threads
from vestige.defend.private.dp_batched import OnEpoch, State, initialised, readable, train
from vestige.defend.private.dp_opacus import train_one
from vestige.defend.private.randomness import Randomness
from vestige.errors import ConfigError
from vestige.target import IntArray

if TYPE_CHECKING:
    from vestige.backends.torch_setup import Setup
    from vestige.defend.private.loop import PrivateLoop
    from vestige.records import Records


def train_all(
    defence: PrivateLoop,
    setup: Setup,
    records: Records,
    rows: Sequence[IntArray],
    seeds: Sequence[int],
    *,
    threads: int = 1,
    on_epoch: OnEpoch | None = None,
) -> list[State]:
    """Return the trained state of one model per entry of ``rows``.

    Raises ConfigError when the engine asked for cannot train such a module.
    """
    plan, graph = setup.plan, setup.graph
    batched = defence.engine != "opacus" and readable(graph)
    if defence.engine == "batched" and not batched:
        raise ConfigError(
            "The batched engine cannot read this module layer by layer.", hint="Set engine = 'opacus', or 'auto'."
        )
    terms = [defence.terms(plan.epochs, plan.batch_size, len(own)) for own in rows]
    found: dict[int, State] = {}
    with _threads(plan.device, threads):
        for one in dict.fromkeys(terms):
            places = [k for k, own in enumerate(terms) if own == one]
            random = [Randomness(seeds[k], defence.release) for k in places]
            modules = [initialised(plan, seeds[k]) for k in places]
            mine = [rows[k] for k in places]
            parts = [defence.part(draw, one, records, own) for draw, own in zip(random, mine, strict=True)]
            clips, rates = [part.clip for part in parts], [part.rate for part in parts]
            if batched:
                assert graph is not None
                told = None if on_epoch is None else _renumbered(on_epoch, places)
                states = train(plan, graph, modules, one, clips, mine, random, told, rates)
            else:
                told_of = [None if on_epoch is None else partial(on_epoch, k) for k in places]
                states = [
                    train_one(plan, module, one, part.clip, own, draw, defence.mode, told, part.rate)
                    for module, part, own, draw, told in zip(modules, parts, mine, random, told_of, strict=True)
                ]
            found |= dict(zip(places, states, strict=True))
    return [found[k] for k in range(len(rows))]


def _renumbered(on_epoch: OnEpoch, places: Sequence[int]) -> Callable[[int, int, dict[str, torch.Tensor]], None]:
    return lambda m, epoch, state: on_epoch(places[m], epoch, state)
