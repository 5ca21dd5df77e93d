"""Canaries that are no records but directions: one weight each, added to a batch as one more record's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vestige.canary.readings import Seen
from vestige.errors import UsageError
from vestige.metrics.estimate import Array
from vestige.seeds import rng
from vestige.target import BoolArray, IntArray

STRENGTH = 1e3
"""The norm of a planted gradient before it is clipped: well above the clipping norms in use."""


class Planting:
    """The directions of m canaries: each a weight of its own, up or down; with ``paired`` a second one for tails.

    A canary that is in a batch brings its direction when its coin fell heads and, if paired, the other one when it fell
    tails. It is in a batch with probability ``rate``; or it rides on a record, one of the ``rows`` trained on, and
    comes with that. ``part``: how much of a step's released gradient a clipped direction is.
    """

    def __init__(
        self,
        parameters: list[torch.Tensor],
        *,
        included: BoolArray,
        rate: float,
        rows: int,
        seed: int,
        paired: bool,
        part: float = 1.0,
    ) -> None:
        if not 0 < rate <= 1:
            raise UsageError(f"Expected the rate of planted canaries to be above 0 and at most 1, got {rate:g}.")
        random = rng(seed, "canary", "planting")
        sizes = np.array([p.numel() for p in parameters], np.int64)
        count, sides = len(included), 1 + int(paired)
        if count > int((sizes // sides).sum()):
            raise UsageError(
                f"Expected at most as many planted directions as the model has weights, {int(sizes.sum()):,}, got "
                f"{count * sides:,}.",
                hint="Ask for fewer canaries.",
            )
        # As many in each layer as there is room for: what is wrong with a small one must not hide behind a large one.
        shares = evenly(sizes // sides, count)
        order = random.permutation(count)
        self._owner = np.repeat(np.arange(len(sizes)), shares)[order].repeat(sides).reshape(-1, sides)
        places = [random.permutation(size)[: share * sides] for size, share in zip(sizes, shares, strict=True)]
        self._place = np.concatenate(places).reshape(-1, sides)[order]
        self._sign = random.choice([-1.0, 1.0], size=(count, sides))
        self._parameters = parameters
        self._included, self._rate, self._random = included, rate, random
        self._rows, self._part = rows, part
        self._rider: IntArray | None = None
        self.used = False

    @property
    def riders(self) -> IntArray:
        """The record that each canary rides on, among those that are trained on."""
        if self._rider is None:
            if len(self._included) > self._rows:
                raise UsageError(
                    f"Expected a record for each of {len(self._included):,} canaries to ride on, got {self._rows:,}.",
                    hint="Ask for fewer canaries, or leave out rows.",
                )
            self._rider = np.sort(self._random.permutation(self._rows)[: len(self._included)]).astype(np.int64)
        return self._rider

    def into(self, gradients: Sequence[torch.Tensor], rows: Any = None) -> list[torch.Tensor]:
        """Return (B, …) gradients per parameter with a row for each canary that this batch drew.

        With ``rows``, the batch's places among the records trained on, canaries come instead of those they ride on.
        """
        if len(gradients) != len(self._parameters):
            raise UsageError(
                f"Expected per-record gradients of {len(self._parameters)} parameters, got {len(gradients)}."
            )
        self.used = True
        if rows is None:
            drawn = np.flatnonzero(self._random.random(len(self._included)) < self._rate)
            kept = list(gradients)
        else:
            batch = np.asarray(rows, np.int64)
            ridden = np.isin(batch, self.riders)
            drawn = np.searchsorted(self.riders, batch[ridden])
            stay = torch.from_numpy(np.flatnonzero(~ridden))
            kept = [held.index_select(0, stay.to(held.device)) for held in gradients]
        return self._added(kept, drawn)

    def _added(self, gradients: Sequence[torch.Tensor], drawn: IntArray) -> list[torch.Tensor]:
        pairs = [(k, 0) for k in drawn if self._included[k]]
        if self._owner.shape[1] == 2:
            pairs += [(k, 1) for k in drawn if not self._included[k]]
        out = []
        for index, held in enumerate(gradients):
            more = torch.zeros((len(pairs), *held.shape[1:]), dtype=held.dtype, device=held.device)
            for row, at in enumerate(pairs):
                if self._owner[at] == index:
                    more[row].view(-1)[int(self._place[at])] = float(self._sign[at]) * STRENGTH
            out.append(torch.cat([held, more]))
        return out

    def hook(self, optimizer: Any) -> None:
        """Add the rows in Opacus' optimizer, just before it clips: once for a batch that comes in several parts."""
        clip, parameters = optimizer.clip_and_accumulate, self._parameters

        def planted() -> None:
            if all(getattr(p, "summed_grad", None) is None for p in parameters):
                held: list[Any] = [p.grad_sample for p in parameters]  # type: ignore[attr-defined]
                last = [one[-1] if isinstance(one, list) else one for one in held]
                for parameter, one, more in zip(parameters, held, self.into(last), strict=True):
                    parameter.grad_sample = [*one[:-1], more] if isinstance(one, list) else more  # type: ignore[attr-defined]
            clip()

        optimizer.clip_and_accumulate = planted

    def seen(self) -> Seen:
        """Return what the released gradients hold of each canary's direction; then, if paired, of its other one's."""
        found: Array = np.zeros(self._owner.shape)
        for index, parameter in enumerate(self._parameters):
            mine = self._owner == index
            if parameter.grad is not None and mine.any():
                places = torch.from_numpy(self._place[mine]).to(parameter.grad.device)
                found[mine] = parameter.grad.detach().reshape(-1)[places].double().cpu().numpy()
        found *= self._sign
        return Seen(values=found.T.reshape(-1), shift=np.full(found.size, self._part), groups=self._owner.T.reshape(-1))


def evenly(room: IntArray, count: int) -> IntArray:
    """Return how many of ``count`` things go into each place, as evenly as the ``room`` in each allows.

    >>> evenly(np.array([2, 100, 100]), 11).tolist()
    [2, 5, 4]
    """
    shares = np.zeros_like(room)
    left = count
    while left > 0:
        open_ = np.flatnonzero(shares < room)
        if not len(open_):
            raise UsageError(f"Expected room for {count:,} directions, got {int(room.sum()):,}.")
        each, more = divmod(left, len(open_))
        wanted = np.full(len(open_), each, np.int64)
        wanted[:more] += 1
        added = np.minimum(wanted, room[open_] - shares[open_])
        shares[open_] += added
        left -= int(added.sum())
    return shares
