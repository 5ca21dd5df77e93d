"""Random changes of a batch of table rows while training, drawn from each model's own generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vestige.errors import ConfigError

if TYPE_CHECKING:
    import torch

Kind = Literal["bits", "resample", "mixed"]


@dataclass(frozen=True)
class TableNoise:
    """Changes each feature with probability ``share``.

    ``bits``: a feature of two values takes the other one; ``resample``: it takes that of one of the records ``rows``,
    each feature from one of its own; ``mixed``: the first for features of two values, the second for all others.
    """

    kind: Kind
    share: float
    rows: tuple[int, ...] = ()

    def bound(self, x: torch.Tensor) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
        """Return the change for a pool (N, F) of encoded records; raises ConfigError for records that are no rows."""
        import torch

        if x.dim() != 2 or not x.is_floating_point():
            raise ConfigError(
                f"The augmentation '{self.kind}' needs tables of numbers, and each record has shape "
                f"{tuple(x.shape[1:])}.",
                hint="For images say kind = 'flip+shift'.",
            )
        low, high = x.amin(0), x.amax(0)
        two = ((x == low) | (x == high)).all(0) & (self.kind != "resample")
        if self.kind == "bits" and not bool(two.any()):
            raise ConfigError("No feature of these records has two values.", hint="Say kind = 'resample'.")
        known = x[torch.tensor(self.rows, dtype=torch.int64)] if self.kind != "bits" else x[:0]
        ends, width = low + high, x.shape[1]

        def change(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            at = generator.device
            hit = torch.rand(batch.shape, generator=generator, device=at) < self.share
            other = torch.where(two, ends - batch, batch)
            if len(known):
                places = torch.randint(len(known), batch.shape, generator=generator, device=at)
                other = torch.where(two, other, known[places, torch.arange(width, device=at)])
            return torch.where(hit, other, batch)

        return change
