"""Decision trees as plain arrays, so that a fitted forest can be stored and asked without the library that grew it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAF = -1


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees one after another in flat arrays; ``roots``: where each begins.

    ``left``, ``right``: the next node where a record's ``feature`` is at most ``threshold``, or above; `LEAF` in
    leaves. ``shares``: (nodes, C) float32, of each class in a node.
    """

    roots: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    shares: NDArray[np.float32]

    @classmethod
    def of(cls, estimator: Any, classes: int) -> Forest:
        """Return a fitted scikit-learn forest, whose labels are class indices, in arrays."""
        parts: list[tuple[NDArray[Any], ...]] = []
        roots, start = [], 0
        known = np.asarray(estimator.classes_, np.int64)
        for one in estimator.estimators_:
            tree = one.tree_
            inner = tree.children_left >= 0
            shares = np.zeros((tree.node_count, classes), np.float32)
            values = tree.value[:, 0, :]
            shares[:, known] = np.where(inner[:, None], 0.0, values / values.sum(1, keepdims=True))
            parts.append(
                (
                    np.where(inner, tree.children_left + start, LEAF).astype(np.int32),
                    np.where(inner, tree.children_right + start, LEAF).astype(np.int32),
                    tree.feature.astype(np.int32),
                    tree.threshold.astype(np.float64),
                    shares,
                )
            )
            roots.append(start)
            start += tree.node_count
        return cls(np.array(roots, np.int32), *(np.concatenate(part) for part in zip(*parts, strict=True)))

    def probabilities(self, x: NDArray[Any]) -> Floats:
        """Return (R, C): the trees' mean shares at the leaf where each (R, d) record ends."""
        x = np.ascontiguousarray(x, np.float32)
        total = np.zeros((len(x), self.shares.shape[1]))
        for root in self.roots:
            node = np.full(len(x), root, np.int32)
            going = np.flatnonzero(self.left[node] != LEAF)
            while len(going):
                at = node[going]
                lower = x[going, self.feature[at]] <= self.threshold[at]
                node[going] = np.where(lower, self.left[at], self.right[at])
                going = going[self.left[node[going]] != LEAF]
            total += self.shares[node]
        return total / len(self.roots)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in ("roots", "left", "right", "feature", "threshold", "shares")}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]]) -> Forest:
        """Return the forest whose `state` this is."""
        return cls(**{name: np.asarray(array) for name, array in state.items()})
