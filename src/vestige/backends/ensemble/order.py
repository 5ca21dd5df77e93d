"""Which records each model sees, and when: every draw depends on the model's own seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from vestige.seeds import seed_for
from vestige.target import IntArray


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for one purpose of one model."""
    return torch.Generator(device).manual_seed(seed_for(seed, purpose))


@dataclass(eq=False)
class Order:
    """One model's rows, shuffled anew each epoch and cut into batches."""

    rows: torch.Tensor
    batch_size: int
    seed: int
    join_last_single: bool = False

    @classmethod
    def of(cls, rows: IntArray, batch_size: int, seed: int, *, join_last_single: bool) -> Order:
        """Wrap row numbers; a last batch of one record joins the one before it where batches are normalised."""
        return cls(torch.as_tensor(rows, dtype=torch.int64), batch_size, seed, join_last_single)

    def __post_init__(self) -> None:
        self._generator = generator(self.seed, "order")

    def lengths(self) -> list[int]:
        """Return the length of each batch of an epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        lengths = [self.batch_size] * full + ([rest] if rest else [])
        if self.join_last_single and rest == 1 and full:
            lengths[-2:] = [self.batch_size + 1]
        return lengths

    def epoch(self) -> torch.Tensor:
        """Return the rows of the next epoch, in the order they are seen."""
        return self.rows[torch.randperm(len(self.rows), generator=self._generator)]

    def batches(self) -> Iterator[torch.Tensor]:
        """Return the row numbers of the next epoch's batches."""
        yield from torch.split(self.epoch(), self.lengths())
