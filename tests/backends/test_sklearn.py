from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import KFold, RandomizedSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from vestige.backends import RECIPES
from vestige.backends.sklearn import SklearnRecipe, SklearnTarget
from vestige.errors import AccessError, ConfigError, ModelError, UsageError
from vestige.executors.threads import WORKER
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Recipe, Target

NAMES = ("ant", "bee", "cat")


@pytest.fixture
def data():
    draw = rng(0, "test")
    x = draw.normal(size=(120, 4))
    y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.3)
    return x, y


@pytest.fixture
def records(data):
    x, y = data
    return Records(x, y, np.arange(len(y)), classes=NAMES)


def wrap(model, classes=NAMES, task="classification"):
    return SklearnTarget.wrap(model, task=task, classes=classes)


def test_it_is_a_target_and_a_recipe(data):
    x, y = data
    assert isinstance(wrap(LogisticRegression().fit(x, y)), Target)
    assert isinstance(SklearnRecipe(LogisticRegression()), Recipe)


def test_probabilities_come_first(data):
    x, y = data
    model = LogisticRegression().fit(x, y)
    outputs = wrap(model).query(x, Access.SCORE)
    assert outputs.kind == "probabilities"
    np.testing.assert_array_equal(outputs.values, model.predict_proba(x))


def test_label_access_shows_what_predict_says(data):
    x, y = data
    model = LogisticRegression().fit(x, y)
    outputs = wrap(model).query(x, Access.LABEL)
    assert outputs.kind == "labels"
    assert outputs.values.dtype == np.int64
    np.testing.assert_array_equal(outputs.values, model.predict(x))


def test_more_access_than_it_has_is_refused(data):
    x, y = data
    with pytest.raises(AccessError, match="white_box"):
        wrap(RandomForestClassifier(3).fit(x, y)).query(x, Access.WHITE_BOX)


def test_binary_decisions_become_two_logits(data):
    x, y = data
    model = LinearSVC().fit(x, y > 0)
    outputs = wrap(model, ("False", "True")).query(x, Access.SCORE)
    assert outputs.kind == "logits"
    np.testing.assert_array_equal(outputs.values[:, 0], 0)
    np.testing.assert_array_equal(outputs.values[:, 1], model.decision_function(x))


def test_multiclass_decisions_are_logits(data):
    x, y = data
    model = RidgeClassifier().fit(x, y)
    outputs = wrap(model).query(x, Access.SCORE)
    assert outputs.kind == "logits"
    np.testing.assert_array_equal(outputs.values, model.decision_function(x))


def test_pairwise_margins_are_not_scores_of_classes(data):
    x, y = data
    target = wrap(make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo")).fit(x, y))
    assert target.access == Access.LABEL
    with pytest.raises(AccessError):
        target.query(x, Access.SCORE)


def test_an_estimator_that_only_predicts_shows_labels(data):
    class Stump:
        classes_ = np.array([0, 1, 2])

        def predict(self, x):
            return (x[:, 0] > 0).astype(int)

    target = wrap(Stump())
    assert target.access == Access.LABEL
    assert target.query(data[0], Access.LABEL).values.max() == 1


@pytest.mark.parametrize("original", [["ant", "bee", "cat"], [10, 20, 30], [1.0, 2.0, 3.0]])
def test_original_labels_are_mapped_to_indices(data, original):
    x, y = data
    model = DecisionTreeClassifier(random_state=0).fit(x, np.array(original)[y])
    target = wrap(model, [str(label) for label in original])
    np.testing.assert_array_equal(target.query(x, Access.LABEL).values, y)
    np.testing.assert_array_equal(target.query(x, Access.SCORE).values.argmax(1), y)


def test_original_labels_in_another_order_than_the_records(data):
    x, y = data
    model = DecisionTreeClassifier(random_state=0).fit(x, np.array(["cat", "ant", "bee"])[y])
    target = wrap(model, ["cat", "ant", "bee"])
    np.testing.assert_array_equal(target.query(x, Access.SCORE).values.argmax(1), y)
    np.testing.assert_array_equal(target.query(x, Access.LABEL).values, y)


def test_a_class_the_model_never_saw_gets_probability_zero(data):
    x, y = data
    keep = y != 1
    model = LogisticRegression().fit(x[keep], y[keep])
    values = wrap(model).query(x, Access.SCORE).values
    np.testing.assert_array_equal(values[:, 1], 0)
    np.testing.assert_array_equal(values[:, [0, 2]], model.predict_proba(x))
    assert set(wrap(model).query(x, Access.LABEL).values) <= {0, 2}


def test_a_class_the_model_never_saw_gets_a_logit_far_below(data):
    x, y = data
    keep = y != 0
    values = wrap(LinearSVC().fit(x[keep], y[keep])).query(x, Access.SCORE).values
    assert (values[:, 0] < values[:, 1:].min(axis=1) - 80).all()
    assert np.isfinite(values).all()


def test_unknown_classes_are_named(data):
    x, y = data
    model = LogisticRegression().fit(x, np.array(["ant", "bee", "dog"])[y])
    with pytest.raises(ModelError, match="dog"):
        wrap(model)


def test_regression_shows_values(data):
    x, _ = data
    model = LinearRegression().fit(x, x @ [1.0, 2, 3, 4])
    target = wrap(model, (), "regression")
    outputs = target.query(x, Access.SCORE)
    assert (outputs.kind, target.access) == ("values", Access.SCORE)
    np.testing.assert_allclose(outputs.values, x @ [1.0, 2, 3, 4])
    column = wrap(LinearRegression().fit(x, (x @ [1.0, 2, 3, 4])[:, None]), (), "regression")
    np.testing.assert_array_equal(column.query(x, Access.SCORE).values, outputs.values)


def test_the_wrong_task_is_refused(data):
    x, y = data
    with pytest.raises(UsageError, match="Expected a classifier"):
        wrap(LinearRegression().fit(x, y))
    with pytest.raises(UsageError, match="at least two classes, got 0"):
        wrap(LogisticRegression().fit(x, y), ())
    with pytest.raises(UsageError, match="Expected a regressor"):
        wrap(LogisticRegression().fit(x, y), (), "regression")


@pytest.mark.parametrize("model", [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())])
def test_an_unfitted_model_is_refused_in_one_sentence(model):
    with pytest.raises(ModelError, match=r"LogisticRegression.* has not been fitted"):
        wrap(model)


def test_several_outputs_are_refused(data):
    x, y = data
    both = np.stack([y, y], axis=1)
    with pytest.raises(ModelError, match="one output"):
        wrap(RandomForestClassifier(3).fit(x, both))
    with pytest.raises(ModelError, match="one output"):
        wrap(MultiOutputClassifier(LogisticRegression()).fit(x, both))


class Answering:
    """Whatever it is told to answer."""

    def __init__(self, answer):
        self.answer = answer

    def predict_proba(self, x):
        return self.answer(len(x)) if callable(self.answer) else self.answer


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda n: np.full((n, 3), np.nan), "NaN or infinity for 120 of 120"),
        (lambda n: np.full((n - 1, 3), 1 / 3), "Expected 120 answers for 120 records, got 119"),
        (lambda n: np.full((n, 2), 1 / 2), "one column for each of 3 classes"),
        (lambda n: np.full((n, 3), 7.0), "sum to one"),
        (lambda n: np.tile([-1.0, 1, 1], (n, 1)), "sum to one"),
        (lambda n: [np.full((n, 2), 1 / 2)] * 2, "several outputs"),
        (lambda n: 3.0, "a single number"),
        (None, "answers for 120 records, got a single number"),
    ],
)
def test_impossible_answers_end_in_one_sentence(data, answer, complaint):
    with pytest.raises(ModelError, match=complaint):
        wrap(Answering(answer)).query(data[0], Access.SCORE)


def test_float32_and_rounded_probabilities_pass(data):
    x, y = data
    exact = LogisticRegression().fit(x, y).predict_proba(x)
    for answer in (exact.astype(np.float32), np.round(exact, 2), exact.astype(np.float16)):
        outputs = wrap(Answering(answer)).query(x, Access.SCORE)
        assert outputs.values.dtype in (np.float32, np.float64)
        np.testing.assert_array_equal(outputs.values, answer)


def test_a_failing_model_is_named(data):
    x, y = data
    with pytest.raises(ModelError, match=r"LogisticRegression.predict_proba failed .*features"):
        wrap(LogisticRegression().fit(x, y)).query(x[:, :2], Access.SCORE)


def test_big_inputs_are_asked_in_blocks(monkeypatch, data):
    x, y = data
    sizes = []
    model = LogisticRegression().fit(x, y)
    whole = model.predict_proba(x)
    monkeypatch.setattr("vestige.backends.answers.ask_in_blocks.__defaults__", (50,))

    class Watched(Answering):
        classes_ = model.classes_

        def predict_proba(self, x):
            sizes.append(x.shape[0])
            return model.predict_proba(x)

    for form in (x, pd.DataFrame(x), sparse.coo_array(x)):
        sizes.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            values = wrap(Watched(None)).query(form, Access.SCORE).values
        assert sizes == [50, 50, 20]
        np.testing.assert_allclose(values, whole, rtol=1e-12)


def test_no_records_are_no_answers(data):
    x, _ = data
    target = wrap(Answering(lambda n: np.zeros((n, 3))))
    assert target.query(x[:0], Access.SCORE).values.shape == (0, 3)


def test_pipelines_that_take_dataframes(data):
    x, y = data
    frame = pd.DataFrame(x, columns=list("abcd")).assign(kind=np.array(["u", "v"])[y // 2])
    records = Records(frame, y, np.arange(len(y)), classes=NAMES)
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough"), LogisticRegression()
    )
    target = SklearnRecipe(pipe).fit(records, np.arange(80), 1)
    expected = pipe.fit(frame.iloc[:80], y[:80]).predict_proba(frame)
    np.testing.assert_array_equal(target.query(frame, Access.SCORE).values, expected)


def test_auto_preprocessing_encodes_words_only_when_there_are_any(data):
    x, y = data
    frame = pd.DataFrame(x, columns=list("abcd")).assign(
        kind=np.array(["u", "v"])[y // 2], sex=pd.Categorical(["f", "m"] * 60)
    )
    records = Records(frame, y, np.arange(len(y)), classes=NAMES)
    recipe = SklearnRecipe.from_config(model="sklearn.linear_model:LogisticRegression")
    target = recipe.fit(records, np.arange(80), 0)
    assert target.query(frame, Access.SCORE).values.shape == (120, 3)
    assert target.estimator[-1].n_features_in_ == 8
    plain = recipe.fit(Records(x, y, np.arange(len(y)), classes=NAMES), np.arange(80), 0)
    assert isinstance(plain.estimator, LogisticRegression)
    scaled = SklearnRecipe.from_config(model="sklearn.linear_model:LogisticRegression", preprocess="standard")
    assert isinstance(
        scaled.fit(Records(x, y, np.arange(120), classes=NAMES), np.arange(80), 0).estimator[0], StandardScaler
    )


def test_text_columns_without_preprocessing_end_in_one_sentence(data):
    x, y = data
    frame = pd.DataFrame(x).assign(kind="u")
    records = Records(frame, y, np.arange(len(y)), classes=NAMES)
    with pytest.raises(ModelError, match=r"could not be trained on 120 records.*preprocess='auto'"):
        SklearnRecipe(LogisticRegression()).fit(records, np.arange(120), 0)


def test_images_are_shown_as_rows(data):
    x, y = data
    records = Records(x.reshape(-1, 2, 2), y, np.arange(len(y)), classes=NAMES)
    target = SklearnRecipe(LogisticRegression()).fit(records, np.arange(80), 0)
    expected = LogisticRegression().fit(x[:80], y[:80]).predict_proba(x)
    np.testing.assert_array_equal(target.query(records.x, Access.SCORE).values, expected)
    own = wrap(LogisticRegression().fit(x, y))
    assert own.query(records.x, Access.SCORE).values.shape == (120, 3)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(5, n_jobs=2),
        make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")),
        BaggingClassifier(DecisionTreeClassifier(max_features=1), 4),
        StackingClassifier([("tree", DecisionTreeClassifier(max_features=1))], cv=KFold(3, shuffle=True)),
        RandomizedSearchCV(
            DecisionTreeClassifier(max_features=1), {"max_depth": [2, 3]}, n_iter=2, cv=KFold(3, shuffle=True)
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_seed_decides_everything(records, estimator):
    recipe = SklearnRecipe(estimator)
    rows = np.arange(80)
    answers = [recipe.fit(records, rows, seed).query(records.x, Access.SCORE).values for seed in (3, 3, 4)]
    assert answers[0].tobytes() == answers[1].tobytes()
    assert answers[0].tobytes() != answers[2].tobytes()


def test_training_leaves_the_given_estimator_alone(records):
    estimator = RandomForestClassifier(3, random_state=7)
    before = estimator.get_params()
    SklearnRecipe(estimator).fit(records, np.arange(60), 0)
    assert estimator.get_params() == before
    assert not hasattr(estimator, "classes_")


def test_a_class_missing_from_the_subset(records):
    rows = np.flatnonzero(records.y != 1)
    target = SklearnRecipe(RandomForestClassifier(3)).fit(records, rows, 0)
    values = target.query(records.x, Access.SCORE).values
    assert values.shape == (120, 3)
    assert (values[:, 1] == 0).all()


def test_one_class_is_refused_with_its_name(records):
    rows = np.flatnonzero(records.y == 2)
    with pytest.raises(ModelError, match=rf"LogisticRegression cannot be trained: all {len(rows)} .* class 'cat'"):
        SklearnRecipe(LogisticRegression()).fit(records, rows, 0)


def test_one_class_is_no_obstacle_to_a_forest(records):
    rows = np.flatnonzero(records.y == 2)
    values = SklearnRecipe(RandomForestClassifier(2)).fit(records, rows, 0).query(records.x, Access.SCORE).values
    np.testing.assert_array_equal(values, np.tile([0.0, 0, 1], (120, 1)))


def test_warnings_of_training_are_counted_and_not_raised(records):
    target = SklearnRecipe(MLPClassifier((4,), max_iter=2)).fit(records, np.arange(80), 0)
    assert len(target.notes) == 1
    assert "MLPClassifier warned (1 ×) of ConvergenceWarning" in target.notes[0]


def test_class_weights_by_name_work_with_the_original_labels(records):
    weights = {"ant": 100.0, "bee": 1.0, "cat": 1.0}
    estimator = LogisticRegression(class_weight=weights)
    target = SklearnRecipe(estimator, labels=("ant", "bee", "cat")).fit(records, np.arange(80), 0)
    direct = LogisticRegression(class_weight={0: 100.0, 1: 1.0, 2: 1.0}).fit(records.x[:80], records.y[:80])
    np.testing.assert_allclose(
        target.query(records.x, Access.SCORE).values, direct.predict_proba(records.x), rtol=1e-12
    )
    np.testing.assert_array_equal(target.query(records.x, Access.LABEL).values, direct.predict(records.x))


def test_labels_whose_order_is_not_the_records(records):
    backwards = Records(records.x, 2 - records.y, records.ids, classes=("cat", "bee", "ant"))
    rows = np.flatnonzero(backwards.y != 1)
    target = SklearnRecipe(DecisionTreeClassifier(), labels=("ant", "bee", "cat")).fit(backwards, rows, 0)
    np.testing.assert_array_equal(target.query(records.x[rows], Access.LABEL).values, backwards.y[rows])
    np.testing.assert_array_equal(target.query(records.x[rows], Access.SCORE).values.argmax(1), backwards.y[rows])


def test_threads_are_one_inside_a_worker(records, monkeypatch):
    recipe = SklearnRecipe(make_pipeline(StandardScaler(), RandomForestClassifier(3, n_jobs=2)))
    assert recipe.fit(records, np.arange(60), 0).estimator[-1].n_jobs == 2
    monkeypatch.setenv(WORKER, "1")
    assert recipe.fit(records, np.arange(60), 0).estimator[-1].n_jobs == 1


def test_frozen_parts_are_refused(records):
    fitted = DecisionTreeClassifier().fit(records.x, records.y)
    with pytest.raises(UsageError, match="FrozenEstimator"):
        SklearnRecipe(CalibratedClassifierCV(FrozenEstimator(fitted))).fit(records, np.arange(60), 0)


def test_what_cannot_be_cloned_is_refused(records):
    with pytest.raises(ModelError, match="FunctionRecipe"):
        SklearnRecipe(Answering(None)).fit(records, np.arange(60), 0)


def test_recipe_refuses_the_wrong_task(data):
    x, _ = data
    numbers = Records(x, x[:, 0], np.arange(len(x)))
    with pytest.raises(UsageError, match="regressor"):
        SklearnRecipe(LogisticRegression()).fit(numbers, np.arange(60), 0)
    target = SklearnRecipe(DecisionTreeRegressor()).fit(numbers, np.arange(60), 0)
    np.testing.assert_array_equal(target.query(x[:60], Access.SCORE).values, x[:60, 0])


def test_fingerprint_ignores_what_does_not_matter_and_nothing_else():
    def of(*args, **kwargs):
        return SklearnRecipe(RandomForestClassifier(*args, **kwargs)).fingerprint()

    assert of(5) == of(5, n_jobs=-1, random_state=3, verbose=1)
    assert len({of(5), of(6), of(5, max_depth=2), of(5, class_weight={0: 1.0, 1: 2.0})}) == 4
    nested = [
        SklearnRecipe(make_pipeline(StandardScaler(with_std=on), SVC())).fingerprint() for on in (True, False, True)
    ]
    assert nested[0] == nested[2] != nested[1]
    assert SklearnRecipe(SVC()).fingerprint() != SklearnRecipe(SVC(), preprocess="standard").fingerprint()
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    assert SklearnRecipe(fitted).fingerprint() == SklearnRecipe(LogisticRegression()).fingerprint()


def test_fingerprint_is_the_same_in_another_process():
    code = (
        "from sklearn.ensemble import StackingClassifier; from sklearn.svm import SVC\n"
        "from vestige.backends.sklearn import SklearnRecipe\n"
        "print(SklearnRecipe(StackingClassifier([('a', SVC(class_weight={'x': 1, 'y': 2}))], cv=3)).fingerprint())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert "StackingClassifier" in texts.pop()


def test_from_config(records):
    recipe = RECIPES.get("sklearn").from_config(
        model="sklearn.ensemble:RandomForestClassifier", params={"n_estimators": 4, "max_depth": 2}
    )
    target = recipe.fit(records, np.arange(60), 0)
    assert (len(target.estimator.estimators_), target.estimator.max_depth) == (4, 2)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "needs 'model'"),
        ({"model": "sklearn.ensemble:RandomForrestClassifier"}, "Did you mean.*'RandomForestClassifier'"),
        ({"model": "sklearn.ensembel:X"}, "no module 'sklearn.ensembel'"),
        ({"model": "SVC"}, "package.module:Class, got 'SVC'"),
        ({"model": "sklearn.svm:SVC", "params": {"gama": 1}}, "Did you mean 'gamma'"),
        ({"model": "sklearn.svm:SVC", "gamma": 1}, r"go under \[recipe.params\]"),
        ({"model": "sklearn.svm:SVC", "preprocess": "magic"}, "none, auto, standard"),
    ],
)
def test_from_config_says_what_is_wrong(options, complaint):
    with pytest.raises((ConfigError, UsageError), match=complaint):
        SklearnRecipe.from_config(**options)


@pytest.mark.parametrize("library", ["xgboost:XGBClassifier", "lightgbm:LGBMClassifier"])
def test_boosted_trees(records, library, capfd, monkeypatch):
    pytest.importorskip(library.partition(":")[0])
    params = {"n_estimators": 4, "learning_rate": 0.5, "subsample": 0.7}
    params |= {"subsample_freq": 1, "min_child_samples": 2} if library.startswith("lightgbm") else {}
    recipe = SklearnRecipe.from_config(model=library, params=params)
    rows = np.flatnonzero(records.y != 1)
    full = [recipe.fit(records, np.arange(100), seed).query(records.x, Access.SCORE).values for seed in (1, 1, 2)]
    assert full[0].shape == (120, 3)
    assert full[0].tobytes() == full[1].tobytes() != full[2].tobytes()
    lacking = recipe.fit(records, rows, 0)
    values = lacking.query(records.x, Access.SCORE).values
    assert (values[:, 1] == 0).all()
    assert (values.argmax(1)[rows] == records.y[rows]).mean() > 0.8
    assert set(lacking.query(records.x, Access.LABEL).values.tolist()) == {0, 2}
    monkeypatch.setenv(WORKER, "1")
    assert recipe.fit(records, np.arange(100), 1).query(records.x, Access.SCORE).values.tobytes() == full[0].tobytes()
    assert capfd.readouterr().out == ""


def test_boosted_trees_on_frames_with_names(records):
    pytest.importorskip("lightgbm")
    recipe = SklearnRecipe.from_config(model="lightgbm:LGBMClassifier", params={"n_estimators": 2})
    frame = pd.DataFrame(records.x, columns=list("abcd"))
    target = recipe.fit(Records(frame, records.y, records.ids, classes=NAMES), np.arange(100), 0)
    np.testing.assert_array_equal(
        target.query(frame, Access.SCORE).values, target.query(records.x, Access.SCORE).values
    )
