"""Noise for single numbers and tables that are given away: Laplace, Gaussian, and both on whole numbers.

Noise is drawn by OpenDP, exactly and from the operating system's randomness: floating-point noise drawn the plain way
tells, by its last bits, what it was added to. What it does not check is checked here: it takes a NaN for 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vestige.defend.private.ledger import entry, library
from vestige.errors import ConfigError, DataError, MissingDependency
from vestige.privacy_claim import Adjacency, PrivacyClaim

Kind = Literal["laplace", "gaussian"]
LEAST, MOST = 1e-100, 1e100
"""Scales between which floating-point numbers are a fine grid in comparison."""
LARGEST_WHOLE = 2**62
LARGEST_EXACT = 2**53
"""Beyond this, whole numbers are rounded to floating-point ones, and neighbours move apart by more than they are."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is given away, and what it costs."""

    value: Any
    claim: PrivacyClaim


@dataclass(frozen=True, kw_only=True)
class Mechanism(ABC):
    """Noise made to measure for one release; ``sensitivity`` says how far one record can move the true value."""

    kind: ClassVar[Kind]
    whole: ClassVar[bool] = False

    sensitivity: float
    epsilon: float
    unit: str = "record"
    adjacency: Adjacency = "add_remove"

    def __post_init__(self) -> None:
        for name in ("sensitivity", "epsilon"):
            if not _positive(getattr(self, name)):
                raise ConfigError(f"Expected {name} to be a number above 0, got {getattr(self, name)!r}.")
        if not LEAST <= self.sensitivity / self.epsilon <= MOST:
            raise ConfigError(
                f"A sensitivity of {self.sensitivity:g} at ε = {self.epsilon:g} asks for noise beyond {LEAST:g} … "
                f"{MOST:g}.",
                hint="Release the value in another unit of measure.",
            )

    def release(self, value: Any) -> Release:
        """Return a number, or an array of numbers of any shape, with noise, and the claim of this one release.

        Give it away once and keep it: every further release of the same value costs as much again. Raises DataError for
        what is not a finite number, or not a whole one where whole ones are asked for.
        """
        given = self._checked(value)
        noised = with_noise(given.ravel(), self.kind, self.scale).reshape(given.shape)
        return Release(value=noised if given.ndim else noised.item(), claim=self.claim())

    @property
    @abstractmethod
    def scale(self) -> float:
        """The noise's scale: of a Laplace law its own, of a Gaussian one its standard deviation."""

    @abstractmethod
    def claim(self) -> PrivacyClaim:
        """Return what is proven for one release."""

    def _claimed(self, event: Any, **fields: Any) -> PrivacyClaim:
        norm = "L1" if self.kind == "laplace" else "L2"
        moved = f"one {self.unit} moves the value, as it is computed, by at most {self.sensitivity:g} in {norm} norm"
        return PrivacyClaim(
            unit=self.unit,
            adjacency=self.adjacency,
            ledger=(entry(event),),
            assumptions=(
                moved,
                "the value is released once",
            ),
            excludes=("how the value, its bounds and its sensitivity were chosen",),
            **fields,
        )

    def _checked(self, value: Any) -> NDArray[Any]:
        try:
            given = np.asarray(value)
            numeric = given.dtype.kind in "iuf" or (given.dtype.kind == "b" and self.whole)
            finite = numeric and bool(np.isfinite(given).all())
        except ValueError as error:
            raise DataError("Expected a number or an array of numbers, got rows of unequal length.") from error
        if not finite:
            raise DataError(
                "Expected finite numbers to release, got something else among them.",
                hint="Replace what is missing and clamp to public bounds first; the sensitivity follows from those.",
            )
        if not self.whole:
            if given.dtype.kind in "iu" and not _within(given, LARGEST_EXACT):
                raise DataError(
                    "Expected whole numbers within ±2^53, beyond which floating point has gaps.",
                    hint=f"Use Discrete{type(self).__name__}.",
                )
            return given.astype(np.float64)
        if (given != np.round(given)).any() or not _within(given, LARGEST_WHOLE):
            raise DataError(
                f"Expected whole numbers within ±2^62, got others for {type(self).__name__}.",
                hint=f"Use {type(self).__name__.removeprefix('Discrete')}.",
            )
        return given.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Laplace(Mechanism):
    """Adds Laplace noise of scale ``sensitivity`` / ``epsilon``, which is ``epsilon``-differentially private.

    ``sensitivity``: the largest L1 distance between the values, taken as a whole, of two neighbouring data sets;
    ``unit`` and ``adjacency``: what neighbours differ in, and how. Dwork, McSherry, Nissim & Smith 2006, "Calibrating
    Noise to Sensitivity in Private Data Analysis", TCC.

    >>> Laplace(sensitivity=1, epsilon=0.5).release(12.0).claim.epsilon
    0.5
    """

    kind: ClassVar[Kind] = "laplace"

    @cached_property
    def scale(self) -> float:
        """The noise's scale; a hair more than the quotient where ε would be rounded up."""
        moved = int(self.sensitivity) if self.whole else float(self.sensitivity)

        def enough(scale: float) -> bool:
            return bool(_measurement(self.kind, scale, whole=self.whole).map(moved) <= self.epsilon)

        return grown(self.sensitivity / self.epsilon, enough)

    def claim(self) -> PrivacyClaim:
        """Return ε, with δ = 0."""
        return self._claimed(
            library().LaplaceDpEvent(self.scale / self.sensitivity),
            epsilon=self.epsilon,
            mechanism="laplace",
            accountant="closed form, noise by " + _source(),
        )


@dataclass(frozen=True, kw_only=True)
class DiscreteLaplace(Laplace):
    """Adds whole-numbered (two-sided geometric) Laplace noise to counts: `Laplace` on the integers.

    Ghosh, Roughgarden & Sundararajan 2009, "Universally Utility-Maximizing Privacy Mechanisms", STOC.
    """

    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sensitivity != int(self.sensitivity):
            raise ConfigError(
                f"Whole numbers move by whole numbers, got a sensitivity of {self.sensitivity!r}.",
                hint="Use Laplace for fractions.",
            )


@dataclass(frozen=True, kw_only=True)
class Gaussian(Mechanism):
    """Adds Gaussian noise, no more than (``epsilon``, ``delta``)-differential privacy takes.

    ``sensitivity``: the largest L2 distance between the values, taken as a whole, of two neighbouring data sets. The
    deviation is the exact one, not that of the textbook's formula, which fails above ε ≈ 8. Balle & Wang 2018,
    "Improving the Gaussian Mechanism for Differential Privacy", ICML.

    >>> round(Gaussian(sensitivity=1, epsilon=1, delta=1e-5).scale, 4)
    3.7306
    """

    kind: ClassVar[Kind] = "gaussian"

    delta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (_positive(self.delta) and self.delta < 1):
            raise ConfigError(f"Expected delta to be above 0 and below 1, got {self.delta!r}.")

    @cached_property
    def scale(self) -> float:
        """The standard deviation."""
        events = library()
        least = self.sensitivity * events.get_sigma_gaussian(self.epsilon, self.delta)
        # The library's search ends within its tolerance, on either side.
        return grown(
            float(least),
            lambda scale: events.get_epsilon_gaussian(scale / self.sensitivity, self.delta) <= self.epsilon,
        )

    def claim(self) -> PrivacyClaim:
        """Return (ε, δ), and what the noise is as Gaussian differential privacy."""
        return self._claimed(
            library().GaussianDpEvent(self.scale / self.sensitivity),
            epsilon=self.epsilon,
            delta=self.delta,
            mechanism="gaussian",
            mu=self.sensitivity / self.scale,
            accountant="the Gaussian's own curve, noise by " + _source(),
        )


@dataclass(frozen=True, kw_only=True)
class DiscreteGaussian(Gaussian):
    """Adds whole-numbered Gaussian noise to counts, accounted as concentrated differential privacy.

    That holds for tables of counts as for single ones, and takes some tenth more noise than `Gaussian`. Canonne, Kamath
    & Steinke 2020, "The Discrete Gaussian for Differential Privacy", NeurIPS.
    """

    whole: ClassVar[bool] = True

    @cached_property
    def scale(self) -> float:
        """The parameter σ of the discrete law, by OpenDP's own conversion, to a millionth."""
        high: float = self.sensitivity * library().get_sigma_gaussian(self.epsilon, self.delta) / 2
        while self._cost(high) > self.epsilon:
            high *= 2
        low = high / 2
        while high / low > 1 + 1e-6:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._cost(middle) > self.epsilon else (low, middle)
        return high

    def claim(self) -> PrivacyClaim:
        """Return (ε, δ)."""
        return self._claimed(
            library().ZCDpEvent((self.sensitivity / self.scale) ** 2 / 2),
            epsilon=self.epsilon,
            delta=self.delta,
            accountant="zero-concentrated differential privacy, accounted and noised by " + _source(),
        )

    def _cost(self, scale: float) -> float:
        made = _opendp().c.make_zCDP_to_approxDP(_measurement(self.kind, scale, whole=True))
        return float(made.map(float(self.sensitivity)).epsilon(self.delta))


def with_noise(values: NDArray[Any], kind: Kind, scale: float) -> NDArray[Any]:
    """Return (n,) values with independent noise of the operating system's randomness; whole ones stay whole."""
    if not len(values):
        return values.copy()
    whole = values.dtype.kind in "iu"
    measured = _measurement(kind, scale, whole=whole)(values.tolist())
    return np.asarray(measured, np.int64 if whole else np.float64)


def _measurement(kind: Kind, scale: float, *, whole: bool) -> Any:
    dp = _opendp()
    number = dp.atom_domain(T="i64") if whole else dp.atom_domain(T="f64", nan=False)
    if kind == "laplace":
        return dp.m.make_laplace(dp.vector_domain(number), dp.l1_distance(T="i64" if whole else "f64"), scale=scale)
    return dp.m.make_gaussian(dp.vector_domain(number), dp.l2_distance(T="f64"), scale=scale)


def _opendp() -> Any:
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise MissingDependency("opendp", extra="dp", purpose="Private releases") from error
    dp.enable_features("contrib")
    return dp


def _source() -> str:
    return f"OpenDP {version('opendp')}"


def grown(scale: float, enough: Callable[[float], bool]) -> float:
    """Return the scale, grown by rounding errors until it is enough."""
    step = 1 + 1e-15
    while not enough(scale):
        scale, step = scale * step, 1 + 2 * (step - 1)
    return scale


def _within(values: NDArray[Any], most: int) -> bool:
    return not values.size or -most <= values.min() <= values.max() <= most


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
