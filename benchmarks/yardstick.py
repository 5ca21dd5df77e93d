"""The audit that most tools run: one DataLoader loop per model, then one DataLoader pass per model for its signals.

It is the in-process yardstick of `speed.py` and `training.py`: plain torch, its default threads, eager optimiser, the
loss read every step, then LiRA with a loop over records and RMIA from mean probabilities, in numpy. Of the figures only
the two AUCs are computed, and no report is written, so that it flatters nobody but itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass(frozen=True)
class Yardstick:
    """What one yardstick audit took and found; accuracies are means over models, on their own records and on others.

    ``cpu``: processor seconds of all threads; the other times are wall-clock. ``trained``: how many models really were,
    when the times are scaled to ``models``.
    """

    training: float
    signals: float
    total: float
    models: int
    train_accuracy: float
    test_accuracy: float
    lira_auc: float
    rmia_auc: float
    cpu: float
    trained: int

    def scaled(self, models: int) -> Yardstick:
        """Return what ``models`` models would take: training and signals in proportion, the rest as it was."""
        factor = models / self.models
        rest = self.total - self.training - self.signals
        training, signals, cpu = self.training * factor, self.signals * factor, self.cpu * factor
        return replace(
            self, training=training, signals=signals, total=training + signals + rest, models=models, cpu=cpu
        )


def train_one(
    make: Callable[[], nn.Module],
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    seed: int,
) -> tuple[nn.Module, float]:
    """Train one model the way most shadow-model tools do; return it and its last epoch's accuracy."""
    torch.manual_seed(seed)
    model = make()
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    criterion = nn.CrossEntropyLoss()
    correct = 0
    for _ in range(epochs):
        model.train()
        correct, total_loss = 0, 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            correct += outputs.argmax(dim=1).eq(labels).sum().item()
        scheduler.step()
    return model, correct / len(x)


def logits_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor, batch_size: int) -> np.ndarray:
    """Ask a model about every record, batch by batch."""
    model.eval()
    answers = []
    with torch.no_grad():
        for inputs, _ in DataLoader(TensorDataset(x, y), batch_size=batch_size):
            answers.append(model(inputs).numpy())
    return np.concatenate(answers)


def audit(
    make: Callable[[], nn.Module],
    x: np.ndarray,
    y: np.ndarray,
    *,
    models: int,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    seed: int = 0,
    threads: int = 2,
) -> Yardstick:
    """Train ``models`` models on random halves of the records and score the first against the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _audit(make, x, y, models, epochs, batch_size, lr, momentum, weight_decay, seed)
    finally:
        torch.set_num_threads(before)


def _audit(make, x, y, models, epochs, batch_size, lr, momentum, weight_decay, seed) -> Yardstick:
    start, before = time.perf_counter(), time.process_time()
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    random = np.random.default_rng(seed)
    masks = np.stack([random.permutation(len(x)) < len(x) // 2 for _ in range(models)])
    trained, seen, held = [], [], []
    began = time.perf_counter()
    for index in range(models):
        rows = torch.from_numpy(np.flatnonzero(masks[index]))
        model, _ = train_one(
            make, tx[rows], ty[rows], epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum,
            weight_decay=weight_decay, seed=seed + index,
        )  # fmt: skip
        trained.append(model)
    training = time.perf_counter() - began
    began = time.perf_counter()
    log_probability, odds = np.empty((models, len(x))), np.empty((models, len(x)))
    for index, model in enumerate(trained):
        logits = logits_of(model, tx, ty, batch_size).astype(np.float64)
        right = logits.argmax(axis=1) == y
        seen.append(right[masks[index]].mean())
        held.append(right[~masks[index]].mean())
        own = np.take_along_axis(logits, y[:, None], axis=1)[:, 0]
        log_probability[index] = own - _log_sum(logits)
        np.put_along_axis(logits, y[:, None], -np.inf, axis=1)
        odds[index] = own - _log_sum(logits)
    signals = time.perf_counter() - began
    lira, rmia = _lira(odds, masks), np.exp(log_probability[0]) / np.exp(log_probability[1:]).mean(axis=0)
    areas = [_auc(scores[masks[0]], scores[~masks[0]]) for scores in (lira, rmia)]
    total, cpu = time.perf_counter() - start, time.process_time() - before
    return Yardstick(training, signals, total, models, float(np.mean(seen)), float(np.mean(held)), *areas, cpu, models)


def _log_sum(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=1)
    return top + np.log(np.exp(logits - top[:, None]).sum(axis=1))


def _lira(odds: np.ndarray, masks: np.ndarray) -> np.ndarray:
    scores = np.empty(odds.shape[1])
    for record in range(odds.shape[1]):
        inside, outside = odds[1:, record][masks[1:, record]], odds[1:, record][~masks[1:, record]]
        if not len(inside) or not len(outside):
            scores[record] = 0.0
            continue
        scores[record] = _log_density(odds[0, record], inside) - _log_density(odds[0, record], outside)
    return scores


def _log_density(value: float, sample: np.ndarray) -> float:
    deviation = sample.std() + 1e-30
    return -0.5 * ((value - sample.mean()) / deviation) ** 2 - np.log(deviation)


def _auc(inside: np.ndarray, outside: np.ndarray) -> float:
    order = np.sort(outside)
    below, upto = np.searchsorted(order, inside, "left"), np.searchsorted(order, inside, "right")
    return float((below + upto).mean() / (2 * len(outside)))
