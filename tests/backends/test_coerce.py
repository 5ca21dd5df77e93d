from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vestige.backends import RECIPES, TARGETS
from vestige.backends.coerce import as_target, default_recipe
from vestige.backends.function import CallableTarget, FunctionRecipe
from vestige.backends.sklearn import SklearnRecipe, SklearnTarget
from vestige.errors import ModelError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Outputs, Target

NAMES = ("ant", "bee", "cat")
X = rng(0, "x").normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def target_of(model, classes=NAMES, task="classification"):
    return as_target(model, task=task, classes=classes)


def test_estimators_and_pipelines():
    for model in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        target = target_of(model.fit(X, Y))
        assert isinstance(target, SklearnTarget)
        np.testing.assert_array_equal(target.query(X, Access.SCORE).values, model.predict_proba(X))


def test_targets_pass_through():
    class Own:
        access = Access.SCORE

        def query(self, x, want):
            return Outputs("labels", np.zeros(len(x), np.int64))

    own = Own()
    assert target_of(own) is own


def test_functions():
    target = target_of(lambda x: np.eye(3)[Y[: len(x)]])
    assert isinstance(target, CallableTarget)
    assert target.query(X, Access.SCORE).kind == "probabilities"


def test_objects_that_only_predict_may_predict_probabilities():
    class Network:
        def predict(self, x):
            return np.full((len(x), 3), 1 / 3, np.float32)

    assert target_of(Network()).query(X, Access.SCORE).kind == "probabilities"


@pytest.mark.parametrize(
    ("model", "error", "complaint"),
    [
        (LogisticRegression, UsageError, "got the class LogisticRegression"),
        ("model.joblib", UsageError, "load_model"),
        (7, ModelError, "Expected an estimator, .* got int"),
        (None, ModelError, "got NoneType"),
        (LogisticRegression(), ModelError, "has not been fitted"),
    ],
)
def test_anything_else_ends_in_one_sentence(model, error, complaint):
    with pytest.raises(error, match=complaint):
        target_of(model)


def test_clusters_are_no_classes():
    model = KMeans(5, n_init=1).fit(X)
    with pytest.raises(ModelError, match="among the 3 classes"):
        target_of(model).query(X, Access.LABEL)


@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "multi:softprob", "multi:softmax"])
def test_xgboost_boosters(objective):
    xgboost = pytest.importorskip("xgboost")
    y, classes = (Y, 3) if objective.startswith("multi") else (Y // 2, 2)
    params = {"objective": objective, "base_score": 0.5} | ({"num_class": 3} if classes == 3 else {})
    booster = xgboost.train(params, xgboost.DMatrix(X, label=y), num_boost_round=3)
    outputs = target_of(booster, classes).query(X, Access.SCORE)
    assert outputs.kind == ("logits" if objective in ("multi:softmax", "binary:logitraw") else "probabilities")
    assert outputs.values.shape == (90, classes)
    margins = booster.predict(xgboost.DMatrix(X), output_margin=True)
    margins = margins if classes == 3 else np.stack([0 * margins, margins], axis=1)
    own = np.log(outputs.values) if outputs.kind == "probabilities" else outputs.values
    centred = [one - one.mean(axis=1, keepdims=True) for one in (own, margins)]
    np.testing.assert_allclose(centred[0], centred[1], atol=1e-5)
    np.testing.assert_array_equal(target_of(booster, classes).query(X, Access.LABEL).values, margins.argmax(axis=1))


def test_xgboost_booster_of_a_frame_and_of_a_regression():
    xgboost = pytest.importorskip("xgboost")
    frame = pd.DataFrame(X, columns=list("abcd"))
    booster = xgboost.train({}, xgboost.DMatrix(frame, label=X[:, 0]), num_boost_round=3)
    target = target_of(booster, (), "regression")
    values = target.query(frame, Access.SCORE).values
    np.testing.assert_array_equal(values, booster.predict(xgboost.DMatrix(frame)))
    np.testing.assert_array_equal(target.query(X, Access.SCORE).values, values)
    with pytest.raises(ModelError, match="failed on features of shape"):
        target.query(X[:, :2], Access.SCORE)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_lightgbm_boosters(classes):
    lightgbm = pytest.importorskip("lightgbm")
    y = {0: X[:, 0].copy(), 2: Y // 2, 3: Y}[classes]
    params = {
        0: {"objective": "regression"},
        2: {"objective": "binary"},
        3: {"objective": "multiclass", "num_class": 3},
    }[classes]
    booster = lightgbm.train(params | {"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), num_boost_round=3)
    target = target_of(booster, classes, "classification" if classes else "regression")
    outputs = target.query(X, Access.SCORE)
    expected = booster.predict(X)
    assert outputs.kind == ("probabilities" if classes else "values")
    np.testing.assert_array_equal(outputs.values if classes != 2 else outputs.values[:, 1], expected)


def test_torch_modules_go_to_the_torch_backend(monkeypatch):
    torch = pytest.importorskip("torch")
    from vestige.backends.torch_target import TorchTarget

    module = torch.nn.Linear(4, 3)
    target = target_of(module)
    assert isinstance(target, TorchTarget)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(target.query(X, Access.SCORE).values, expected, rtol=1e-4, atol=1e-5)


def test_default_recipe_retrains_the_same_kind_on_the_same_labels():
    model = LogisticRegression(C=0.5, class_weight={"ant": 5.0, "bee": 1.0, "cat": 1.0}).fit(X, np.array(NAMES)[Y])
    recipe = default_recipe(model)
    assert isinstance(recipe, SklearnRecipe)
    again = recipe.fit(Records(X, Y, np.arange(90), classes=NAMES), np.arange(90), 0)
    np.testing.assert_allclose(
        again.query(X, Access.SCORE).values, target_of(model).query(X, Access.SCORE).values, rtol=1e-6
    )
    assert default_recipe(target_of(model)).fingerprint() == recipe.fingerprint()


def test_default_recipe_refuses_what_does_not_know_its_training():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="TorchRecipe"):
        default_recipe(torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match="FunctionRecipe"):
        default_recipe(lambda x: x)


def test_registries_name_what_exists():
    assert {"sklearn", "torch", "xgboost", "lightgbm", "function"} <= set(TARGETS.names())
    assert {"sklearn", "torch", "function"} <= set(RECIPES.names())
    assert RECIPES.get("sklearn") is SklearnRecipe
    assert RECIPES.get("function") is FunctionRecipe
    assert isinstance(TARGETS.get("sklearn")(LogisticRegression().fit(X, Y), task="classification", classes=3), Target)


def test_importing_the_backends_imports_no_library():
    import subprocess

    code = (
        "import sys, vestige.backends.coerce, vestige.backends.loading, vestige.executors.processes\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'xgboost', 'lightgbm', 'joblib', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
