"""What a stack is made of: two models, and a logistic regression over their probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.sklearn import SklearnRecipe
from vestige.backends.torch import TorchTarget
from vestige.defend.base import probabilities
from vestige.defend.blocks import softmax_rows
from vestige.defend.training.forests import Forest
from vestige.errors import MissingDependency, ModelError
from vestige.records import Records
from vestige.seeds import seed_for
from vestige.target import Access, IntArray, Outputs, Recipe, Target, require

Floats = NDArray[np.float64]
STEPS = 1000


@dataclass(frozen=True, eq=False)
class Meta:
    """A logistic regression: ``weights`` (k, F), ``biases`` (k,), and the class ``columns`` (k,) it knows, of all."""

    weights: Floats
    biases: Floats
    columns: IntArray
    classes: int

    @classmethod
    def fitted(cls, answers: Floats, y: IntArray, classes: int, c: float) -> Meta:
        """Fit to (R, F) answers; of one class alone nothing can be learnt."""
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError as error:
            raise MissingDependency("scikit-learn", extra="sklearn", purpose="The defence 'stacking'") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of steps that ran out, with weights good enough to answer by
            model = LogisticRegression(C=c, max_iter=STEPS).fit(answers, y)
        weights, biases = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
        if len(weights) == 1:
            # Two classes share one vector, which is the second's against the first's.
            weights, biases = np.concatenate([0 * weights, weights]), np.concatenate([0 * biases, biases])
        return cls(weights, biases, np.asarray(model.classes_, np.int64), classes)

    def probabilities(self, answers: Floats) -> Floats:
        """Return (R, C) probabilities, 0 for classes that were not there to be learnt."""
        found = np.zeros((len(answers), self.classes))
        found[:, self.columns] = softmax_rows(answers @ self.weights.T + self.biases)
        return found


class Stacked:
    """A stack that answers; its parts are not to be looked at."""

    access = Access.SCORE

    def __init__(self, first: Target, second: Target, meta: Meta) -> None:
        self.first, self.second, self.meta = first, second, meta

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer with the regression's probabilities, or the labels they name."""
        require(self, want)
        parts = [probabilities(model.query(x, Access.SCORE)) for model in (self.first, self.second)]
        found = self.meta.probabilities(np.concatenate(parts, axis=1))
        if want <= Access.LABEL:
            return Outputs("labels", found.argmax(1).astype(np.int64))
        return Outputs("probabilities", found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the models have to say of their training."""
        return tuple(note for model in (self.first, self.second) for note in getattr(model, "notes", ()))


class StoredStack(Stacked):
    """A stack on a torch network, as arrays."""

    first: TorchTarget
    second: ForestTarget

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the network's own state, the forest's and the regression's."""
        meta = {"weights": self.meta.weights, "biases": self.meta.biases, "columns": self.meta.columns}
        groups = {"first": self.first.state(), "second": self.second.forest.state(), "meta": meta}
        return {f"{group}.{name}": array for group, part in groups.items() for name, array in part.items()}

    @classmethod
    def restored(
        cls, state: Mapping[str, NDArray[Any]], first: Callable[[Mapping[str, NDArray[Any]]], TorchTarget]
    ) -> StoredStack:
        """Return the stack whose `state` this is; raises ModelError for another's."""
        groups: dict[str, dict[str, NDArray[Any]]] = {"first": {}, "second": {}, "meta": {}}
        for name, array in state.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = array
        network = first(groups["first"])
        try:
            forest = ForestTarget(Forest.restored(groups["second"]), network)
            meta = Meta(**groups["meta"], classes=forest.forest.shares.shape[1])
        except TypeError as error:
            raise ModelError("The stored model is not a stack.", hint="Was the recipe changed since?") from error
        return cls(network, forest, meta)


class ForestTarget:
    """A forest over records as a network reads them."""

    access = Access.SCORE

    def __init__(self, forest: Forest, network: TorchTarget) -> None:
        self.forest, self.network = forest, network

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer with the trees' mean shares."""
        require(self, want)
        return Outputs("probabilities", self.forest.probabilities(_flat(self.network, x)))


def grow(network: TorchTarget, records: Records, rows: IntArray, seed: int, trees: int) -> ForestTarget:
    """Return a forest grown on ``rows`` as the network would read them."""
    estimator = _forest(trees, seed_for(seed, "trees") % 2**31)
    estimator.fit(_flat(network, records.rows_of(rows)), records.y[rows])
    return ForestTarget(Forest.of(estimator, len(records.classes)), network)


def forest_recipe(inner: Recipe, trees: int) -> SklearnRecipe:
    """Return how the forest beside an estimator is trained: on what the estimator is shown."""
    if isinstance(inner, SklearnRecipe):
        return SklearnRecipe(_forest(trees, 0), preprocess=inner.preprocess, flatten=inner.flatten)
    return SklearnRecipe(_forest(trees, 0))


def _forest(trees: int, seed: int) -> Any:
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise MissingDependency("scikit-learn", extra="sklearn", purpose="The defence 'stacking'") from error
    return RandomForestClassifier(n_estimators=trees, random_state=seed)


def _flat(network: TorchTarget, x: Any) -> NDArray[np.float32]:
    assert network.features is not None
    found = np.asarray(network.features(x), np.float32)
    return found.reshape(len(found), -1)
