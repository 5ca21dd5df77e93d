"""How many models to stack: as many as share the caches. Does not import torch, so that asking costs nothing."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from vestige.records import Records

if TYPE_CHECKING:
    from vestige.backends.torch import TorchRecipe

GPU_DRIVER = Path("/dev/nvidiactl")
ALONE = ("cnn", "resnet18", "wrn28-2")


def chunk_of(parameters: int) -> int:
    """Return how many networks of that many parameters to stack on a CPU."""
    if parameters > 2_000_000:
        return 1
    return 8 if parameters <= 64_000 else 4 if parameters <= 500_000 else 2


def known_chunk(recipe: TorchRecipe, records: Records) -> int | None:
    """Return the chunk where the recipe alone tells it: a named network on a machine without a GPU; otherwise None."""
    if (
        not isinstance(recipe.model, str)
        or sys.platform != "linux"
        or GPU_DRIVER.exists()
        or hasattr(records.x, "iloc")
    ):
        return None
    if recipe.device not in ("auto", "cpu"):
        return None
    if recipe.model in ALONE:
        return 1
    if recipe.model not in ("mlp", "logistic") or recipe.norm not in (None, "none"):
        return None
    inside = [] if recipe.model == "logistic" else list(recipe.hidden or ())
    if recipe.model == "mlp" and not inside:
        return None
    widths = [math.prod(records.x.shape[1:]), *inside, max(1, len(records.classes))]
    return chunk_of(sum(before * after + after for before, after in pairwise(widths)))
