"""LiRA: how much likelier is what the target shows under models that trained on the record than under others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from scipy.special import gammaln, log_ndtr

from vestige.attacks import centres
from vestige.attacks.base import Evidence, Needs
from vestige.attacks.moments import Floats, collect, scalars
from vestige.attacks.spread import Spread, Variance, spread
from vestige.errors import UsageError
from vestige.records import Task
from vestige.target import Access

Centre = Literal["shrunk", "mean", "median"]
Sides = Literal["one", "two"]
_PAPER = "Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022, arXiv:2112.03570"


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"Expected {name} to be one of {', '.join(allowed)}, got '{value}'.")


def log_density(residual: Floats, variance: Floats, freedom: Floats) -> Floats:
    """Return the log-density of a Student-t, Gaussian where ``freedom`` is infinite; without the common −½ log 2π."""
    gaussian = np.isinf(freedom)
    if gaussian.all():
        return -0.5 * (residual * residual / variance + np.log(variance))
    finite = np.where(gaussian, 1.0, freedom)
    levels, place = np.unique(finite, return_inverse=True)
    constant = gammaln((levels + 1) / 2) - gammaln(levels / 2) - 0.5 * np.log(levels / 2)
    tailed = constant[place.reshape(freedom.shape)] - 0.5 * np.log(variance)
    tailed -= (finite + 1) / 2 * np.log1p(residual * residual / (variance * finite))
    return np.where(gaussian, -0.5 * (residual * residual / variance + np.log(variance)), tailed)


@dataclass(frozen=True, kw_only=True)
class LiRA:
    """How much likelier what the target shows is under models that trained on the record than under others.

    The likelihood-ratio attack, online. Score (N,) float64: the log-likelihood ratio of the target's signal, summed
    over queries; larger = more likely a member. The adversary needs shadow models that trained on the record and others
    that did not (IN and OUT references), the more the better. ``variance``: ``per_record`` and
    ``pooled`` are the paper's two Gaussians, the latter from residuals within records; ``shrunk`` weighs them by how
    much variances really differ between records, and uses the Student-t that follows. ``centre``: ``mean`` (the paper),
    ``median`` (its code) or ``shrunk`` (means that borrow strength across records, for few references). ``signal`` is
    any scalar signal; for regression use ``signal="negative_log_loss"``. Sections IV–VI of the paper. Raises UsageError
    for an unknown option.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = _PAPER
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    variance: Variance = "shrunk"
    centre: Centre = "shrunk"
    signal: str = "log_odds"

    def __post_init__(self) -> None:
        _check("variance", self.variance, get_args(Variance))
        _check("centre", self.centre, get_args(Centre))

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: on how far their references stray."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal of IN and OUT references, two of them at least."""
        return Needs(signals=(self.signal,), shadows=2, side="both")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 log-likelihood ratios, finite, larger = more likely a member."""
        own = scalars(evidence, self.signal)
        out, inside = collect(evidence, self.signal, centre="median" if self.centre == "median" else "mean")
        at = centres.shrunk(out, inside) if self.centre == "shrunk" else centres.plain(out, inside)
        noise_out, noise_in = spread(out, self.variance), spread(inside, self.variance)
        member = log_density(own - at.inside, noise_in.variance + at.inside_doubt, noise_in.freedom)
        other = log_density(own - at.out, noise_out.variance + at.out_doubt, noise_out.freedom)
        ratio: Floats = (member - other).sum(axis=1)
        return ratio


@dataclass(frozen=True, kw_only=True)
class LiRAOffline:
    """How far what the target shows of a record lies above what models that did not train on it show.

    The likelihood-ratio attack, offline. Score (N,) float64, summed over queries; larger = more likely a member. The
    adversary needs shadow models that did not train on the record, so one pool serves for records that it meets later.
    ``sides="one"``, as in the paper's Equation 4: −log Pr[Z > z] for how far the target's signal lies above the OUT
    distribution, exact far into the tail. ``sides="two"``, as in the published code: −log density, so that unusually
    low confidence counts as membership too. ``variance`` and ``centre`` as in LiRA, but always Gaussian. ``signal`` is
    any scalar signal; for regression use ``signal="negative_log_loss"``. Raises UsageError for an unknown option.
    """

    access: ClassVar[Access] = Access.SCORE
    paper: ClassVar[str] = _PAPER
    tasks: ClassVar[frozenset[Task]] = frozenset({"classification", "regression"})

    variance: Variance = "shrunk"
    centre: Centre = "mean"
    sides: Sides = "one"
    signal: str = "log_odds"

    def __post_init__(self) -> None:
        _check("variance", self.variance, get_args(Variance))
        _check("centre", self.centre, get_args(Centre))
        _check("sides", self.sides, get_args(Sides))

    @property
    def pools_records(self) -> bool:
        """Whether a record's score depends on the other records: on how far their references stray."""
        return True

    @property
    def needs(self) -> Needs:
        """The signal of OUT references, one at least."""
        return Needs(signals=(self.signal,), shadows=1, side="out")

    def score(self, evidence: Evidence) -> Floats:
        """Return (N,) float64 tail scores, finite, larger = more likely a member."""
        own = scalars(evidence, self.signal)
        out, hidden = collect(evidence, self.signal, centre="median" if self.centre == "median" else "mean")
        if self.centre == "shrunk":
            middle, doubt = centres.alone(out)
        else:
            at = centres.plain(out, hidden)
            middle, doubt = at.out, at.out_doubt
        noise: Spread = spread(out, self.variance)
        variance = noise.variance + doubt
        distance = (own - middle) / np.sqrt(variance)
        surprise = -log_ndtr(-distance) if self.sides == "one" else 0.5 * (distance * distance + np.log(variance))
        total: Floats = surprise.sum(axis=1)
        return total
