"""DP-SGD whose clipping norm follows a private quantile of the gradients' norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from vestige.defend.private.dp_sgd import PrivateTraining
from vestige.defend.private.loop import number
from vestige.defend.private.terms import Terms
from vestige.errors import ConfigError

if TYPE_CHECKING:
    from vestige.defend.private.clipping import Clip
    from vestige.defend.private.randomness import Randomness

SHARE = 20


@dataclass(frozen=True, kw_only=True)
class AdaptiveClipping(PrivateTraining):
    """DP-SGD whose clipping norm moves until a share ``quantile`` of the records' gradients is no longer than it.

    (``epsilon``, ``delta``)-differentially private for adding or removing one record, as `dp_sgd` is, with the release
    of how many gradients were cut paid from the same noise: the gradients get a little more of it.

    ``max_grad_norm``: where the norm starts; ``speed``: how fast it moves, per step, on a logarithmic scale.
    ``count_noise``: the deviation of the noise on the count, by default a twentieth of ``batch_size`` and at least the
    noise multiplier. Everything else as for `dp_sgd`. Andrew, Thakkar, McMahan & Ramaswamy 2021, "Differentially
    Private Learning with Adaptive Clipping", NeurIPS, algorithm 1, with counts shifted by a half and divided by the
    expected size of a batch.
    """

    paper: ClassVar[str] = "Andrew et al. 2021"

    max_grad_norm: float = 0.1
    quantile: float = 0.5
    speed: float = 0.2
    count_noise: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (number(self.quantile) and 0 < self.quantile < 1):
            raise ConfigError(f"Expected quantile to be above 0 and below 1, got {self.quantile!r}.")
        for name in ("speed", "count_noise"):
            value = getattr(self, name)
            if value is not None and not (number(value) and value > 0):
                raise ConfigError(f"Expected {name} to be a number above 0, got {value!r}.")

    def terms(self, epochs: int, batch_size: int, members: int) -> Terms:
        """Return rate, steps and noise for so many members; raises ConfigError when the count's noise is too small."""
        from vestige.defend.private.clipping import split_noise

        found = super().terms(epochs, batch_size, members)
        split_noise(found.noise * max(found.factors), self._spread(found))
        return found

    def _spread(self, terms: Terms) -> float:
        if self.count_noise is not None:
            return self.count_noise
        # With small batches a twentieth would leave nothing for the gradients; this much leaves them three quarters.
        return max(terms.divisor / SHARE, terms.noise * max(terms.factors))

    def clip(self, random: Randomness, terms: Terms) -> Clip:
        """Return a norm that starts at ``max_grad_norm``."""
        from vestige.defend.private.clipping import Quantile

        generator = random.generator("count")
        return Quantile(
            norm=self.max_grad_norm,
            quantile=self.quantile,
            speed=self.speed,
            count_noise=self._spread(terms),
            normal=lambda: float(torch.randn((), generator=generator)),
        )
