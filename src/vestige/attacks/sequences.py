"""Attack models of sequences: what several metrics of a record did from one step of a training to the next.

Networks are taught on most of the shadow models' rows, and the epoch to keep is chosen by the log-likelihood of the
others. They are scored in double precision, so that a record's score does not depend on its neighbours in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.errors import MissingDependency
from vestige.seeds import rng, seed_for
from vestige.target import BoolArray, FloatArray

if TYPE_CHECKING:
    import torch
    from torch import nn

Double = NDArray[np.float64]
Rule = Callable[[FloatArray], Double]
Network = Literal["mlp", "lstm"]
LARGEST = 20.0
HELD_OUT = 4
SCORED = 2048
LONGEST_STEP = 1.0


@dataclass(frozen=True, kw_only=True)
class Course:
    """How an attack network is trained, at most: it ends when ``patience`` epochs in a row were no better.

    ``decay`` multiplies the rate every ``every`` epochs.
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 1.0
    every: int = 10
    patience: int = 20


COURSES: dict[Network, Course] = {
    "mlp": Course(epochs=100, batch=128, rate=0.01),
    "lstm": Course(epochs=150, batch=100, rate=0.01, decay=0.9, patience=8),
}


@dataclass(frozen=True, eq=False)
class Scale:
    """Centre and width of every metric at every step, (T, F), over shadow rows; losses count as at most 20."""

    centre: Double
    width: Double

    @classmethod
    def of(cls, series: FloatArray) -> Scale:
        """Measure (R, T, F)."""
        clipped = _clipped(series)
        width = clipped.std(axis=0)
        return cls(clipped.mean(axis=0), np.where(width > 0, width, 1.0))

    def __call__(self, series: FloatArray) -> Double:
        """Return (R, T, F) standardised."""
        return np.asarray((_clipped(series) - self.centre) / self.width)


def _clipped(series: FloatArray) -> Double:
    return np.clip(series.astype(np.float64), -LARGEST, LARGEST)


def teach(kind: Network, series: FloatArray, members: BoolArray, seed: int) -> Rule:
    """Teach a network; the rule it returns maps (R, T, F) series to (R,) differences of logits, larger = member.

    ``series``: (R, T, F) of shadow rows in an order that is random; ``members``: (R,) whether the model trained on the
    record. Raises MissingDependency without torch.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch", extra="torch", purpose="An attack model of sequences") from error
    scale = Scale.of(series)
    x, y = torch.from_numpy(scale(series).astype(np.float32)), torch.from_numpy(members.astype(np.int64))
    with _alone(seed_for(seed, "attack", kind)):
        parts, forward = _mlp(*x.shape[1:]) if kind == "mlp" else _lstm(x.shape[2])
        _train(kind, parts, forward, x, y, seed)
    parts.double().eval()

    def rule(found: FloatArray) -> Double:
        scaled = torch.from_numpy(scale(found))
        with torch.no_grad(), _alone(0):
            answers = [forward(part) for part in torch.split(scaled, SCORED)]
            return np.concatenate([(one[:, 1] - one[:, 0]).numpy() for one in answers])

    return rule


def _train(
    kind: Network,
    parts: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
) -> None:
    """Train, and go back to the epoch that was best on the rows kept apart."""
    import torch
    from torch.nn import functional as F
    from torch.nn.utils import clip_grad_norm_

    course = COURSES[kind]
    apart = torch.arange(len(y)) % HELD_OUT == HELD_OUT - 1
    taught = torch.nonzero(~apart)[:, 0].numpy()
    optimiser = _optimiser(kind, parts, course.rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, course.every, course.decay)
    draw = rng(seed, "attack", kind, "order")
    best, at, kept = float("inf"), 0, parts.state_dict()
    for epoch in range(course.epochs):
        for index in torch.split(torch.from_numpy(draw.permutation(taught)), course.batch):
            optimiser.zero_grad()
            F.cross_entropy(forward(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(parts.parameters(), LONGEST_STEP)
            optimiser.step()
        schedule.step()
        if not bool(apart.any()):
            continue
        with torch.no_grad():
            loss = float(F.cross_entropy(forward(x[apart]), y[apart]))
        if loss < best:
            best, at, kept = loss, epoch, {name: value.clone() for name, value in parts.state_dict().items()}
        if epoch - at >= course.patience:
            break
    if best < float("inf"):
        parts.load_state_dict(kept)


def _optimiser(kind: Network, parts: nn.Module, rate: float) -> Any:
    import torch

    if kind == "lstm":
        return torch.optim.Adam(parts.parameters(), rate, weight_decay=1e-4)
    return torch.optim.SGD(parts.parameters(), rate, momentum=0.9, weight_decay=1e-4)


def _mlp(steps: int, metrics: int) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    from torch import nn

    widths = (steps * metrics, 512, 128, 32)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], 2))
    return network, network


def _lstm(metrics: int, hidden: int = 50) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Return a recurrent network whose last state attends to all states, and decides from both."""
    import torch
    from torch import nn

    reader, head = nn.LSTM(metrics, hidden, batch_first=True), nn.Linear(2 * hidden, 2)

    def forward(x: torch.Tensor) -> torch.Tensor:
        states, _ = reader(x)
        last = states[:, -1]
        attention = torch.softmax((states * last[:, None]).sum(dim=2), dim=1)
        context = (attention[:, :, None] * states).sum(dim=1)
        decided: torch.Tensor = head(torch.cat([last, context], dim=1))
        return decided

    return nn.ModuleList([reader, head]), forward


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread and a generator of its own: the same bits every time, and nothing left changed."""
    import torch

    from vestige.backends import memory

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), memory.kept():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
