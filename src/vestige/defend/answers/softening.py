"""Answers made less sure of themselves: a temperature, or noise that belongs to the query."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.defend.base import Named, Stage, Trait, Unfitted, probabilities
from vestige.defend.blocks import softmax_rows, spans
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError
from vestige.privacy_claim import Guarantee
from vestige.target import Outputs

SMALLEST = 1e-30


def logits_of(outputs: Outputs) -> NDArray[np.float64]:
    """Return the answers as (R, C) float64 logits; of probabilities, their logarithms."""
    if outputs.kind == "logits":
        return np.asarray(outputs.values, np.float64)
    return np.log(np.maximum(probabilities(outputs), SMALLEST))


@dataclass(frozen=True, kw_only=True)
class Temperature(Unfitted):
    """Divides the logits by ``temperature``: above 1 every answer is less sure, and their order stays.

    Only thresholds fixed beforehand are fooled; an adversary whose shadow models answer alike is not. Shokri, Stronati,
    Song & Shmatikov 2017, "Membership Inference Attacks Against Machine Learning Models", IEEE S&P, section VIII.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.KEEPS_LABEL})
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.TEMPERATURE
    paper: ClassVar[str] = "Shokri et al. 2017"

    temperature: float = 5.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"Expected temperature to be a number above 0, got {self.temperature!r}.")

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:  # noqa: ARG002
        """Divide and normalise."""
        logits = outputs.values if outputs.kind == "logits" else logits_of(outputs)
        return Outputs("probabilities", softmax_rows(logits, temperature=self.temperature))


@dataclass(frozen=True, kw_only=True)
class OutputNoise(Unfitted):
    """Adds noise of scale ``scale`` to the logits, the same for the same query every time, so that asking again and
    averaging takes nothing away.

    ``law``: gaussian or laplace. ``keep_label``: where the noise would put another class first, the two exchange their
    scores. ``grain``: queries that lie in one cell of a secret grid as coarse as this (root mean square over the
    features, in their own unit) share their noise; at 0 each has its own, and asking about many records close to one
    averages it out. It should be well below the distance between two records. Nothing is proven of it. Jia, Salem,
    Backes, Zhang & Gong 2019, "MemGuard", CCS, section 5, compare with such noise.
    """

    guarantee: ClassVar[Guarantee] = "G4"
    traits: ClassVar[frozenset[Trait]] = frozenset()
    adaptive: ClassVar[tuple[Named, ...]] = ("gap",)
    reserve: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.NOISE
    paper: ClassVar[str] = "Jia et al. 2019"

    scale: float = 1.0
    law: Literal["gaussian", "laplace"] = "gaussian"
    keep_label: bool = True
    grain: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise ConfigError(f"Expected scale to be a number of at least 0, got {self.scale!r}.")
        if not (math.isfinite(self.grain) and self.grain >= 0):
            raise ConfigError(f"Expected grain to be a number of at least 0, got {self.grain!r}.")
        if self.law not in ("gaussian", "laplace"):
            raise ConfigError(f"Expected law to be gaussian or laplace, got {self.law!r}.")

    def apply(self, outputs: Outputs, tickets: Tickets) -> Outputs:
        """Add the query's own noise."""
        logits = outputs.values if outputs.kind == "logits" else logits_of(outputs)
        shared = tickets.near(self.grain)
        draw = shared.normal if self.law == "gaussian" else shared.laplace
        noisy = draw(logits.shape[1], "noise")
        for span in spans(logits):
            block, own = noisy[span], logits[span]
            block *= self.scale
            block += own
            if self.keep_label:
                rows = np.arange(len(own))
                first, now = own.argmax(1), block.argmax(1)
                block[rows, first], block[rows, now] = block[rows, now], block[rows, first]
        return Outputs("probabilities", softmax_rows(noisy))
