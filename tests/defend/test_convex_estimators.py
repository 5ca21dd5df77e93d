"""DPLogisticRegression and DPHuberSVM as scikit-learn estimators, and as defences of a recipe."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from vestige.errors import ConfigError

pytest.importorskip("sklearn")
pytest.importorskip("dp_accounting")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import vestige.defend
from vestige.backends.sklearn import SklearnRecipe
from vestige.defend import DEFENCES
from vestige.records import Records

METHODS = ["output", "objective", "amp", "frank_wolfe"]


def unit_scaled() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(0)) / x.std(0) / np.sqrt(x.shape[1]), y


@pytest.mark.parametrize("method", METHODS)
def test_a_generous_budget_learns_and_a_tiny_one_does_not(method: str) -> None:
    x, y = unit_scaled()
    delta = 1e-5 if method != "objective" else 0.0

    def accuracy(epsilon: float) -> float:
        made = vestige.defend.DPLogisticRegression(epsilon=epsilon, delta=delta, method=method, random_state=0)
        if method == "output":
            made.set_params(regularization=1e-2)
        if method == "frank_wolfe":
            made.set_params(radius=20.0, steps=60)
        return float(made.fit(x, y).score(x, y))

    assert accuracy(50.0) > 0.85
    assert accuracy(1e-2) < 0.8


@pytest.mark.parametrize("name", ["DPLogisticRegression", "DPHuberSVM"])
def test_several_classes_share_the_budget(name: str) -> None:
    x, y = load_digits(return_X_y=True)
    x = x / 16 / 8
    kind = getattr(vestige.defend, name)
    model = kind(epsilon=400.0, delta=1e-3, regularization=1e-3, random_state=1).fit(x, y)
    assert model.coef_.shape == (10, 64)
    assert model.score(x, y) > 0.85
    assert model.claim_.epsilon == 400.0
    if name == "DPLogisticRegression":
        np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)
        assert (model.predict_proba(x).argmax(1) == model.predict(x)).all()


def test_noise_differs_by_default_and_repeats_with_a_random_state() -> None:
    x, y = unit_scaled()
    free = [vestige.defend.DPLogisticRegression().fit(x, y) for _ in range(2)]
    fixed = [clone(vestige.defend.DPLogisticRegression(random_state=3)).fit(x, y) for _ in range(2)]
    assert not np.array_equal(free[0].coef_, free[1].coef_)
    assert np.array_equal(fixed[0].coef_, fixed[1].coef_)
    assert any("reproducible" in text for text in fixed[0].claim_.assumptions)
    assert not any("reproducible" in text for text in free[0].claim_.assumptions)


def test_a_record_of_any_size_counts_no_more_than_one_at_the_bound() -> None:
    x, y = unit_scaled()
    far = x.copy()
    far[0] *= 1e9
    near = x.copy()
    near[0] *= 1 / np.linalg.norm(x[0])
    fits = [vestige.defend.DPLogisticRegression(random_state=0).fit(rows, y).coef_ for rows in (far, near)]
    np.testing.assert_allclose(fits[0], fits[1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "moves"),
    [({"delta": 1e-5}, False), ({"delta": 1e-5, "method": "frank_wolfe"}, False), ({}, True)],
)
def test_a_record_that_says_nothing_changes_nothing_where_adding_one_is_protected(
    options: dict[str, object], moves: bool
) -> None:
    x, y = unit_scaled()
    more = np.vstack([x, np.zeros((1, x.shape[1]))]), np.append(y, 0)
    made = [
        vestige.defend.DPLogisticRegression(random_state=0, fit_intercept=False, **options).fit(*rows).coef_
        for rows in ((x, y), more)
    ]
    assert np.allclose(made[0], made[1], atol=1e-9) != moves


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"delta": 1.0}, "delta"),
        ({"method": "amp"}, "delta above 0"),
        ({"method": "newton"}, "method"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(options: dict[str, object], says: str) -> None:
    x, y = unit_scaled()
    with pytest.raises(ConfigError, match=says):
        vestige.defend.DPLogisticRegression(**options).fit(x, y)


@pytest.mark.parametrize("kind", ["dp_erm_output", "dp_erm_objective", "amp", "frank_wolfe"])
def test_the_defence_exchanges_the_estimator_and_brings_its_claim(kind: str) -> None:
    x, y = unit_scaled()
    records = Records.build(x, y)
    rows = np.arange(400)
    recipe = SklearnRecipe(LogisticRegression())
    defence = DEFENCES.create(kind, {"epsilon": 8.0})
    wrapped = defence.wrap(recipe, np.zeros(0, np.int64))
    first, again, other = (wrapped.fit(records, rows, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.estimator.coef_, again.estimator.coef_)
    assert not np.array_equal(first.estimator.coef_, other.estimator.coef_)
    assert defence.claim(recipe, 400).epsilon == 8.0
    before, after = defence.claim(recipe, 400), first.estimator.claim_
    # How many classes share the budget is known after the training; a pure ε costs the same for any number.
    assert bool(before.ledger) == (before.delta == 0)
    assert after.ledger
    told = tuple(text for text in before.assumptions if not text.startswith("no ledger"))
    assert replace(before, ledger=after.ledger, assumptions=told) == after
    assert wrapped.fingerprint() != DEFENCES.create(kind, {"epsilon": 7.0}).wrap(recipe, rows).fingerprint()


def test_what_has_no_private_sibling_is_refused() -> None:
    defence = DEFENCES.create("dp_erm_objective", {})
    none = np.zeros(0, np.int64)
    with pytest.raises(ConfigError, match="LogisticRegression"):
        defence.wrap(SklearnRecipe(RandomForestClassifier()), none)
    with pytest.raises(ConfigError, match="means and scales"):
        defence.wrap(SklearnRecipe(LogisticRegression(), preprocess="standard"), none)
    with pytest.raises(ConfigError, match="epsilon"):
        DEFENCES.create("amp", {"epsilon": -1})


def test_private_models_stand_in_pipelines_and_are_searched_like_any_estimator() -> None:
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    x, y = unit_scaled()
    assert vestige.defend.DPLogisticRegression(epsilon=1).fit(x, y).score(x, y) > 0.6
    piped = make_pipeline(FunctionTransformer(np.tanh), vestige.defend.DPLogisticRegression(epsilon=50, random_state=0))
    found = GridSearchCV(piped, {"dplogisticregression__regularization": [1e-3, 0.3]}, cv=3, scoring="roc_auc").fit(
        x, y
    )
    assert found.best_params_ == {"dplogisticregression__regularization": 1e-3}
    assert found.best_estimator_[-1].claim_.epsilon == 50
    assert cross_val_score(vestige.defend.DPHuberSVM(epsilon=50, random_state=0), x, y, cv=3).mean() > 0.85
    again = clone(found.best_estimator_)
    assert not hasattr(again[-1], "coef_")
    assert again[-1].get_params()["epsilon"] == 50


@pytest.mark.parametrize("kind", ["DPLogisticRegression", "DPHuberSVM"])
def test_scikit_learns_own_checks_pass(kind: str) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    # With so large a budget that the model may be expected to learn what those checks look for.
    model = getattr(vestige.defend, kind)(epsilon=100.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(model, on_fail=None, on_skip=None)
    assert len(found) > 30
    assert [one["check_name"] for one in found if one["status"] == "failed"] == []
