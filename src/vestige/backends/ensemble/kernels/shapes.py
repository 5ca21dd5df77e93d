"""The shapes that a fused convolution is compiled for."""

from __future__ import annotations

from dataclasses import dataclass

KERNEL = 3
FLOAT = 4


@dataclass(frozen=True)
class Shape:
    """A convolution of 3 × 3 with ``padding``, then a maximum over windows of 2 × 2, of images (height, width, depth).

    ``filters``: how many; ``relu``: what is below zero becomes zero. Images and answers lie channel by channel within
    each pixel. ``lanes``: how many floats a vector holds; they change no bit.
    """

    height: int
    width: int
    depth: int
    filters: int
    padding: int
    relu: bool
    lanes: int

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with the border."""
        return self.height + 2 * self.padding, self.width + 2 * self.padding

    @property
    def windows(self) -> tuple[int, int]:
        """Height and width of the answer; a last row or column without a partner is left out."""
        return tuple((side - KERNEL + 1) // 2 for side in self.padded)  # type: ignore[return-value]

    @property
    def blocks(self) -> int:
        """How many vectors the filters take."""
        return -(-self.filters // self.lanes)

    @property
    def wide(self) -> int:
        """How many floats the filters take in whole vectors."""
        return self.blocks * self.lanes

    @property
    def deep(self) -> int:
        """How many floats the depth takes in whole vectors."""
        return -(-self.depth // self.lanes) * self.lanes

    def lanes_of(self, block: int, total: int) -> int:
        """How many lanes of a vector hold something."""
        return min(self.lanes, total - block * self.lanes)
