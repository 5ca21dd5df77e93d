"""Plain functions: one that answers (a target), one that trains (a recipe)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vestige.backends.answers import are_probabilities, ask_in_blocks, class_indices, from_positive, outputs_of
from vestige.backends.estimators import said
from vestige.backends.fingerprints import fingerprint
from vestige.errors import AccessError, ConfigError, ModelError, UsageError, VestigeError
from vestige.registry import load
from vestige.target import Access, IntArray, OutputKind, Outputs, Target, require

if TYPE_CHECKING:
    from vestige.records import Records, Task


class CallableTarget:
    """A function x -> answers as a target.

    It may answer probabilities (R, C), logits (R, C), for two classes also one number per record about the second
    class, labels (R,) or, for a regression, values (R,). ``kind`` says which; None: the first batch shows it, and later
    ones must agree. ``classes``: the class names in index order, or how many there are.
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        *,
        task: Task = "classification",
        classes: Sequence[str] | int = (),
        kind: OutputKind | None = None,
    ) -> None:
        self.predict = predict
        self.names = () if isinstance(classes, int) else tuple(map(str, classes))
        self.classes = 0 if task == "regression" else classes if isinstance(classes, int) else len(self.names)
        self.kind: OutputKind | None = "values" if task == "regression" else kind
        if task == "classification" and (self.classes < 2 or kind == "values"):
            raise UsageError(f"Expected at least two classes and class answers, got {self.classes} and kind {kind}.")

    @property
    def access(self) -> Access:
        """Labels when the function answers labels, else scores."""
        return Access.LABEL if self.kind == "labels" else Access.SCORE

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch; raises AccessError when scores are wanted and the function turns out to answer labels."""
        require(self, want)
        try:
            values = ask_in_blocks(self.predict, x)
        except VestigeError:
            raise
        except Exception as error:  # whatever the user's own function raises
            raise ModelError(
                f"The model's function failed on features of shape {getattr(x, 'shape', '?')}: {said(error)}.",
                hint="Check that it takes a batch of records and answers one row for each.",
            ) from error
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if self.kind is None:
            self.kind = self._recognise(values)
            if want > self.access:
                raise AccessError(
                    f"This needs {want.label} access, but the model's function answers labels.",
                    hint="Audit with access = 'label', or give a function that answers probabilities.",
                )
        return self._answer(self.kind, values, want)

    def _recognise(self, values: NDArray[Any]) -> OutputKind:
        if values.ndim == 2 and values.shape[1] == self.classes:
            if values.dtype.kind not in "fiu":
                raise ModelError(f"Expected numbers for each class, got an array of {values.dtype}.")
            return "probabilities" if len(values) and are_probabilities(values) else "logits"
        if values.ndim == 1 and values.dtype.kind == "f" and self.classes == 2 and (values != np.round(values)).any():
            return "probabilities" if values.min() >= 0 and values.max() <= 1 else "logits"
        if values.ndim == 1:
            return "labels"
        raise ModelError(
            f"Expected probabilities or logits of shape (records, {self.classes}) or one label per record, "
            f"got an array of shape {values.shape}."
        )

    def _answer(self, kind: OutputKind, values: NDArray[Any], want: Access) -> Outputs:
        if kind == "labels":
            if values.ndim != 1:
                raise ModelError(f"Expected one label per record, got answers of shape {values.shape}.")
            distinct, places = np.unique(values, return_inverse=True)
            return outputs_of("labels", class_indices(distinct, self.names, self.classes)[places], self.classes)
        if kind != "values" and values.ndim == 1 and self.classes == 2:
            values = from_positive(kind, values)
        outputs = outputs_of(kind, values, self.classes)
        if kind != "values" and want == Access.LABEL:
            return outputs_of("labels", outputs.values.argmax(axis=1), self.classes)
        return outputs


@dataclass(frozen=True, eq=False)
class FunctionRecipe:
    """Train with a function of one's own, ``train(x, y, seed) -> model``.

    x: the training rows, as the records hold them; y: class indices, or numbers of a regression; seed: an int below
    2**31. The model may be anything that `as_target` takes; a classifier's columns and labels are class indices. The
    recipe counts as changed when the function's source, defaults or closure change, or what it uses of its own module;
    name anything else in ``version``.
    """

    train: Callable[[Any, Any, int], Any]
    version: str = field(default="", kw_only=True)

    @classmethod
    def from_config(cls, *, function: str, version: str = "", **options: Any) -> FunctionRecipe:
        """Return the recipe of ``package.module:function``; ``options`` are passed to it as keywords."""
        try:
            train = load(function)
        except UsageError:
            raise
        except Exception as error:  # the user's own module may raise anything
            raise ConfigError(
                f"Could not import the training function '{function}': {said(error)}.",
                hint="Name it as package.module:function, with the folder that holds it on PYTHONPATH.",
            ) from error
        return cls(partial(train, **options) if options else train, version=version)

    def __post_init__(self) -> None:
        given: object = self.train
        if isinstance(given, type) or not callable(given):
            what = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
            raise UsageError(f"Expected a function train(x, y, seed) -> model, got {what}.")

    def fit(self, records: Records, rows: IntArray, seed: int) -> Target:
        """Train one model on ``rows``; raises ModelError with the function's own complaint when it fails."""
        from vestige.backends.coerce import as_target

        try:
            model = self.train(records.rows_of(rows), records.y[rows], seed % 2**31)
        except VestigeError:
            raise
        except Exception as error:  # whatever the user's own function raises
            raise ModelError(
                f"The training function {self._name} failed on {len(rows)} records: {said(error)}.",
                hint="Call it on a few records yourself to see where.",
            ) from error
        if model is None:
            raise ModelError(f"Expected the training function {self._name} to return a model, got None.")
        return as_target(model, task=records.task, classes=len(records.classes))

    def fingerprint(self) -> str:
        """Return a text that changes with the function and what it uses."""
        return f"function/{self._name}/{fingerprint([1, self.train, self.version])}"

    @property
    def _name(self) -> str:
        inner = getattr(self.train, "func", self.train)
        return f"{getattr(inner, '__module__', '')}:{getattr(inner, '__qualname__', type(inner).__name__)}"
