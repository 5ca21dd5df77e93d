"""A trained network that answers queries without torch; only what looks inside loads it, and builds the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.compiled.network import Network
from vestige.backends.compiled.training import answers
from vestige.backends.features import Features
from vestige.backends.torch_target import TorchTarget, checked
from vestige.target import Access, Outputs, require

if TYPE_CHECKING:
    import torch
    from torch import nn

Floats = NDArray[np.float32]


class NetworkTarget(TorchTarget):
    """A trained fully connected network under audit; to white-box signals, the torch module that it is."""

    def __init__(
        self,
        network: Network,
        state: Mapping[str, NDArray[Any]],
        *,
        classes: int,
        features: Features,
        build: Callable[[], nn.Module],
    ) -> None:
        self.network = network
        self._values = network.pack(state)
        self._build = build
        self.classes = classes
        self.features = features
        self.graph = None
        self.was_training = False

    @cached_property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where its module is."""
        import torch

        return torch.device("cpu")

    @property
    def _state(self) -> dict[str, torch.Tensor]:  # type: ignore[override]
        import torch

        return {name: torch.from_numpy(array) for name, array in self.state().items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the parameters by name."""
        return dict(self.network.unpack(self._values))

    def encoded(self, x: Any) -> Floats:
        """Return raw records as (R, features) float32."""
        assert self.features is not None
        array = self.features(x)
        return np.ascontiguousarray(array.reshape(len(array), -1), np.float32)

    def outputs(self, x: Floats) -> Outputs:
        """Answer encoded records with logits, or with values for a regression."""
        found = checked(answers(self.network, self._values, x), len(x), self.classes)
        return Outputs("logits", found) if self.classes else Outputs("values", found.reshape(-1))

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer with logits (R, C), with values (R,) for a regression, or with labels when asked for labels."""
        require(self, want)
        found = self.outputs(self.encoded(x))
        if want <= Access.LABEL and self.classes:
            return Outputs("labels", found.values.argmax(1).astype(np.int64))
        return found

    def _answers(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        import torch

        from vestige.backends.ensemble import block_of

        array = np.ascontiguousarray(x.numpy().reshape(len(x), -1), np.float32)
        size = block_of(x)
        for start in range(0, len(array), size):
            yield torch.from_numpy(answers(self.network, self._values, array[start : start + size]))
