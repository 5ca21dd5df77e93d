"""RMIA: how much likelier the target finds a record than models at large do, and how many other records that beats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from vestige.attacks.base import Evidence, Needs
from vestige.attacks.likelihoods import mean_likelihoods
from vestige.attacks.moments import Floats, scalars
from vestige.attacks.rmia_offset import FALLBACK, log_marginal, tuned_offset
from vestige.errors import AuditError, UsageError
from vestige.records import Task
from vestige.signals.base import key_of
from vestige.target import Access

Aggregate = Literal["mean", "vote"]
_PAPER = "Zarifzadeh, Liu & Shokri, Low-cost high-power membership inference attacks, ICML 2024, arXiv:2312.03262"
_PAIRS = 1 << 22  # record × population comparisons held at once


@dataclass(frozen=True, kw_only=True)
class RMIA:
    """How much likelier the target finds a record than models at large do, set against how it finds other records.

    The relative attack, online. Score (N,) float64: the log of r(x) = p(x | target) / p(x), where p(x) averages the
    mean IN and the mean OUT likelihood; larger = more likely a member. The adversary needs shadow models that trained
    on the record and others that did not; a few go far. It ranks records as the paper's Pr[r(x) ≥
    γ·r(z)] over population records z does, without that fraction's ties; `rank` gives the fraction itself, so ``gamma``
    matters there and not to the score. Several queries are joined by their mean log-ratio (``aggregate="mean"``) or by
    the published code's majority vote for each pair (``"vote"``, which needs a population). ``temperature`` divides the
    logits; ``trim`` leaves out that share of a record's references, half at each end; ``offline_a`` is the line by
    which a record without IN references is still given one. Sections 3 and 4 of the paper. Raises UsageError for an
    impossible option.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = _PAPER
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification"})

    temperature: float = 1.25
    gamma: float = 1.0
    offline_a: float | Literal["auto"] = FALLBACK
    aggregate: Aggregate = "mean"
    trim: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("gamma", self.gamma)):
            if not value > 0:
                raise UsageError(f"Expected {name} to be positive, got {value}.")
        if self.offline_a != "auto" and not (_is_number(self.offline_a) and 0 <= self.offline_a <= 1):
            raise UsageError(f"Expected offline_a to be a number from 0 to 1, or auto, got {self.offline_a!r}.")
        if self.aggregate not in get_args(Aggregate):
            raise UsageError(f"Expected aggregate to be mean or vote, got '{self.aggregate}'.")
        if not 0 <= self.trim < 1:
            raise UsageError(f"Expected trim to be at least 0 and below 1, got {self.trim}.")

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records."""
        return self.offline_a == "auto"

    @property
    def key(self) -> str:
        """The signal it reads: the log-probability of the true class at its temperature."""
        return key_of("log_probability", {"temperature": float(self.temperature)} if self.temperature != 1 else None)

    @property
    def needs(self) -> Needs:
        """The likelihood under IN and OUT references."""
        return Needs(signals=(self.key,), shadows=2, side="both", population=self.aggregate == "vote")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 scores, finite, larger = more likely a member."""
        offset = self._offset(evidence)
        ratios = self._log_ratios(evidence, offset)
        mean: Floats = ratios.mean(axis=1)
        if self.aggregate == "mean":
            return mean
        population = self._log_ratios(self._population(evidence), offset)
        within_a_step = (1 + mean / (1 + np.abs(mean))) / 2
        voted: Floats = votes(ratios, population, self.gamma) + within_a_step / (len(population) + 1)
        return voted

    def rank(self, evidence: Evidence) -> Floats:
        """Return (N,) the share of population records z with r(x) ≥ γ·r(z): at γ = 1 a calibrated 1 − p-value.

        Raises AuditError when the evidence has no population.
        """
        offset = self._offset(evidence)
        ratios, population = (self._log_ratios(e, offset) for e in (evidence, self._population(evidence)))
        if self.aggregate == "vote":
            return votes(ratios, population, self.gamma)
        return beaten(ratios.mean(axis=1), population.mean(axis=1), self.gamma)

    def _log_ratios(self, evidence: Evidence, offset: float) -> Floats:
        out, inside = mean_likelihoods(evidence, self.key, trim=self.trim)
        return scalars(evidence, self.key) - log_marginal(out, inside, offset)

    def _offset(self, evidence: Evidence) -> float:
        return tuned_offset(evidence, self.key) if self.offline_a == "auto" else float(self.offline_a)

    def _population(self, evidence: Evidence) -> Evidence:
        if evidence.population is None or not len(evidence.population):
            raise AuditError(
                "RMIA compares with population records that no model trained on, but there are none.",
                hint="Hold some records out of every model's training, or use aggregate='mean' and `score`.",
            )
        return evidence.population


@dataclass(frozen=True, kw_only=True)
class RMIAOffline(RMIA):
    """How much likelier the target finds a record than models that did not train on it do.

    The relative attack, offline: as RMIA, larger = more likely a member, with the mean IN likelihood guessed as
    ``offline_a``·p_out + (1 − ``offline_a``), so that the adversary needs only shadow models that did not train on the
    record. ``offline_a="auto"`` sets it by attacking references in the target's place; only for that does it look at IN
    values, and never at the target's.
    """

    offline_a: float | Literal["auto"] = FALLBACK

    @property
    def needs(self) -> Needs:
        """The likelihood under OUT references; under IN ones too when ``offline_a`` is to be tuned on them."""
        side: Literal["both", "out"] = "both" if self.offline_a == "auto" else "out"
        return Needs(signals=(self.key,), shadows=1, side=side, population=self.aggregate == "vote")

    def _log_ratios(self, evidence: Evidence, offset: float) -> Floats:
        out, inside = mean_likelihoods(evidence, self.key, trim=self.trim)
        return scalars(evidence, self.key) - log_marginal(out, np.full_like(inside, np.nan), offset)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def beaten(ratios: Floats, population: Floats, gamma: float) -> Floats:
    """Return (N,) the share of the population's log-ratios (Z,) that ``ratios`` (N,) reach by log γ."""
    share: Floats = np.searchsorted(np.sort(population), ratios - np.log(gamma), side="right") / len(population)
    return share


def votes(ratios: Floats, population: Floats, gamma: float) -> Floats:
    """Return (N,) the share of the population (Z, A) that each record (N, A) beats in more than half of its queries."""
    queries = ratios.shape[1]
    share = np.empty(len(ratios))
    step = max(1, _PAIRS // max(1, len(population)))
    for start in range(0, len(ratios), step):
        run = ratios[start : start + step] - np.log(gamma)
        wins = sum((run[:, a, None] >= population[None, :, a]).astype(np.int32) for a in range(queries))
        share[start : start + step] = (2 * np.asarray(wins) > queries).mean(axis=1)
    return share
