"""Steps: canaries scored during training, by the gradient that each step releases.

The adversary sees every released gradient. A canary that is a record is scored by how far those point its own way; one
that is planted is a direction, and scored by what comes out in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vestige.canary.readings import Ordered, Plain, Reading, Repeated, Sampled, Seen
from vestige.errors import ModelError, UsageError
from vestige.metrics.estimate import Array
from vestige.target import BoolArray

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vestige.canary.drift import Encode, Loss, Named

Noise = Literal["fresh", "repeated"]
Shown = Literal["gradient", "statistics"]
Look = Callable[[], "Array | Seen"]


class Steps:
    """One training, watched. A training function that takes ``steps`` is called as ``train(x, y, seed, steps=steps)``.

    It calls ``steps.watch(model, optimizer)`` before its loop, and with Opacus that is all. A loop of one's own that
    makes per-record gradients passes them through `plant` before it clips them. ``canaries``: features and labels,
    where they are records; ``others``: those that every model trains on; ``included``: (m,) the coins, read only to
    plant; ``rows``: how many records are trained on; ``place``: about where among them each canary is, as a share.
    """

    def __init__(
        self,
        *,
        included: BoolArray,
        rows: int,
        seed: int,
        canaries: tuple[Any, Any] | None = None,
        others: tuple[Any, Any] | None = None,
        planted: bool = False,
        paired: bool = False,
        place: Array | None = None,
    ) -> None:
        self.watched = 0
        self._canaries, self._others, self._rows = canaries, others, rows
        self._planting: Any = None
        self._reading: Reading = Plain()
        self._coins = (included, seed, paired)
        self._planted, self._place = planted, place

    def watch(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        loss: Loss | None = None,
        encode: Encode | None = None,
        rate: float | None = None,
        clip: float | None = None,
        divisor: float | None = None,
        every: int = 1,
        steps_a_pass: int | None = None,
        noise: Noise = "fresh",
        shown: Shown = "gradient",
    ) -> None:
        """Look at every step of ``optimizer`` from now on, or at each ``every``-th.

        ``loss(outputs, y)``: the mean over records, by default of the cross-entropy or, for fractions, of the squared
        error; ``encode(x, y)``: the tensors that the model is shown, by default float32 features and the labels;
        ``rate``: the probability with which a record is in a batch; ``clip``: the norm to which single gradients are
        cut; ``divisor``: what their sum is divided by, by default the expected batch. Opacus tells all three. Where
        they are known, each step counts by how likely it makes a canary to have been in its batch. What else the
        adversary knows: ``steps_a_pass``, that batches are cut in the records' order, the same ones in every pass;
        ``noise``: that every step has the same. ``shown``: what steps are read from, the released gradient, or the
        running statistics of batch normalisation. Raises UsageError for what cannot be watched.
        """
        if every < 1:
            raise UsageError(f"Expected every to be at least 1, got {every}.")
        known = _Known.of(optimizer, rate, clip, divisor, self._rows)
        inner: Any = getattr(model, "_module", model)
        parameters = {name: p for name, p in inner.named_parameters() if p.requires_grad}
        if not parameters:
            raise UsageError("Expected a model with parameters to train, got one without.")
        look: Look
        if self._planted:
            self._plant_into(list(parameters.values()), optimizer, known)
            look = self._planting.seen
        elif shown == "statistics":
            look = self._statistics(inner, known, encode)
        else:
            look = self._gradients(inner, parameters, known, loss, encode)
        self._reading = self._read(known, steps_a_pass, noise, shown)
        self.attach(getattr(optimizer, "original_optimizer", optimizer), look, every)

    def attach(self, optimizer: Any, look: Look, every: int = 1) -> None:
        """Add what ``look`` returns before each ``every``-th step of ``optimizer``, when its gradients are final."""

        def before(*_: Any) -> None:
            self.saw(look, every)

        optimizer.register_step_pre_hook(before)

    def saw(self, look: Look, every: int = 1, together: int = 1) -> None:
        """Count one step; add what ``look`` returns in one of ``every`` runs of ``together`` steps."""
        if self.watched // together % every == 0:
            try:
                found = look()
            except Exception as error:  # whatever the user's own module or loss raises
                raise ModelError(
                    f"The canaries' gradients could not be taken: {type(error).__name__}: {error}.",
                    hint="Give steps.watch the training's own loss and encode, or score what the model answers.",
                ) from error
            self._reading.add(found if isinstance(found, Seen) else Seen.of(found))
        self.watched += 1

    def plant(self, gradients: Sequence[torch.Tensor], rows: Any = None) -> list[torch.Tensor]:
        """Return per-record gradients, one (B, …) tensor per parameter, with a row more for each canary in the batch.

        Call it once per batch, before the gradients are clipped. Without planted canaries they come back as they are.
        ``rows``: the (B,) places of the batch's records among those trained on; canaries then come where the records
        come that they ride on, so that the way batches are drawn is audited too.
        """
        if not self._planted:
            return list(gradients)
        if self._planting is None:
            raise UsageError("Expected steps.watch(model, optimizer, rate=…) before the first steps.plant.")
        planted: list[torch.Tensor] = self._planting.into(gradients, rows)
        return planted

    def scores(self) -> Array:
        """Return (m,) scores, larger = more likely included; raises ModelError when no step was watched."""
        if not self.watched:
            raise ModelError(
                "The training function took no step that was watched.",
                hint="Call steps.watch(model, optimizer) before the loop, with the optimizer that takes the steps.",
            )
        if self._planted and not self._planting.used:
            raise ModelError(
                "No canary was planted: the optimizer is not Opacus', and steps.plant was never called.",
                hint="Pass the per-record gradients through steps.plant before they are clipped.",
            )
        found = self._reading.scores()
        if self._planted and self._coins[2]:
            heads, tails = found.reshape(2, -1)
            return heads - tails
        return found

    def _plant_into(self, parameters: list[torch.Tensor], optimizer: Any, known: _Known) -> None:
        from vestige.canary.planting import Planting

        if known.rate is None:
            raise UsageError(
                "Expected the rate at which records come into a batch, so that canaries come as often.",
                hint="Call steps.watch(model, optimizer, rate=batch_size / records).",
            )
        included, seed, paired = self._coins
        self._planting = Planting(
            parameters,
            included=included,
            rate=known.rate,
            rows=self._rows,
            seed=seed,
            paired=paired,
            part=known.part or 0.0,
        )
        if hasattr(optimizer, "clip_and_accumulate"):
            self._planting.hook(optimizer)

    def _gradients(
        self, model: Any, parameters: Named, known: _Known, loss: Loss | None, encode: Encode | None
    ) -> Look:
        from vestige.canary.drift import Batch, Drift, plain, usual_loss
        from vestige.canary.gradients import CanaryGradients

        if self._canaries is None:
            raise UsageError("Expected canaries that are records, got none to take the gradients of.")
        device = next(iter(parameters.values())).device
        canaries = Batch(*(encode or plain)(*self._canaries)).to(device)
        explained = [(canaries, 0.5)]
        if self._others is not None and len(self._others[1]):
            explained.append((Batch(*(encode or plain)(*self._others)).to(device), 1.0))
        drift = Drift(model, loss or usual_loss, explained, clip=known.clip, seed=self._coins[1])
        own = CanaryGradients(canaries, drift, clip=known.clip, divisor=known.divisor)
        return partial(own.along, parameters)

    def _statistics(self, model: Any, known: _Known, encode: Encode | None) -> Look:
        from vestige.canary.drift import plain
        from vestige.canary.statistics import BatchStatistics

        if known.rate is None or self._canaries is None:
            raise UsageError(
                "Running statistics are read for canaries that are records, and need the rate at which records come "
                "into a batch.",
                hint="Call steps.watch(model, optimizer, shown='statistics', rate=batch_size / records).",
            )
        x, _ = (encode or plain)(*self._canaries)
        others = None
        if self._others is not None and len(self._others[1]):
            others, _ = (encode or plain)(*self._others)
        return BatchStatistics(model, x, others, batch=known.rate * self._rows).seen

    def _read(self, known: _Known, steps_a_pass: int | None, noise: Noise, shown: Shown) -> Reading:
        unknown = known.part is None and shown == "gradient"
        if steps_a_pass is None and noise == "fresh" and (unknown or known.rate is None):
            return Plain()
        if unknown or known.rate is None:
            raise UsageError(
                "Expected the rate, the clipping norm and the divisor of the steps, without which no more can be read "
                "from them than their sum.",
                hint="Call steps.watch(model, optimizer, rate=…, clip=…, divisor=…).",
            )
        if noise == "repeated":
            return Repeated(rate=known.rate)
        if steps_a_pass is None:
            return Sampled(rate=known.rate)
        return Ordered(steps=steps_a_pass, place=self._places(), slack=0 if self._planted else 1)

    def _places(self) -> Array:
        place = self._place
        if self._planted:
            place = (self._planting.riders + 0.5) / self._rows
        if place is None:
            raise UsageError("It is not known where the canaries are among the records.")
        return np.concatenate([place, place]) if self._planted and self._coins[2] else place


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of the steps: the rate of a record, the norm it is cut to, what the sum is divided by."""

    rate: float | None
    clip: float | None
    divisor: float | None

    @classmethod
    def of(cls, optimizer: Any, rate: float | None, clip: float | None, divisor: float | None, rows: int) -> _Known:
        """Return what was said, or else what Opacus' optimizer says."""
        expected: Any = getattr(optimizer, "expected_batch_size", None)
        if rate is None and expected is not None:
            rate = min(1.0, float(expected) / max(rows, 1))
        if clip is None:
            clip = getattr(optimizer, "max_grad_norm", None)
        if divisor is None and getattr(optimizer, "loss_reduction", "mean") == "sum":
            divisor = 1.0
        elif divisor is None and rate is not None:
            divisor = float(expected or rate * rows)
        return cls(rate=rate, clip=clip, divisor=divisor)

    @property
    def part(self) -> float | None:
        """How large a record's part in a released gradient is at most."""
        return None if self.clip is None or self.divisor is None else self.clip / self.divisor
