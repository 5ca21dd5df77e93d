"""Private linear models as defences of a recipe: the estimator is exchanged for its private sibling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from vestige.backends.sklearn import SklearnRecipe
from vestige.defend.base import Named, Trait
from vestige.errors import ConfigError, MissingDependency
from vestige.privacy_claim import Guarantee, PrivacyClaim
from vestige.target import IntArray, Recipe

Method = Literal["output", "objective", "amp", "frank_wolfe"]

SIBLINGS = {
    "LogisticRegression": "logistic",
    "LogisticRegressionCV": "logistic",
    "LinearSVC": "huber",
    "DPLogisticRegression": "logistic",
    "DPHuberSVM": "huber",
}


@dataclass(frozen=True, kw_only=True)
class _Convex:
    """What the four share: the budget, the bound on records, the regularisation."""

    guarantee: ClassVar[Guarantee] = "G1"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REPLACES_TRAINING})
    adaptive: ClassVar[tuple[Named, ...]] = ()
    reserve: ClassVar[bool] = False
    method: ClassVar[Method]

    epsilon: float = 1.0
    delta: float = 0.0
    norm: float = 1.0
    fit_intercept: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"Expected epsilon to be a number above 0, got {self.epsilon!r}.")
        least = 0 if self.method in ("output", "objective") else None
        if not 0 <= self.delta < 1 or (least is None and self.delta == 0):
            raise ConfigError(
                f"Expected delta to be {'at least' if least == 0 else 'above'} 0 and below 1, got {self.delta!r}."
            )
        if not (math.isfinite(self.norm) and self.norm > 0):
            raise ConfigError(f"Expected norm to be a number above 0, got {self.norm!r}.")

    def _options(self) -> dict[str, Any]:
        return {}

    def wrap(self, recipe: Recipe, reserve: IntArray) -> Recipe:  # noqa: ARG002
        """Return the recipe of the private sibling of a logistic regression or a linear support vector machine.

        Raises ConfigError for any other recipe, and for one that fits its preprocessing to the data.
        """
        estimator = getattr(recipe, "estimator", None)
        kind = SIBLINGS.get(type(estimator).__name__)
        if not isinstance(recipe, SklearnRecipe) or kind is None:
            raise ConfigError(
                "This defence works for recipes of sklearn's LogisticRegression and LinearSVC alone.",
                hint="Say kind = 'sklearn' and model = 'sklearn.linear_model:LogisticRegression' in [recipe].",
            )
        if recipe.preprocess == "standard":
            raise ConfigError(
                "preprocess = 'standard' learns means and scales from the private records.",
                hint="Set preprocess = 'none' and scale by public constants.",
            )
        try:
            from vestige.defend.convex.estimators import DPHuberSVM, DPLogisticRegression
        except ImportError as error:
            raise MissingDependency("scikit-learn", extra="sklearn", purpose="Private linear models") from error
        private = DPLogisticRegression if kind == "logistic" else DPHuberSVM
        made = private(
            epsilon=self.epsilon,
            delta=self.delta,
            method=self.method,
            norm=self.norm,
            fit_intercept=self.fit_intercept,
            random_state=0,
            **self._options(),
        )
        return replace(recipe, estimator=made)

    def claim(self, recipe: Recipe, members: int) -> PrivacyClaim | None:  # noqa: ARG002
        """Return the (ε, δ) of the weights."""
        from vestige.defend.convex.estimators import claim_of

        mode = str(self._options().get("amp_mode", "rdp"))
        return claim_of(self.method, self.epsilon, self.delta, amp_mode=mode, norm=self.norm, reproducible=True)


def _strength(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"Expected regularization to be a number above 0, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class OutputPerturbation(_Convex):
    """Trains a linear model to the minimum and adds noise to its weights: (``epsilon``, ``delta``)-differentially
    private for exchanging one record, purely so at ``delta`` = 0.

    ``norm``: records are scaled down to this length. ``regularization``: Λ of mean loss + Λ/2 ‖θ‖²; the noise shrinks
    as it grows. Chaudhuri, Monteleoni & Sarwate 2011, "Differentially Private Empirical Risk Minimization", JMLR 12,
    algorithm 1.
    """

    method: ClassVar[Method] = "output"
    paper: ClassVar[str] = "Chaudhuri et al. 2011"

    regularization: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        _strength(self.regularization)

    def _options(self) -> dict[str, Any]:
        return {"regularization": self.regularization}


@dataclass(frozen=True, kw_only=True)
class ObjectivePerturbation(_Convex):
    """Trains a linear model to the minimum of an objective with a random linear term: (``epsilon``, ``delta``)-
    differentially private.

    With ``delta`` = 0 the algorithm of Chaudhuri, Monteleoni & Sarwate 2011 (JMLR 12, algorithm 2), for exchanging one
    record; above 0 Gaussian noise and the Rényi bound of Redberg, Koskela & Wang 2023 (NeurIPS, theorem 3), for adding
    or removing one. ``norm`` and ``regularization`` as for dp_erm_output.
    """

    method: ClassVar[Method] = "objective"
    paper: ClassVar[str] = "Chaudhuri et al. 2011; Redberg et al. 2023"

    regularization: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _strength(self.regularization)

    def _options(self) -> dict[str, Any]:
        return {"regularization": self.regularization}


@dataclass(frozen=True, kw_only=True)
class ApproximateMinima(_Convex):
    """Objective perturbation whose minimiser need only nearly be reached, a second noise covering the rest:
    (``epsilon``, ``delta``)-differentially private.

    ``mode``: rdp, a third of the noise, for adding or removing one record; paper, the published constants, for
    exchanging one. Iyengar, Near, Song, Thakkar, Thakurta & Wang 2019, "Towards Practical Differentially Private Convex
    Optimization", IEEE S&P, algorithm 1.
    """

    method: ClassVar[Method] = "amp"
    paper: ClassVar[str] = "Iyengar et al. 2019"

    delta: float = 1e-5
    regularization: float = 1e-3
    mode: Literal["rdp", "paper"] = "rdp"

    def __post_init__(self) -> None:
        super().__post_init__()
        _strength(self.regularization)
        if self.mode not in ("rdp", "paper"):
            raise ConfigError(f"Expected mode to be rdp or paper, got {self.mode!r}.")

    def _options(self) -> dict[str, Any]:
        return {"regularization": self.regularization, "amp_mode": self.mode}


@dataclass(frozen=True, kw_only=True)
class FrankWolfe(_Convex):
    """Trains a sparse linear model by ``steps`` noisy choices of a corner of the L1 ball: (``epsilon``, ``delta``)-
    differentially private for adding or removing one record.

    ``radius``: of the ball; ``norm``: numbers are clipped to this size. Good where there are many more features than
    records. Talwar, Thakurta & Zhang 2015, "Nearly-Optimal Private LASSO", NeurIPS, algorithm 2, with exponential
    mechanisms composed by zero-concentrated differential privacy.
    """

    method: ClassVar[Method] = "frank_wolfe"
    paper: ClassVar[str] = "Talwar et al. 2015"

    delta: float = 1e-5
    radius: float = 10.0
    steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ConfigError(f"Expected radius to be a number above 0, got {self.radius!r}.")
        if isinstance(self.steps, bool) or self.steps < 1:
            raise ConfigError(f"Expected steps to be a whole number of at least 1, got {self.steps!r}.")

    def _options(self) -> dict[str, Any]:
        return {"radius": self.radius, "steps": self.steps}
