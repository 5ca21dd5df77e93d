"""Group normalisation in the place of batch normalisation, which makes each record's gradient depend on the others."""

from __future__ import annotations

from torch import nn

from vestige.backends.architectures import groups_of
from vestige.errors import ConfigError

BATCHED = nn.modules.batchnorm._BatchNorm


def normalises(module: nn.Module) -> bool:
    """Whether any layer normalises over the batch."""
    return any(isinstance(part, BATCHED) for part in module.modules())


def grouped(module: nn.Module) -> nn.Module:
    """Return the module with each batch normalisation replaced by a group normalisation of the same channels.

    Raises ConfigError for layers that keep statistics of what they see, which would be released with the weights.
    """
    made: dict[nn.Module, nn.GroupNorm] = {}
    for name, part in list(module.named_modules(remove_duplicate=False)):  # one layer may stand in several places
        if isinstance(part, BATCHED):
            owner, _, own = name.rpartition(".")
            if part not in made:
                width = part.num_features
                made[part] = nn.GroupNorm(groups_of(width), width, eps=part.eps, affine=part.affine)
            fresh = made[part]
            if not name:
                return fresh
            setattr(module.get_submodule(owner), own, fresh)
    for name, part in module.named_modules():
        if getattr(part, "track_running_stats", False):
            raise ConfigError(
                f"The layer '{name}' ({type(part).__name__}) keeps statistics of its inputs, which no noise covers.",
                hint="Build it with track_running_stats = False.",
            )
    return module
