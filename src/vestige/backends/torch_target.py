"""A trained torch module that answers queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.estimators import said
from vestige.backends.features import Features
from vestige.errors import DataError, MissingDependency, ModelError
from vestige.target import Access, Outputs, require

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vestige.backends.ensemble.graph import Graph

Logits = NDArray[np.float32]


class TorchTarget:
    """A trained module under audit; answers in evaluation mode, without gradients, in blocks of records.

    ``classes``: how many, 0 for a regression, None when the module alone says. ``features``: how raw records become its
    input. ``was_training``: the module was handed over in training mode, so what it served may differ from what is
    measured here.
    """

    access = Access.WHITE_BOX

    def __init__(
        self,
        *,
        build: Callable[[], nn.Module],
        state: dict[str, torch.Tensor] | None,
        classes: int | None,
        features: Features | None,
        graph: Graph | None,
        device: torch.device,
        was_training: bool = False,
    ) -> None:
        self._build = build
        self._state = state
        self.classes = classes
        self.features = features
        self.graph = graph
        self.device = device
        self.was_training = was_training

    @classmethod
    def wrap(cls, module: nn.Module, *, classes: int | None = None, features: Features | None = None) -> TorchTarget:
        """Return a trained module as a target; ``classes=0`` for a regression. The module itself is not changed."""
        try:
            import torch
        except ImportError as error:
            raise MissingDependency("torch", extra="torch", purpose="Auditing a torch module") from error
        if not isinstance(module, torch.nn.Module):
            raise ModelError(f"Expected a torch module, got {type(module).__name__}.")
        first = next((t for t in [*module.parameters(), *module.buffers()]), None)
        return cls(
            build=lambda: module,
            state=None,
            classes=classes,
            features=features,
            graph=None,
            device=torch.device("cpu") if first is None else first.device,
            was_training=any(m.training for m in module.modules()),
        )

    @cached_property
    def module(self) -> nn.Module:
        """The module itself, for white-box signals; in evaluation mode unless it was handed over in training mode."""
        import torch

        if self._state is None:
            return self._build()
        with torch.random.fork_rng(devices=[]):
            module = self._build()
        module.load_state_dict(self._state)
        return module.to(self.device).eval()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the parameters and buffers by name, as arrays that a safetensors file can hold."""
        tensors = self.module.state_dict() if self._state is None else self._state
        return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in tensors.items()}

    def moved_state(self) -> dict[str, torch.Tensor]:
        """Return the state on the target's device."""
        tensors = self.module.state_dict() if self._state is None else self._state
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer with logits (R, C), with values (R,) for a regression, or with labels when asked for labels."""
        require(self, want)
        parts = [logits[0] for _, logits in query_many([self], x)]
        answers: Logits = np.concatenate(parts) if parts else np.zeros((0, max(self.classes or 1, 1)), np.float32)
        if self.classes == 0:
            return Outputs("values", answers.reshape(-1))
        return (
            Outputs("labels", answers.argmax(1).astype(np.int64))
            if want <= Access.LABEL
            else Outputs("logits", answers)
        )

    def timed(self, x: Any, want: Access) -> tuple[Outputs, NDArray[np.float64]]:
        """Answer records one at a time, in the order given, and return the seconds (R,) that each took."""
        from vestige.backends.latency import one_by_one

        return one_by_one(self, x, want)

    def prepared(self, x: Any) -> torch.Tensor:
        """Return raw records as the tensor that the module reads."""
        import torch

        if isinstance(x, torch.Tensor):
            return x.to(self.device)
        if self.features is not None:
            return torch.from_numpy(self.features(x)).to(self.device)
        array = x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)
        if array.dtype.kind not in "biuf":
            raise DataError(f"Expected numbers for a torch module, got features of type {array.dtype}.")
        indices = array.dtype.kind in "iu" and any(isinstance(m, torch.nn.Embedding) for m in self.module.modules())
        return torch.from_numpy(np.ascontiguousarray(array, np.int64 if indices else np.float32)).to(self.device)

    def _answers(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the module's answers, a block of records at a time, and leave every submodule's mode as it was."""
        import torch

        from vestige.backends.ensemble import block_of

        module = self.module
        training = [m for m in module.modules() if m.training]
        try:
            module.eval()
            size = block_of(x)
            for start in range(0, len(x), size):
                block = x[start : start + size]
                try:
                    with torch.no_grad():
                        answer = module(block)
                except Exception as error:  # whatever the user's own forward raises
                    raise ModelError(
                        f"The model could not answer a batch of shape {tuple(block.shape)}: {said(error)}.",
                        hint="Check that the records have the features that it was trained on, in the same form.",
                    ) from error
                if not isinstance(answer, torch.Tensor):
                    raise ModelError(f"Expected the model to return a tensor, got {type(answer).__name__}.")
                yield answer
        finally:
            for m in training:
                m.training = True

    def checked(self, answer: torch.Tensor, records: int) -> Logits:
        """Return answers as (R, C) logits, or (R, 1) values; raises ModelError when they cannot be that."""
        return checked(answer.detach().to("cpu").float().numpy(), records, self.classes)


def checked(array: Logits, records: int, classes: int | None) -> Logits:
    """Return answers as (R, C) logits, or (R, 1) values; raises ModelError when they cannot be that."""
    shape = array.shape
    if array.ndim == 1:
        array = array[:, None]
    wanted = classes or (1 if classes == 0 else None)
    binary = array.ndim == 2 and array.shape[1] == 1 and classes in (None, 2)
    if array.ndim != 2 or len(array) != records or not (binary or wanted in (None, array.shape[1])):
        expected = f"{records} rows and {wanted} columns" if wanted else f"{records} rows, one column per class"
        raise ModelError(
            f"Expected the model to answer with {expected}, got shape {shape}.",
            hint="A model must return one logit per class.",
        )
    bad = int((np.isnan(array) | np.isposinf(array)).any(1).sum())
    if bad:
        raise ModelError(
            f"The model answered with NaN or infinity for {bad} of {records} records.",
            hint="Check that the features are scaled as in training, and that training did not diverge.",
        )
    return np.concatenate([np.zeros_like(array), array], axis=1) if binary else array


def query_many(targets: Sequence[TorchTarget], x: Any, *, block: int | None = None) -> Iterator[tuple[slice, Logits]]:
    """Ask many models about the same records, block by block, without holding all the answers.

    Yields (which records, (M, R, C) float32 logits; (M, R, 1) values for a regression). Models of one recipe share each
    block's input and their structure, so this is faster than asking them one by one, and answers the same.
    """
    if not targets:
        return
    from vestige.backends.ensemble import answer_many, block_of

    lead = targets[0]
    shared = lead.graph is not None and all(t.graph == lead.graph and t.features is lead.features for t in targets)
    if shared and lead.graph is not None:
        prepared = lead.prepared(x)
        block = block or block_of(prepared)
        streams: Iterator[Sequence[torch.Tensor]] = answer_many(
            lead.graph, [t.moved_state() for t in targets], prepared, block=block
        )
    else:
        inputs = [t.prepared(x) for t in targets]
        block = block_of(inputs[0])
        streams = zip(*(t._answers(i) for t, i in zip(targets, inputs, strict=True)), strict=True)
    start = 0
    for answers in streams:
        stop = min(start + block, len(x))
        yield slice(start, stop), np.stack([t.checked(a, stop - start) for t, a in zip(targets, answers, strict=True)])
        start = stop
