"""What every driver prints: one line of JSON, judged by one set of conventions whatever the tool itself reports."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

RATES = (0.001, 0.01)


def figures(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """Judge scores as Vestige does: ties move together, nothing is interpolated."""
    order = np.sort(outside)
    below, upto = np.searchsorted(order, inside, "left"), np.searchsorted(order, inside, "right")
    answer = {"auc": float((below + upto).mean() / (2 * len(outside)))}
    for fpr in RATES:
        threshold = order[len(order) - 1 - int(fpr * len(order))]
        answer[f"tpr@{fpr:g}"] = float((inside > threshold).mean())
    return answer


def accuracies(models: Sequence[nn.Module], masks: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the models' mean accuracy on the records they trained on (masks: models × records) and on the others."""
    inputs, seen, held = torch.from_numpy(x), [], []
    for model, mask in zip(models, masks, strict=True):
        with torch.no_grad():
            right = model.eval()(inputs).argmax(dim=1).numpy() == y
        seen.append(right[mask].mean())
        held.append(right[~mask].mean())
    return float(np.mean(seen)), float(np.mean(held))


def tell(peer: str, **found: object) -> None:
    """Print the line, past whatever the tool has done to stdout."""
    line = json.dumps({"peer": peer, "threads": torch.get_num_threads(), **found})
    os.write(1, f"\n{line}\n".encode())
