"""Differentially private linear classifiers as scikit-learn estimators."""

from __future__ import annotations

import math
import secrets
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vestige.defend.convex import events
from vestige.defend.convex.frank_wolfe import frank_wolfe, step_epsilon
from vestige.defend.convex.losses import Double, HuberHinge, Logistic, MarginLoss
from vestige.defend.convex.perturbation import (
    Problem,
    approximate_minima,
    output_perturbation,
    pure_objective,
    rdp_objective,
)
from vestige.defend.private.terms import public_count
from vestige.errors import ConfigError
from vestige.privacy_claim import PrivacyClaim

Method = Literal["output", "objective", "amp", "frank_wolfe"]
REPRODUCIBLE = "the noise is reproducible from random_state: an experiment, not a release"
PUBLISHED = "no ledger: the published constants give this (ε, δ), and no event that a budget could pay for"
UNKNOWN = "no ledger: it hangs on how many classes share the budget; `claim_` of the trained estimator has one"
PSEUDORANDOM = "the noise comes from a generator of 128 random bits, in floating point"


class _PrivateLinear(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What both classifiers share. Parameters are documented at the classes."""

    def _loss(self) -> MarginLoss:
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Any:
        """Train on (n, d) features and (n,) labels; ``claim_`` then says what holds of ``coef_`` and ``intercept_``.

        Raises ConfigError for a budget that the method cannot keep, ModelError when the minimiser is not reached.
        """
        check_budget(self.method, self.epsilon, self.delta)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"Expected at least two classes, got {count} class: {self.classes_[0]!r}.")
        features, bound = self._bounded(X)
        problems = count if count > 2 else 1
        seed = secrets.randbits(128) if self.random_state is None else _seed_of(self.random_state)
        draws = np.random.Generator(np.random.PCG64(seed))
        weights: list[Double] = []
        ledger: events.Ledger = ()
        for k in range(problems):
            signs = np.where(codes == (k if problems > 1 else 1), 1.0, -1.0)
            problem = self._problem(features, signs, bound, problems)
            weights.append(self._train(problem, draws))
            ledger = events.repeated(self._spent(problem), problems)
        joined = np.stack(weights)
        width = X.shape[1]
        self.coef_ = joined[:, :width]
        self.intercept_ = joined[:, width] if self.fit_intercept else np.zeros(problems)
        self.claim_ = claim_of(
            self.method,
            self.epsilon,
            self.delta,
            amp_mode=self.amp_mode,
            norm=self.norm,
            reproducible=self.random_state is not None,
            ledger=ledger,
        )
        return self

    def _bounded(self, x: Double) -> tuple[Double, float]:
        """Return the features inside their public bound, with the constant that carries the intercept."""
        if self.method == "frank_wolfe":
            clipped, bound = np.clip(x, -self.norm, self.norm), self.norm
            reach = max(bound, 1.0)
        else:
            lengths = np.linalg.norm(x, axis=1, keepdims=True)
            clipped = x * np.minimum(1.0, self.norm / np.maximum(lengths, 1e-300))
            bound, reach = self.norm, math.hypot(self.norm, 1.0)
        if not self.fit_intercept:
            return clipped, bound
        return np.column_stack([clipped, np.ones(len(x))]), reach

    def _problem(self, x: Double, y: Double, bound: float, share: int) -> Problem:
        """Return one of ``share`` problems that have equal parts of the budget."""
        # What depends on the number of records must be the same with one more or less of them.
        count = len(x) if exchanges(self.method, self.delta, self.amp_mode) else public_count(len(x))
        return Problem(
            x=x,
            y=y,
            loss=self._loss(),
            norm=bound,
            regularization=self.regularization,
            epsilon=self.epsilon / share,
            delta=self.delta / share,
            count=count,
        )

    def _train(self, problem: Problem, draws: np.random.Generator) -> Double:
        if self.method == "frank_wolfe":
            return frank_wolfe(
                problem.x,
                problem.y,
                problem.loss,
                radius=self.radius,
                largest=problem.norm,
                steps=self.steps,
                epsilon=step_epsilon(problem.epsilon, problem.delta, self.steps),
                rng=draws,
                count=problem.count,
            )
        if self.method == "output":
            return output_perturbation(problem, draws)
        if self.method == "amp":
            return approximate_minima(problem, draws, mode=self.amp_mode)
        return rdp_objective(problem, draws) if problem.delta else pure_objective(problem, draws)

    def _spent(self, problem: Problem) -> events.Ledger:
        if self.method == "frank_wolfe":
            return events.choices(problem.epsilon, problem.delta, self.steps)
        if self.method == "output":
            return events.output(problem)
        return events.approximate(problem, self.amp_mode) if self.method == "amp" else events.objective(problem)

    def decision_function(self, X: Any) -> Double:
        """Return the margins: (n,) of the second of two classes, (n, K) for more."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        clipped, _ = self._bounded(x)
        scores = clipped[:, : x.shape[1]] @ self.coef_.T + self.intercept_
        return np.asarray(scores[:, 0] if len(self.classes_) == 2 else scores)

    def predict(self, X: Any) -> Any:
        """Return the predicted labels."""
        scores = self.decision_function(X)
        places = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        return self.classes_[places]


class DPLogisticRegression(_PrivateLinear):
    """Logistic regression whose weights are (``epsilon``, ``delta``)-differentially private.

    ``method``: objective, output, amp or frank_wolfe (see `vestige.defend.convex`); with ``delta`` = 0, objective and
    output are those of Chaudhuri et al. 2011 for exchanging one record; with ``delta`` above 0, objective is that of
    Redberg et al. 2023 and amp that of Iyengar et al. 2019 with its Rényi bound, both for adding or removing one.
    ``norm``: records are scaled down to this length (for frank_wolfe, each number to this size): a bound that must be
    chosen without looking at the data. ``regularization``: Λ of mean loss + Λ/2 ‖θ‖². ``radius``, ``steps``: the L1
    ball and the number of choices of frank_wolfe. ``amp_mode``: rdp or paper. More than two classes share the budget,
    one against the rest. The number of records and the set of classes count as public.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1.0,
        delta: float = 0.0,
        method: Method = "objective",
        norm: float = 1.0,
        regularization: float = 1e-3,
        fit_intercept: bool = True,
        radius: float = 10.0,
        steps: int = 20,
        amp_mode: Literal["rdp", "paper"] = "rdp",
        random_state: int | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.method = method
        self.norm = norm
        self.regularization = regularization
        self.fit_intercept = fit_intercept
        self.radius = radius
        self.steps = steps
        self.amp_mode = amp_mode
        self.random_state = random_state

    def _loss(self) -> MarginLoss:
        return Logistic()

    def predict_proba(self, X: Any) -> Double:
        """Return (n, K) probabilities; those of several classes are each one's own, scaled to sum to one."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            second = expit(scores)
            return np.column_stack([1 - second, second])
        each = np.maximum(expit(scores), 1e-300)
        return np.asarray(each / each.sum(1, keepdims=True))


class DPHuberSVM(_PrivateLinear):
    """A linear support vector machine with a Huber hinge of half-width ``width``, its weights differentially private.

    Everything else is as for `DPLogisticRegression`.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1.0,
        delta: float = 0.0,
        method: Method = "objective",
        norm: float = 1.0,
        regularization: float = 1e-3,
        fit_intercept: bool = True,
        radius: float = 10.0,
        steps: int = 20,
        amp_mode: Literal["rdp", "paper"] = "rdp",
        width: float = 0.5,
        random_state: int | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.method = method
        self.norm = norm
        self.regularization = regularization
        self.fit_intercept = fit_intercept
        self.radius = radius
        self.steps = steps
        self.amp_mode = amp_mode
        self.width = width
        self.random_state = random_state

    def _loss(self) -> MarginLoss:
        return HuberHinge(self.width)


def check_budget(method: str, epsilon: float, delta: float) -> None:
    """Raise ConfigError for a method that is none, or a budget that it cannot keep."""
    if method not in get_args(Method):
        raise ConfigError(f"Expected method to be one of {', '.join(get_args(Method))}, got {method!r}.")
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"Expected epsilon to be a number above 0, got {epsilon!r}.")
    if not 0 <= delta < 1:
        raise ConfigError(f"Expected delta to be at least 0 and below 1, got {delta!r}.")
    if delta == 0 and method in ("amp", "frank_wolfe"):
        raise ConfigError(f"The method '{method}' needs a delta above 0.", hint="Set delta = 1e-5.")


def exchanges(method: str, delta: float, amp_mode: str) -> bool:
    """Whether what is proven of a method is about exchanging a record, and not about adding or removing one."""
    return method == "output" or (method == "objective" and delta == 0) or (method == "amp" and amp_mode == "paper")


def claim_of(
    method: str,
    epsilon: float,
    delta: float,
    *,
    amp_mode: str,
    norm: float,
    reproducible: bool,
    ledger: events.Ledger = (),
) -> PrivacyClaim:
    """Return what is proven of the weights that ``method`` trains, with the ``ledger`` of what was released.

    Before a training it is not known how many classes share the budget, and only a pure ε has a ledger all the same.
    """
    if delta == 0 and not ledger:
        ledger = events.pure(epsilon)
    unpaid = PUBLISHED if method == "amp" and amp_mode == "paper" else UNKNOWN
    exchanged = exchanges(method, delta, amp_mode)
    count = "the number of records" if exchanged else "the number of records, to two digits,"
    return PrivacyClaim(
        epsilon=epsilon,
        delta=delta,
        guarantee="G1",
        adjacency="replace_one" if exchanged else "add_remove",
        mechanism="gaussian" if method == "output" and delta else "other",
        accountant=f"closed form ({method})" if delta == 0 or exchanged else f"Rényi curve ({method}), dp-accounting",
        ledger=ledger,
        assumptions=(
            f"records are bounded by {norm:g}, chosen without the data",
            f"{count} and the set of classes are public",
            REPRODUCIBLE if reproducible else PSEUDORANDOM,
            *(() if ledger else (unpaid,)),
        ),
        excludes=("hyper-parameter selection", "preprocessing that was fitted to the data"),
    )


def _seed_of(state: Any) -> int:
    return int(state.integers(2**63)) if isinstance(state, np.random.Generator) else int(state)
