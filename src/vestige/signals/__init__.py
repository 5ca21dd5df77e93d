"""Signals: numbers measured on (model, record). Look them up by key, or compute many from one answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from vestige.errors import AccessError, UsageError
from vestige.registry import Registry, call_of
from vestige.signals.answers import resolution_of
from vestige.signals.base import OutputSignal, Signal, Signals, SignalTable, key_of
from vestige.signals.output import measure_signals
from vestige.target import FloatArray, IntArray, Outputs

SIGNALS = Registry(
    "signals",
    {
        "loss": "vestige.signals.classification:Loss",
        "log_probability": "vestige.signals.classification:LogProbability",
        "log_odds": "vestige.signals.classification:LogOdds",
        "hinge": "vestige.signals.classification:Hinge",
        "entropy": "vestige.signals.classification:Entropy",
        "modified_entropy": "vestige.signals.classification:ModifiedEntropy",
        "max_log_probability": "vestige.signals.classification:MaxLogProbability",
        "correct": "vestige.signals.classification:Correct",
        "predicted_class": "vestige.signals.classification:PredictedClass",
        "std_probability": "vestige.signals.classification:StdProbability",
        "top_probabilities": "vestige.signals.classification:TopProbabilities",
        "log_probabilities": "vestige.signals.classification:LogProbabilities",
        "taylor_log_probability": "vestige.signals.classification:TaylorLogProbability",
        "residual": "vestige.signals.regression:Residual",
        "negative_log_loss": "vestige.signals.regression:NegativeLogLoss",
        "gradient_norm": "vestige.signals.internal.gradients:GradientNorm",
        "last_layer": "vestige.signals.internal.gradients:LastLayer",
        "white_box_vector": "vestige.signals.internal.gradients:WhiteBoxVector",
        "components": "vestige.signals.internal.gradients:Components",
        "displacement": "vestige.signals.internal.displacement:Displacement",
        "boundary": "vestige.signals.labels.boundary:Boundary",
        "robustness": "vestige.signals.labels.robustness:Robustness",
        "decisions": "vestige.signals.labels.decisions:Decisions",
        "extraction": "vestige.signals.labels.extraction:Extraction",
        "distilled": "vestige.signals.process.distilled:Distilled",
        "snapshots": "vestige.signals.process.snapshots:Snapshots",
        "latency": "vestige.signals.timing.latency:Latency",
        "exits": "vestige.signals.timing.latency:Exits",
        "one_query": "vestige.signals.labels.one_query:OneQuery",
        "change": "vestige.signals.update.change:Change",
        "before_after": "vestige.signals.update.before_after:BeforeAfter",
    },
)

__all__ = [
    "SIGNALS",
    "OutputSignal",
    "Signal",
    "SignalTable",
    "Signals",
    "create",
    "key_of",
    "measure_outputs",
    "resolution_of",
]


@lru_cache(maxsize=256)
def create(key: str) -> Signal:
    """Return the signal that a table key names; raises UsageError when it names none.

    >>> create("log_probability(temperature=2.0)")
    LogProbability(temperature=2.0)
    """
    try:
        name, params = call_of(key)
    except ValueError as error:
        raise UsageError(
            f"Expected a signal key such as loss or log_probability(temperature=2.0), got '{key}'."
        ) from error
    return cast("Signal", SIGNALS.create(name, params))


def measure_outputs(
    outputs: Outputs,
    y: IntArray | FloatArray,
    keys: Sequence[str],
    *,
    classes: int | None = None,
    resolution: float | None = None,
) -> dict[str, Signals]:
    """Return the (R, K) float32 values of every key from one answer to R records with true labels ``y``.

    ``classes``: how many columns the answer must have, when known; ``resolution``: what an exact zero among
    probabilities stands for (None: `resolution_of` the answer). Raises AccessError for a key that the answer does not
    show, and ModelError for an answer with NaN, too few columns or a wrong number of rows.
    """
    signals: dict[str, OutputSignal] = {}
    for key in keys:
        signal = create(key)
        if not isinstance(signal, OutputSignal):
            raise AccessError(f"The signal '{key}' is not a function of the target's answer alone.")
        signals[key] = signal
    return measure_signals(outputs, y, signals, classes=classes, resolution=resolution)
