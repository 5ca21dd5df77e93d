"""Random changes of a batch of images while training, drawn from each model's own generator."""

from __future__ import annotations

import torch
from torch.nn import functional as F

SHIFT = 4


def flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image left to right with probability one half."""
    coin = torch.rand(len(x), generator=generator, device=generator.device).to(x.device) < 0.5
    return torch.where(coin.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)


def shift(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move each image by up to four pixels each way, filling with zeros."""
    n, height, width = len(x), x.shape[-2], x.shape[-1]
    moves = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=generator, device=generator.device).to(x.device)
    padded = F.pad(x.reshape(n, -1, height, width), (SHIFT,) * 4)
    rows = (torch.arange(height, device=x.device) + moves[0])[:, None, :, None]
    columns = (torch.arange(width, device=x.device) + moves[1])[:, None, None, :]
    index = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(padded.shape[1], device=x.device)[None, :, None, None]
    return padded[index, channel, rows, columns].view_as(x)


def flip_and_shift(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror, then move."""
    return shift(flip(x, generator), generator)


AUGMENTATIONS = {"flip": flip, "shift": shift, "flip+shift": flip_and_shift}
