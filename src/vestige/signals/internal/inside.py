"""Inside a model: what someone who holds the weights computes for each record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from vestige.defend.recipes import DefendedTarget
from vestige.errors import AccessError, ModelError
from vestige.records import Records, Task
from vestige.signals.base import Signals
from vestige.target import Access, CountingTarget, FloatArray, IntArray, Target, require

Double = NDArray[np.float64]
BLOCK = 512
FLOOR = 1e-9


@dataclass(frozen=True, eq=False)
class Inside:
    """What the weights show of R records.

    ``log_probabilities``: (R, C). ``slope``: (R, C), the direction of the loss's gradient by the logits, p - e_y scaled
    to length one, and ``log_slope``: (R,), the logarithm of its length; apart, so that neither vanishes for a record
    that the model is sure of. ``hidden``: (R, H), what the last layer reads. ``lengths``: (R, L), the length of the
    gradient by each layer's parameters if the slope had length one, first layer first. ``activity``: (R, L, 3), what
    each layer read: the logarithm of its root mean square, the share that is not zero, and the logarithm of the largest
    value over the root mean square.
    """

    log_probabilities: Double
    slope: Double
    log_slope: Double
    hidden: Double
    lengths: Double
    activity: Double

    @property
    def residual(self) -> Double:
        """(R, C): the predicted probabilities minus the true label's one."""
        return self.slope * np.exp(self.log_slope)[:, None]

    @property
    def log_norms(self) -> Double:
        """(R, L): the logarithm of the gradient's length by each layer's parameters."""
        return self._log(self.lengths)

    @property
    def log_norm(self) -> Double:
        """(R,): the logarithm of the gradient's length by all parameters together."""
        return self._log(np.sqrt((self.lengths**2).sum(axis=1, keepdims=True)))[:, 0]

    def _log(self, lengths: Double) -> Double:
        found: Double = np.log(np.maximum(lengths, FLOOR)) + self.log_slope[:, None]
        return found


class InsideSignal:
    """A signal read from the inside of a model, so that many of them share one pass over the records."""

    access: ClassVar[Access] = Access.WHITE_BOX
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    def read(self, found: Inside, y: IntArray) -> Double:
        """Return (R, K) from what the weights show of R records with true labels ``y``."""
        raise NotImplementedError

    def measure(self, target: Target, records: Records, rows: IntArray, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Return (R, K); raises AccessError for a model whose weights are not to be had."""
        return measure_inside(target, records, rows, {"": self})[""]

    def imagine(self, logits: Double, y: IntArray) -> Double:
        """Return what one softmax layer over features that are alike for all records would show, for the test kit."""
        return self.read(of_linear(np.tile([0.5, 1.0, 1.5, 2.0], (len(y), 1)), logits, y), y)


def measure_inside(
    target: Target, records: Records, rows: IntArray, signals: Mapping[str, InsideSignal]
) -> dict[str, Signals]:
    """Return (R, K) float32 per key from one pass, a few hundred records at a time."""
    parts: dict[str, list[Signals]] = {key: [] for key in signals}
    for y, found in blocks(target, records, rows):
        for key, signal in signals.items():
            parts[key].append(signal.read(found, y).astype(np.float32))
    return {key: np.concatenate(found) if found else np.empty((0, 1), np.float32) for key, found in parts.items()}


def inside(target: Target, records: Records, rows: IntArray) -> Inside:
    """Return what the weights show of ``rows``, all at once; `measure_inside` needs less memory."""
    parts = [found for _, found in blocks(target, records, rows)]
    return Inside(*(np.concatenate([getattr(p, name) for p in parts]) for name in Inside.__dataclass_fields__))


def blocks(target: Target, records: Records, rows: IntArray) -> Iterator[tuple[IntArray, Inside]]:
    """Yield (labels, what the weights show) of a few hundred rows at a time.

    Raises AccessError for a model whose weights are not to be had, ModelError for one that cannot be differentiated.
    """
    require(target, Access.WHITE_BOX)
    owner = opened(target)
    read = _reader(owner)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        y = np.asarray(records.y[part], np.int64)
        yield y, read(records.rows_of(part), y)


def _reader(owner: Any) -> Callable[[Any, IntArray], Inside]:
    linear = getattr(owner, "linear", None)
    if linear is not None:

        def closed(x: Any, y: IntArray) -> Inside:
            hidden, logits, alone = linear(x)
            return of_linear(hidden, logits, y, alone=alone)

        return closed
    from vestige.signals.internal.modules import Reader

    reader = Reader(owner.module)
    return lambda x, y: reader.read(owner.prepared(x), y)


def opened(target: Target) -> Any:
    """Return the model itself, out of what counts its queries; raises AccessError when its weights are not to be had.

    A torch target has ``module`` and ``prepared``, a linear one ``linear``.
    """
    owner: Any = target
    while isinstance(owner, CountingTarget | DefendedTarget):
        owner = owner.inner
    if getattr(owner, "linear", None) is None and getattr(owner, "module", None) is None:
        raise AccessError(
            "White-box signals need a torch module, or a linear or logistic model of scikit-learn.",
            hint="Choose attacks for score access.",
        )
    return owner


def slopes(logits: Double, y: IntArray) -> tuple[Double, Double, Double]:
    """Return log-probabilities (R, C), the unit slope (R, C) and the logarithm of its length (R,).

    All in logarithms: one minus a probability that rounds to one is the odds against it. Raises ModelError for logits
    that are not finite or have no column for a label.
    """
    if not np.isfinite(logits).all():
        raise ModelError("The model answered with NaN or infinity.", hint="Check that its training did not diverge.")
    if len(y) and y.max() >= logits.shape[1]:
        raise ModelError(f"Expected a column for each class, got {logits.shape[1]} for label {y.max()}.")
    at = np.arange(len(y)), y
    said = scipy.special.log_softmax(logits, axis=1)
    others = logits.copy()
    others[at] = -np.inf
    odds = logits[at] - scipy.special.logsumexp(others, axis=1)
    said[at] = scipy.special.log_expit(odds)
    size = said.copy()
    size[at] = scipy.special.log_expit(-odds)
    length = 0.5 * scipy.special.logsumexp(2 * size, axis=1)
    slope = np.exp(size - length[:, None])
    slope[at] *= -1
    return said, slope, length


def of_linear(hidden: Double, logits: Double, y: IntArray, *, alone: bool = False) -> Inside:
    """Return what the weights of one softmax layer show, in closed form: its gradient is residual times input.

    ``alone``: two classes share one vector of weights.
    """
    said, slope, length = slopes(np.asarray(logits, np.float64), y)
    # The bias has a gradient too: the layer reads one more feature, which is always one.
    own = np.abs(slope[:, 1]) if alone else 1.0
    lengths = own * np.sqrt(1 + (hidden**2).sum(axis=1))
    return Inside(said, slope, length, hidden, lengths[:, None], activity(hidden)[:, None])


def activity(values: Double) -> Double:
    """Return (R, 3) of (R, H) inputs of a layer; see `Inside`."""
    mean = np.sqrt((values**2).mean(axis=1))
    largest = np.abs(values).max(axis=1)
    filled = (values != 0).mean(axis=1)
    return np.column_stack([np.log(mean + FLOOR), filled, np.log((largest + FLOOR) / (mean + FLOOR))])
