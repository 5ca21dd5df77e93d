"""Records of zeros and a few ones: the first layer adds up rows of its weights instead of multiplying by zeros.

Most public tables of this field (purchases, places visited, procedures, one-hot codes) are such records. The weights of
the layer lie transposed, one row per feature, with the bias as the row of a feature that every record has. A record's
answer is then the sum of the rows of its ones, and the gradient of a row is the sum of the answers' gradients over the
records that have a one there: two calls of the operator that sums rows of embedding tables.
"""

# ruff: noqa: ARG002  (every layer has the same two methods, whatever it needs of them)
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vestige.backends.ensemble.gemm import ONEDNN_FROM
from vestige.backends.ensemble.graph import Graph
from vestige.backends.ensemble.layers import Layer, Run
from vestige.backends.ensemble.plan import Plan
from vestige.backends.ensemble.store import ALIGNMENT, ParameterStore, Slot
from vestige.backends.ensemble.values import Value, each

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KIND = "indicator_linear"
DENSEST = 0.25
SAMPLE = 512
ENTRIES = 4_000_000


@dataclass(frozen=True, eq=False)
class Ones:
    """One step's batches of M models as lists of ones: by record, as rows of the tables; by feature, as records.

    ``index`` and ``offsets`` say which table rows each of the M x batch records adds up, ``back_index`` and
    ``back_offsets`` which records each of the M x rows table rows gets gradients from. All int32.
    """

    index: torch.Tensor
    offsets: torch.Tensor
    back_index: torch.Tensor
    back_offsets: torch.Tensor


@cache
def usable() -> bool:
    """Whether this build of torch sums table rows with vector code, and gets them right."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    table = torch.arange(8.0).view(4, 2)
    found = _sums(table, torch.tensor([0, 3, 1], dtype=torch.int32), torch.tensor([0, 2, 2, 3], dtype=torch.int32))
    return torch.equal(found, torch.tensor([[6.0, 8.0], [0.0, 0.0], [2.0, 3.0]]))


def _sums(table: torch.Tensor, index: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return torch.embedding_bag(table, index, offsets, False, 0, False, None, True)[0]


def first_layer(plan: Plan, graph: Graph, store: ParameterStore) -> int | None:
    """Return which node should read lists of ones, or None: decided by the data, the shapes and the build alone."""
    readers = [k for k, node in enumerate(graph.nodes) if 0 in node.inputs]
    if len(readers) != 1 or graph.nodes[readers[0]].kind != "linear" or not isinstance(plan.optimiser.kind, str):
        return None
    x = plan.x
    if x.device.type != "cpu" or x.dim() != 2 or plan.byte_scale is not None:
        return None
    if plan.augment is not None or plan.mixup is not None:
        return None
    width = len(store.slots[f"{graph.nodes[readers[0]].module}.weight"].values[0])
    if plan.batch_size * x.shape[1] * width < ONEDNN_FROM:
        return None
    return readers[0] if usable() and _few_ones(x[:SAMPLE]) and _few_ones(x) else None


def _few_ones(x: torch.Tensor) -> bool:
    ones = int(torch.count_nonzero(x))
    return ones <= DENSEST * x.numel() and ones == int((x == 1).sum())


class Pool:
    """The whole pool of records as lists of ones."""

    def __init__(self, x: torch.Tensor, table_rows: int, *, bias: bool) -> None:
        from scipy.sparse import csr_matrix

        dense = x.numpy() != 0
        always = np.zeros((len(dense), table_rows - dense.shape[1]), dtype=np.bool_)
        always[:, :1] = bias
        self.matrix: csr_matrix[np.int8] = csr_matrix(np.concatenate([dense, always], axis=1).astype(np.int8))
        self.rows = table_rows

    def batches(self, index: torch.Tensor) -> Iterator[Ones]:
        """Yield the lists of each step, for (steps, M, batch) row numbers."""
        steps, models, size = index.shape
        per_step = models * (size * (self.matrix.nnz // max(1, self.matrix.shape[0]) + 1) + self.rows)
        block = max(1, ENTRIES // per_step)
        for start in range(0, steps, block):
            yield from self._block(index[start : start + block].numpy())

    def _block(self, index: NDArray[np.int64]) -> Iterator[Ones]:
        from scipy.sparse import csr_matrix

        steps, models, size = index.shape
        chosen = self.matrix[index.reshape(-1)]
        ends = chosen.indptr[:: models * size]
        counts = np.diff(chosen.indptr[::size])
        place = np.arange(steps * models, dtype=np.int32)
        rows = chosen.indices + np.repeat(place % models * self.rows, counts)
        columns = chosen.indices + np.repeat(place * self.rows, counts)
        by_feature = csr_matrix(
            (chosen.data, columns, chosen.indptr), shape=(index.size, steps * models * self.rows)
        ).tocsc()
        records = by_feature.indices - np.repeat(np.arange(steps, dtype=np.int32) * (models * size), np.diff(ends))
        index_of, back_of = torch.from_numpy(rows), torch.from_numpy(records)
        offsets = _windows(chosen.indptr, steps)
        back_offsets = _windows(by_feature.indptr, steps)
        for step, (low, high) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
            yield Ones(index_of[low:high], offsets[step], back_of[low:high], back_offsets[step])


def _windows(ends: NDArray[np.int32], steps: int) -> torch.Tensor:
    """Return (steps, lists + 1) offsets that start at 0 in each step."""
    lists = (len(ends) - 1) // steps
    windows = np.lib.stride_tricks.sliding_window_view(ends, lists + 1)[::lists]
    return torch.from_numpy(windows - windows[:, :1])


class IndicatorLinear(Layer):
    """The affine map of records given as `Ones`, with the ReLU that follows it when there is one."""

    def prepare(self) -> None:
        """Find the tables of all models, which lie one after another."""
        tables = self.slots["table"].values
        rows, width = tables[0].shape
        self.table = tables[0].as_strided((len(tables) * rows, width), (width, 1))
        self.relu = bool(self.options["relu"])

    def forward(self, inputs: list[Any], run: Run) -> Value:
        """Add up each record's rows."""
        ones: Ones = inputs[0]
        y = _sums(self.table, ones.index, ones.offsets)
        if self.relu:
            y.relu_()
        y = y.view(len(self.slots["table"].values), -1, y.shape[1])
        self.saved = ones, y
        return y

    def backward(self, grad: Value, needed: list[bool]) -> list[Value | None]:
        """Add up each row's gradients; there is no gradient of the records."""
        ones, y = self.saved
        joined = grad if isinstance(grad, torch.Tensor) else grad[0][None] if len(grad) == 1 else torch.stack(grad)
        if self.relu:
            joined = torch.ops.aten.threshold_backward(joined, y, 0)
        found = _sums(joined.reshape(-1, joined.shape[-1]), ones.back_index, ones.back_offsets)
        self.slots["table"].grads[:] = each(found.view(len(y), -1, found.shape[1]))
        return [None]


class Folded:
    """A graph and its parameters with the first layer's weight and bias as one table per model."""

    def __init__(self, plan: Plan, graph: Graph, store: ParameterStore, node: int) -> None:
        self.original, module = store, graph.nodes[node].module
        self.weight, self.bias = store.slots[f"{module}.weight"], store.slots.get(f"{module}.bias")
        width, self.features = self.weight.values[0].shape
        # Whole vectors: each model's table starts where it would start alone.
        multiple = ALIGNMENT // math.gcd(width, ALIGNMENT)
        rows = -(-(self.features + 1) // multiple) * multiple
        joined = self.weight.values[0].new_zeros(store.models, rows, width)
        self.tables = list(joined.unbind(0))
        for m, table in enumerate(self.tables):
            table[: self.features] = self.weight.values[m].t()
            if self.bias is not None:
                table[self.features] = self.bias.values[m]
        slots = {name: slot for name, slot in store.slots.items() if slot is not self.weight and slot is not self.bias}
        slots[f"{module}.table"] = Slot(self.tables, [], list(self.tables))
        self.store = ParameterStore(slots, store.buffers, store.models)
        nodes = list(graph.nodes)
        nodes[node] = replace(nodes[node], kind=KIND)
        self.graph = Graph(tuple(nodes))
        self.pool = Pool(plan.x, rows, bias=self.bias is not None)

    def unfold(self) -> None:
        """Copy the tables back to the weight and bias that they came from."""
        for m, table in enumerate(self.tables):
            self.weight.values[m].copy_(table[: self.features].t())
            if self.bias is not None:
                self.bias.values[m].copy_(table[self.features])
