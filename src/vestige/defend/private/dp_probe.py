"""Whether a module treats every record by itself: tried on a few records, before any private step is taken.

The proof of private training is about each record's own gradient. A forward of the user's own may subtract a batch's
mean, lay out its batches along another dimension, or keep what it sees: Opacus notices none of these.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from vestige.backends.ensemble import Plan
from vestige.errors import ConfigError

PER_RECORD = "Build the module so that it treats every record by itself."


def check_apart(
    plan: Plan, module: nn.Module, gradients_of: Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]
) -> None:
    """Raise ConfigError where a record's gradient hangs on the rest of its batch, or where training changes a buffer.

    ``gradients_of``: maps a batch to what is held of each of its records, a tensor per parameter with a row for each.
    """
    if len(plan.x) < 2:
        return
    before = {name: one.clone() for name, one in module.named_buffers()}
    first, last = len(plan.x) // 2, len(plan.x) - 1
    found = []
    for others in ((0, 0), (first, last)):
        index = torch.tensor([1, *others], device=plan.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # both times the same units are dropped
            found.append(_tried(gradients_of, plan, index))
    for name, one in module.named_buffers():
        if not torch.equal(one, before[name]):
            raise ConfigError(
                f"Training changes the buffer '{name}' of this module by what it sees, which no noise covers.",
                hint="Build the module without statistics of its inputs.",
            )
    module.zero_grad(set_to_none=True)
    for one, other in zip(*found, strict=True):
        if len(one) != 3 or len(other) != 3:
            raise ConfigError(
                f"Opacus finds {len(one)} gradients for a batch of 3 records in this module.",
                hint="Let the batch be the first dimension of every layer's input.",
            )
        size = float(one[0].abs().max()) if one[0].numel() else 0.0
        if not torch.allclose(one[0], other[0], rtol=1e-3, atol=1e-4 * size + 1e-7, equal_nan=True):
            raise ConfigError("This module lets a record's gradient depend on others in its batch.", hint=PER_RECORD)


def _tried(
    gradients_of: Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]], plan: Plan, index: torch.Tensor
) -> list[torch.Tensor]:
    try:
        return [one.detach().clone() for one in gradients_of(plan.batch(index), plan.y.index_select(0, index))]
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        raise ConfigError(
            f"Opacus cannot find each record's gradient in this module: {str(error).splitlines()[0].rstrip('.')}.",
            hint=PER_RECORD,
        ) from error
