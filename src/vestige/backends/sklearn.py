"""Scikit-learn estimators and pipelines, and whatever speaks their interface (XGBoost and LightGBM do)."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.answers import ask_in_blocks, class_indices, from_positive, outputs_of, scatter
from vestige.backends.estimators import PREPROCESS, Preprocess, build, first_line, fresh, named, parts_of, preprocessed
from vestige.backends.fingerprints import class_path, fingerprint
from vestige.errors import ConfigError, MissingDependency, ModelError, UsageError, VestigeError
from vestige.executors.threads import threads_here
from vestige.target import Access, IntArray, OutputKind, Outputs, require

if TYPE_CHECKING:
    from vestige.records import Records, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class SklearnTarget:
    """A fitted estimator as a target; build it with `SklearnTarget.wrap`, which checks it.

    ``classes``: how many the records have, 0 for a regression; ``names``: their names; ``known``: (k,) the estimator's
    own labels in the order of its columns and ``columns``: (k,) the class index of each, or None when it names none;
    ``flatten``: whether images are shown to it as rows; ``notes``: what training warned of.
    """

    estimator: Any
    classes: int
    known: NDArray[Any] | None = None
    columns: IntArray | None = None
    names: tuple[str, ...] = ()
    flatten: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def wrap(cls, estimator: Any, *, task: Task, classes: Sequence[str] | int = ()) -> SklearnTarget:
        """Return the target; ``classes`` are the records' class names in index order, or how many there are.

        The estimator may have been trained on indices or on the names themselves, and may lack some of the classes.
        Raises ModelError when it is not fitted, answers another task, or knows classes that the records do not.
        """
        _require_fitted(estimator)
        _require_task(estimator, task)
        names = () if isinstance(classes, int) else tuple(map(str, classes))
        count = 0 if task == "regression" else classes if isinstance(classes, int) else len(names)
        if task == "classification" and count < 2:
            raise UsageError(f"Expected at least two classes, got {count}.")
        known = getattr(estimator, "classes_", None) if count else None
        columns = None
        if known is not None:
            if isinstance(known, list):
                raise ModelError(
                    f"Expected a model with one output, got {named(estimator)} with {len(known)}.",
                    hint="Audit one output at a time: wrap it in a function that returns that output's probabilities.",
                )
            known = np.asarray(known)
            columns = class_indices(known, names, count)
        return cls(estimator=estimator, classes=count, known=known, columns=columns, names=names)

    @property
    def access(self) -> Access:
        """Weights for logistic models, scores for whatever has class scores or is a regression, else labels."""
        if self.linear is not None:
            return Access.WHITE_BOX
        return Access.SCORE if not self.classes or self._scores else Access.LABEL

    @property
    def linear(self) -> Callable[[Any], tuple[NDArray[Any], NDArray[Any], bool]] | None:
        """For a logistic model, what maps records to what its weights read (R, H), its logits (R, C), and whether two
        classes share one vector of weights; None for any other model, or one that lacks some of the classes.
        """
        piped = hasattr(self.estimator, "named_steps")
        last = self.estimator[-1] if piped else self.estimator
        weights = getattr(last, "coef_", None)
        if not self.classes or weights is None or not hasattr(last, "predict_log_proba"):
            return None
        alone = len(weights) == 1
        whole = self.columns is None or np.array_equal(self.columns, np.arange(self.classes))
        if not whole or (len(weights) != self.classes and not (alone and self.classes == 2)):
            return None

        def read(x: Any) -> tuple[NDArray[Any], NDArray[Any], bool]:
            x = self._shaped(x)
            hidden = np.asarray(self.estimator[:-1].transform(x) if piped and len(self.estimator) > 1 else x)
            hidden = hidden.astype(np.float64)
            scores = hidden @ np.asarray(weights, np.float64).T + last.intercept_
            return hidden, np.column_stack([np.zeros(len(scores)), scores]) if alone else scores, alone

        return read

    @property
    def _scores(self) -> str | None:
        """The method that shows class scores, or None. One-against-one margins are not scores of classes."""
        if hasattr(self.estimator, "predict_proba"):
            return "predict_proba"
        last = self.estimator[-1] if hasattr(self.estimator, "named_steps") else self.estimator
        pairwise = getattr(last, "decision_function_shape", None) == "ovo" and len(getattr(last, "classes_", ())) > 2
        return "decision_function" if hasattr(self.estimator, "decision_function") and not pairwise else None

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch: probabilities, else logits, for score access; labels for less; values of a regression."""
        require(self, want)
        x = self._shaped(x)
        if not self.classes:
            return outputs_of("values", self._ask("predict", x), 0)
        if want == Access.LABEL or self._scores is None:
            return outputs_of("labels", self._indices(self._ask("predict", x)), self.classes)
        kind: OutputKind = "probabilities" if self._scores == "predict_proba" else "logits"
        values = self._ask(self._scores, x)
        if values.ndim == 1 and kind == "logits":
            values = from_positive(kind, values)
        if self.columns is None:
            return outputs_of(kind, values, self.classes)
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise ModelError(
                f"Expected {len(self.columns)} columns, one for each class that {named(self.estimator)} knows, "
                f"got answers of shape {values.shape}."
            )
        outputs_of(kind, values, len(self.columns))
        return outputs_of(kind, scatter(kind, values, self.columns, self.classes), self.classes)

    def _shaped(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray) or x.ndim < 3:
            return x
        width = int(np.prod(x.shape[1:]))
        return x.reshape(len(x), width) if self.flatten or getattr(self.estimator, "n_features_in_", -1) == width else x

    def _ask(self, method: str, x: Any) -> NDArray[Any]:
        try:
            with warnings.catch_warnings():
                # Names are the columns' order, which the records keep; models fitted on arrays may still invent some.
                warnings.filterwarnings("ignore", "X (has|does not have valid) feature names", UserWarning)
                return ask_in_blocks(getattr(self.estimator, method), x)
        except VestigeError:
            raise
        except Exception as error:  # whatever the estimator raises
            raise ModelError(
                f"{named(self.estimator)}.{method} failed on {getattr(x, 'shape', '?')} features: {first_line(error)}.",
                hint="Check that the records have the features that the model was trained on, in the same form.",
            ) from error

    def _indices(self, labels: NDArray[Any]) -> IntArray:
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ModelError(f"Expected one label per record, got answers of shape {labels.shape}.")
        distinct, places = np.unique(labels, return_inverse=True)
        if self.columns is None or self.known is None:
            return class_indices(distinct, self.names, self.classes)[places]
        known = dict(zip(self.known.tolist(), self.columns.tolist(), strict=True))
        try:
            return np.array([known[label] for label in distinct.tolist()], np.int64)[places]
        except KeyError as error:
            raise ModelError(f"{named(self.estimator)} answered {error}, which is not one of its classes.") from error


@dataclass(frozen=True, eq=False)
class SklearnRecipe:
    """Train clones of an estimator.

    Every random state inside it is set from the seed; its own random states, thread counts and verbosity do not matter.
    ``preprocess``: ``none``; ``auto`` one-hot encodes a DataFrame's columns that are no numbers; ``standard`` also
    scales those that are. ``flatten``: whether images are shown to it as rows. ``labels``: the classes' own labels, for
    an estimator whose parameters name them (class weights); without, it is trained on class indices.
    """

    estimator: Any
    preprocess: Preprocess = field(default="none", kw_only=True)
    flatten: bool = field(default=True, kw_only=True)
    labels: tuple[Any, ...] = field(default=(), kw_only=True)

    @classmethod
    def from_config(
        cls,
        *,
        model: str = "",
        params: Mapping[str, Any] | None = None,
        preprocess: Preprocess = "auto",
        flatten: bool = True,
        **unknown: Any,
    ) -> SklearnRecipe:
        """Return the recipe of a config: ``model`` is ``package.module:Class``, ``params`` its constructor's."""
        if unknown:
            raise ConfigError(
                f"[recipe] has no key '{next(iter(unknown))}' for an estimator; "
                "it has model, params, preprocess and flatten.",
                hint="The estimator's own parameters go under [recipe.params].",
            )
        if not model:
            raise ConfigError(
                "[recipe] needs 'model', the class of an estimator.", hint="Say model = 'sklearn.svm:SVC', for one."
            )
        if not isinstance(model, str):
            raise ConfigError(
                f"Expected [recipe] model to name an estimator's class, got {model!r}.",
                hint="Say model = 'sklearn.svm:SVC', for one.",
            )
        if not isinstance(params or {}, Mapping):
            raise ConfigError(
                f"Expected [recipe] params to be a table, got {params!r}.",
                hint="Write it like params = { max_depth = 5 }.",
            )
        if preprocess not in PREPROCESS:
            raise ConfigError(f"Expected preprocess to be {', '.join(PREPROCESS)}, got '{preprocess}'.")
        return cls(build(model, params or {}), preprocess=preprocess, flatten=flatten)

    def fit(self, records: Records, rows: IntArray, seed: int) -> SklearnTarget:
        """Train one clone on ``rows``; raises ModelError with the model's own complaint when it cannot."""
        model = self._fresh(seed, threads_here())
        x = records.rows_of(rows)
        if self.flatten and isinstance(x, np.ndarray) and x.ndim > 2:
            x = x.reshape(len(x), -1)
        y, known, columns = self._labelled(records, rows)
        model = preprocessed(model, self.preprocess, x)
        _require_task(model, records.task)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(x, y)
            except Exception as error:  # whatever the estimator raises
                raise _refused(model, records, rows, error) from error
        if known is None and records.classes:
            known = getattr(model, "classes_", None)
            columns = None if known is None else class_indices(np.asarray(known), (), len(records.classes))
        return SklearnTarget(
            estimator=model,
            classes=len(records.classes),
            known=known,
            columns=columns,
            flatten=self.flatten,
            notes=_notes(model, caught),
        )

    def fingerprint(self) -> str:
        """Return a text that changes with the estimator's class, library version, parameters or preprocessing."""
        parts = fingerprint([1, self._fresh(0, 1), self.preprocess, self.flatten, self.labels])
        return f"sklearn/{class_path(type(self.estimator))}/{parts}"

    def _fresh(self, seed: int, threads: int | None) -> Any:
        try:
            return fresh(self.estimator, seed, threads=threads)
        except ModuleNotFoundError as error:
            raise MissingDependency("scikit-learn", extra="sklearn", purpose="Training an estimator") from error

    def _labelled(self, records: Records, rows: IntArray) -> tuple[NDArray[Any], NDArray[Any] | None, IntArray | None]:
        """Return what to train on, and the model's labels and their class indices where these are not class indices."""
        y = records.y[rows]
        count = len(records.classes)
        if not count:
            return y, None, None
        if self.labels:
            own = np.asarray(self.labels)
            places = class_indices(own, records.classes, count)
            if sorted(places.tolist()) == list(range(count)) and own.tolist() != list(range(count)):
                own = own[np.argsort(places)]
                seen = np.unique(y)
                order = np.argsort(own[seen], kind="stable")
                return own[y], own[seen][order], seen[order]
        if any(True for _ in parts_of(self.estimator, "xgboost")):
            # XGBoost accepts no gaps in its labels, and a training subset may lack a rare class.
            seen, dense = np.unique(y, return_inverse=True)
            return dense, np.arange(len(seen)), seen
        return y, None, None


def _refused(model: Any, records: Records, rows: IntArray, error: Exception) -> VestigeError:
    if isinstance(error, VestigeError):
        return error
    present = np.unique(records.y[rows]) if records.classes else np.empty(0)
    if len(present) == 1:
        only = records.classes[int(present[0])]
        return ModelError(
            f"{named(model)} cannot be trained: all {len(rows)} training records are of class '{only}'.",
            hint="Give each model more records, or records that are less unbalanced.",
        )
    return ModelError(
        f"{named(model)} could not be trained on {len(rows)} records: {first_line(error)}.",
        hint="Try its fit(x, y) on the same records; text columns need preprocess='auto' or an encoding pipeline.",
    )


def _notes(model: Any, caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    counts = Counter(f"{one.category.__name__}: {first_line(Warning(str(one.message)))}" for one in caught)
    return tuple(f"{named(model)} warned ({count} ×) of {text}" for text, count in counts.items())


def _require_fitted(estimator: Any) -> None:
    try:
        from sklearn.base import BaseEstimator
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted
    except ModuleNotFoundError:
        return
    if not isinstance(estimator, BaseEstimator):
        return
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise ModelError(
            f"Expected a trained model, got a {named(estimator)} that has not been fitted.",
            hint="Call its fit first, or leave the target out and let the recipe train one.",
        ) from error


def _require_task(estimator: Any, task: Task) -> None:
    try:
        from sklearn.base import BaseEstimator, is_classifier, is_regressor
    except ModuleNotFoundError:
        return
    if not isinstance(estimator, BaseEstimator):
        return
    wrong = is_regressor(estimator) if task == "classification" else is_classifier(estimator)
    if wrong:
        kinds = ("classifier", "classes") if task == "classification" else ("regressor", "numbers")
        expected = f"a {kinds[0]}, since the labels are {kinds[1]}"
        raise UsageError(f"Expected {expected}, got {named(estimator)}.")
