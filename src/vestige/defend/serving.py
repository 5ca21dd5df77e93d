"""Answer defences around a model that is already trained: objects that answer like an estimator."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vestige.backends.coerce import as_target
from vestige.defend.answers.memguard import NoiseAtClassifier
from vestige.defend.answers.private_prediction import PrivateAnswers, PrivatePrediction
from vestige.defend.base import AnswerDefence, probabilities
from vestige.defend.layers import Layers
from vestige.defend.recipes import served
from vestige.defend.tickets import KEY_BYTES
from vestige.errors import AccessError, ConfigError, UsageError
from vestige.features import clean_features
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records
from vestige.target import Access, Outputs, Target

Given = AnswerDefence | str | Mapping[str, Any]


class Served:
    """A trained model behind answer defences; `serve` builds it.

    It has ``predict_proba``, ``predict``, ``score`` and ``classes_`` as estimators have, and goes wherever scikit-learn
    takes a classifier that is trained already (scorers, the last step of a pipeline, calibration): ``fit`` leaves it as
    it is, and its clone is itself. It can be audited like any model. ``key``: the
    secret that random answers hang on: whoever has it can predict them, and a server that is started anew needs the
    same one, or repeated queries get fresh answers; by default it is drawn from the system's randomness.
    """

    _estimator_type: ClassVar[str] = "classifier"

    def __init__(
        self,
        model: Any,
        defences: Sequence[Given],
        *,
        key: bytes | None = None,
        members: Any = None,
        others: Any = None,
        classes: Sequence[Any] | int | None = None,
        seed: int = 0,
    ) -> None:
        self._layers = _layers(defences)
        target, self._named = _target(model, classes)
        rows, count, records = _records(members, others)
        if self._layers.reserve and (members is None or others is None):
            raise UsageError(
                "These defences learn from records that the model was trained on and from others.",
                hint="Pass members=… and others=…, two batches of features.",
            )
        secret = secrets.token_bytes(KEY_BYTES) if key is None else key
        if not 0 < len(secret) <= 64:
            raise UsageError(
                f"Expected a key of 1 to 64 bytes, got {len(secret)}.", hint="Use secrets.token_bytes(32)."
            )
        reserve = np.arange(rows, count, dtype=np.int64)
        own = np.arange(rows, dtype=np.int64)
        self._target = served(target, self._layers.answers, records, own, reserve, seed, key=secret)
        self._width: int | None = None

    @property
    def access(self) -> Access:
        """What is left to see: labels, or scores."""
        return self._target.answered

    def query(self, x: Any, want: Access) -> Outputs:
        """Answer a batch as a target under audit does; raises AccessError where ``want`` exceeds ``access``."""
        if want > self.access:
            raise AccessError(f"This model answers {self.access.label} queries alone, not {want.label} ones.")
        outputs = self._target.query(_features(x), want)
        if outputs.kind in ("logits", "probabilities"):
            self._width = outputs.values.shape[1]
        return outputs

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Return (R, C) defended scores, columns in the order of ``classes_``; truncated ones do not sum to one.

        Raises AccessError where the defences leave labels alone.
        """
        return probabilities(self.query(x, Access.SCORE))

    def predict(self, x: Any) -> NDArray[Any]:
        """Return (R,) defended classes."""
        found = self.query(x, Access.LABEL).values
        return found if self._named is None else self._named[found]

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes in the order of the columns; of a torch module, their numbers once it has answered."""
        if self._named is not None:
            return self._named
        if self._width is None:
            raise AttributeError("classes_ of a torch module are known after its first answer; or pass classes=…")
        return np.arange(self._width)

    def fit(self, x: Any, y: Any = None, **params: Any) -> Served:  # noqa: ARG002
        """Return itself: the model is trained, and its defences are fitted to it."""
        return self

    def score(self, x: Any, y: Any) -> float:
        """Return the share of right answers."""
        return float(np.mean(self.predict(x) == np.asarray(y)))

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Served:
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=ClassifierTags(),
        )

    @property
    def answered(self) -> int | None:
        """How many distinct queries private prediction has answered; None without it."""
        ledgers = [a.ledger for a in self._target.answerers if isinstance(a, PrivateAnswers)]
        return ledgers[0].count if ledgers else None

    def claim(self) -> PrivacyClaim | None:
        """Return what differential privacy holds for the answers given so far, or None."""
        for defence in self._layers.answers:
            if isinstance(defence, PrivatePrediction):
                return defence.claim(self.answered, None if self._named is None else len(self._named))
            if (found := defence.claim(None)) is not None:
                return found
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(name for name, _ in self._layers.named)})"


class MemGuard(Served):
    """A trained classifier whose scores are noised against a membership classifier of the defender's own.

    ``members``: features that it was trained on; ``nonmembers``: others. ``budget``: the most that the scores move, as
    an expected L1 distance (0 to 2); the class never changes. ``key``, ``classes``, ``seed``: as of `serve`; further
    parameters are those of the defence ``memguard``. Guaranteed are the class and the budget, and no privacy: see
    `vestige.defend.answers.memguard`. Jia et al. 2019, CCS.

    >>> guarded = MemGuard(clf, members_x, nonmembers_x, budget=0.5)  # doctest: +SKIP
    >>> guarded.predict_proba(x)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        members: Any,
        nonmembers: Any,
        budget: float = 0.5,
        *,
        key: bytes | None = None,
        classes: Sequence[Any] | int | None = None,
        seed: int = 0,
        **params: Any,
    ) -> None:
        defence = NoiseAtClassifier(budget=budget, **params)
        super().__init__(model, [defence], key=key, members=members, others=nonmembers, classes=classes, seed=seed)


def serve(
    model: Any,
    defences: Sequence[Given],
    key: bytes | None = None,
    *,
    members: Any = None,
    others: Any = None,
    classes: Sequence[Any] | int | None = None,
    seed: int = 0,
) -> Served:
    """Return a trained model behind answer defences, with ``predict_proba``, ``predict`` and ``classes_``.

    ``model``: an estimator, a torch module, a booster or a function from a batch to scores. ``defences``: in order, as
    objects, names or tables as in a config (``{"kind": "top_k", "k": 3}``). ``key``: up to 64 secret bytes; by default
    from the system's randomness. ``members``, ``others``: features it was and was not trained on, for defences that
    learn from them (memguard) or draw like them (rank_release). ``classes``: their labels or number, where the model
    has no ``classes_``. ``seed``: of what is fitted.
    """
    return Served(model, defences, key=key, members=members, others=others, classes=classes, seed=seed)


def _layers(defences: Sequence[Given]) -> Layers:
    from vestige.defend import DEFENCES

    named = []
    for given in defences:
        if isinstance(given, str):
            named.append((given, DEFENCES.create(given, {})))
        elif isinstance(given, Mapping):
            options = dict(given)
            kind = str(options.pop("kind", ""))
            named.append((kind, DEFENCES.create(kind, options)))
        else:
            named.append((type(given).__name__, given))
    layers = Layers(tuple(named))
    if layers.training:
        raise ConfigError(
            f"'{named[0][0]}' changes how a model is trained, and this one is trained already.",
            hint="Only defences of the answers can be put in front of a trained model.",
        )
    return layers


def _target(model: Any, classes: Sequence[Any] | int | None) -> tuple[Target, NDArray[Any] | None]:
    """Return the model as a target, and its classes' labels where they are known."""
    if classes is None:
        known = getattr(model, "classes_", None)
        if known is None and hasattr(model, "state_dict"):
            from vestige.backends.torch_target import TorchTarget

            return TorchTarget.wrap(model), None
        if known is None and not isinstance(model, Target):
            raise UsageError(
                f"A {type(model).__name__} does not say which classes it answers.", hint="Pass classes=…, their labels."
            )
        if known is None:
            return model, None
        classes = list(known)
    labels = np.arange(classes) if isinstance(classes, int) else np.asarray(classes)
    names = classes if isinstance(classes, int) else [str(one) for one in labels.tolist()]
    return as_target(model, task="classification", classes=names), labels


def _records(members: Any, others: Any) -> tuple[int, int, Records]:
    """Return how many members there are, how many records in all, and the records, members first."""
    batches = [clean_features(_features(x)) for x in (members, others) if x is not None]
    first = 0 if members is None else len(batches[0])
    if not batches:
        x: Any = np.zeros((0, 0), np.float32)
    elif hasattr(batches[0], "iloc"):
        import pandas as pd

        x = pd.concat(batches, ignore_index=True)
    else:
        x = np.concatenate(batches)
    count = len(x)
    return first, count, Records(x, np.zeros(count, np.int64), np.arange(count))


def _features(x: Any) -> Any:
    if hasattr(x, "detach"):
        return x.detach().cpu().numpy()
    return x if hasattr(x, "shape") else np.asarray(x)
