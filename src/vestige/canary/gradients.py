"""How far a released gradient leans towards each canary, beyond what the records at large explain."""

from __future__ import annotations

import numpy as np
import torch

from vestige.canary.drift import TINY, Batch, Drift, Named, held, lengths
from vestige.canary.readings import Seen


class CanaryGradients:
    """The canaries' gradients at the parameters of the moment, in blocks: they are never all in memory.

    ``drift``: what the records at large explain; ``clip`` and ``divisor``: the norm to which single gradients are cut
    and what their sum is divided by, where that is known.
    """

    def __init__(
        self, canaries: Batch, drift: Drift, *, clip: float | None = None, divisor: float | None = None
    ) -> None:
        self._canaries, self._drift, self._clip, self._divisor = canaries, drift, clip, divisor

    def along(self, parameters: Named) -> Seen:
        """Return the products of what was released, less its drift, with each canary's gradient of length one.

        With its canary in the batch a product is larger by the gradient's length, once cut, over the divisor.
        """
        values, released = held(parameters)
        left = self._drift.off(released, values)
        products, sizes = [], []
        for part in self._canaries.parts(self._drift.block):
            own = self._drift.one_by_one(values, part.x, part.y)
            product = torch.stack([(own[name] * left[name]).flatten(1).sum(1) for name in left]).sum(0)
            length = lengths(own)
            products.append((product / (length + TINY)).double().cpu().numpy())
            sizes.append(length.double().cpu().numpy())
        value, size = np.concatenate(products), np.concatenate(sizes)
        shift = np.zeros_like(size)
        if self._clip is not None and self._divisor is not None:
            shift = np.minimum(size, self._clip) / self._divisor
        return Seen(values=value, shift=shift, groups=np.zeros(len(value), np.int64))
