from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from vestige.backends import RECIPES
from vestige.backends.fingerprints import fingerprint
from vestige.backends.function import CallableTarget, FunctionRecipe
from vestige.errors import AccessError, ConfigError, ModelError, UsageError
from vestige.executors import EXECUTORS
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Recipe, Target

NAMES = ("ant", "bee", "cat")
LOGITS = rng(0, "logits").normal(size=(40, 3)) * 3
X = np.arange(40.0)[:, None]


def rows_of(x):
    return LOGITS[x[:, 0].astype(int)]


def answer(values):
    return lambda x: values[x[:, 0].astype(int)]


@pytest.mark.parametrize(
    ("function", "kind"),
    [(rows_of, "logits"), (lambda x: softmax(rows_of(x), axis=1), "probabilities"), (lambda x: rows_of(x) > 9, None)],
)
def test_scores_are_recognised(function, kind):
    target = CallableTarget(function, classes=NAMES)
    if kind is None:
        with pytest.raises(ModelError, match="bool"):
            target.query(X, Access.SCORE)
        return
    outputs = target.query(X, Access.SCORE)
    assert outputs.kind == kind
    np.testing.assert_array_equal(outputs.values, function(X))
    labels = target.query(X, Access.LABEL)
    assert labels.kind == "labels"
    np.testing.assert_array_equal(labels.values, LOGITS.argmax(axis=1))
    assert isinstance(target, Target)


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_two_classes_may_be_answered_by_one_number(kind, shape):
    raw = LOGITS[:, 0]
    column = 1 / (1 + np.exp(-raw)) if kind == "probabilities" else raw
    outputs = CallableTarget(answer(column.reshape(shape)), classes=2).query(X, Access.SCORE)
    assert outputs.kind == kind
    expected = [1 - column, column] if kind == "probabilities" else [0 * column, column]
    np.testing.assert_array_equal(outputs.values, np.stack(expected, axis=1))


def test_what_was_recognised_is_kept():
    target = CallableTarget(lambda x: x[:, 0] / 10, classes=2)
    assert target.query(np.array([[1.0], [3.0]]), Access.SCORE).kind == "probabilities"
    with pytest.raises(ModelError, match="kind='logits'"):
        target.query(X, Access.SCORE)
    said = CallableTarget(lambda x: x[:, 0] / 10, classes=2, kind="logits")
    assert said.query(np.array([[1.0], [3.0]]), Access.SCORE).kind == "logits"


@pytest.mark.parametrize("labels", [np.arange(3), np.arange(3.0), np.array(NAMES), np.array([[0], [1], [2]])])
def test_labels_by_index_or_name(labels):
    y = LOGITS.argmax(axis=1)
    target = CallableTarget(lambda x: labels[rows_of(x).argmax(axis=1)], classes=NAMES)
    np.testing.assert_array_equal(target.query(X, Access.LABEL).values, y)
    assert target.access == Access.LABEL
    with pytest.raises(AccessError, match="label"):
        target.query(X, Access.SCORE)


def test_labels_where_scores_are_wanted_are_refused_at_once():
    with pytest.raises(AccessError, match="answers labels"):
        CallableTarget(lambda x: rows_of(x).argmax(axis=1), classes=3).query(X, Access.SCORE)


@pytest.mark.parametrize("label", [3, -1, 0.5, "dog"])
def test_unknown_labels_are_named(label):
    with pytest.raises(ModelError, match=str(label)):
        CallableTarget(
            lambda x: np.array([0.0, label, 1.0] if label != "dog" else ["ant", label, "ant"]), classes=NAMES
        ).query(X[:3], Access.LABEL)


def test_regression():
    target = CallableTarget(lambda x: x * 2, task="regression")
    outputs = target.query(X, Access.SCORE)
    assert outputs.kind == "values"
    np.testing.assert_array_equal(outputs.values, X[:, 0] * 2)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x: rows_of(x)[:-1], "Expected 40 answers for 40 records, got 39"),
        (lambda x: rows_of(x)[:, :2], r"Expected probabilities or logits of shape \(records, 3\)"),
        (lambda x: rows_of(x) * np.nan, "NaN or infinity for 40 of 40"),
        (lambda x: x["nothing"], "function failed"),
        (lambda x: None, "a single number"),
    ],
)
def test_impossible_answers_end_in_one_sentence(function, complaint):
    with pytest.raises(ModelError, match=complaint):
        CallableTarget(function, classes=NAMES).query(X, Access.SCORE)


def test_one_class_is_no_classification():
    with pytest.raises(UsageError, match="two classes"):
        CallableTarget(rows_of, classes=("only",))


# --- recipes ---------------------------------------------------------------------------------------------------------

SCALE = 2.0


def shift(x):
    return x + 1


def train(x, y, seed):
    centres = np.stack([shift(x[y == c]).mean(axis=0) * SCALE for c in range(3)])
    noise = np.random.default_rng(seed).normal(size=centres.shape)
    return lambda z: softmax(-((z[:, None] - centres - noise) ** 2).sum(axis=2), axis=1)


def train_estimator(x, y, seed, C=1.0):
    return LogisticRegression(C=C, random_state=seed).fit(x, y)


@pytest.fixture
def records():
    x = LOGITS @ np.ones((3, 2)) + rng(1, "x").normal(size=(40, 2))
    return Records(x, LOGITS.argmax(axis=1), np.arange(40), classes=NAMES)


def test_it_trains_with_the_seed(records):
    recipe = FunctionRecipe(train)
    assert isinstance(recipe, Recipe)
    rows = np.arange(30)
    answers = [recipe.fit(records, rows, seed).query(records.x, Access.SCORE).values for seed in (5, 5, 2**62 + 5, 6)]
    np.testing.assert_array_equal(answers[0], train(records.x[:30], records.y[:30], 5)(records.x))
    assert answers[0].tobytes() == answers[1].tobytes() != answers[3].tobytes()


def test_the_seed_fits_everyone(records):
    seen = []
    FunctionRecipe(lambda x, y, seed: seen.append(seed) or rows_of).fit(records, np.arange(9), 2**63 - 1)
    assert 0 <= seen[0] < 2**31


def test_whatever_as_target_takes(records):
    values = FunctionRecipe(train_estimator).fit(records, np.arange(30), 0).query(records.x, Access.SCORE).values
    expected = LogisticRegression().fit(records.x[:30], records.y[:30]).predict_proba(records.x)
    np.testing.assert_array_equal(values, expected)


def test_class_names_that_look_like_other_indices_do_not_confuse_it(records):
    # The records' classes are called 1, 2, 3; what the function trains on, and so answers, is 0, 1, 2.
    odd = Records(records.x, records.y, records.ids, classes=("1", "2", "3"))
    rows = np.flatnonzero(odd.y != 0)
    target = FunctionRecipe(train_estimator).fit(odd, rows, 0)
    assert (target.query(odd.x, Access.SCORE).values[:, 0] == 0).all()
    assert set(target.query(odd.x, Access.LABEL).values.tolist()) <= {1, 2}


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x, y, seed: None, "return a model, got None"),
        (lambda x, y: None, "failed on 9 records: TypeError"),
        (lambda x, y, seed: 1 / 0, "failed on 9 records: ZeroDivisionError: division by zero"),
        (lambda x, y, seed: 3, "Expected an estimator.*got int"),
    ],
)
def test_a_failing_function_ends_in_one_sentence(records, function, complaint):
    with pytest.raises(ModelError, match=complaint):
        FunctionRecipe(function).fit(records, np.arange(9), 0)


def test_a_class_is_no_function():
    with pytest.raises(UsageError, match="Expected a function"):
        FunctionRecipe(LogisticRegression)


def test_lambdas_work_in_processes(records):
    recipe = FunctionRecipe(lambda x, y, seed: train(x, y, seed))
    rows = np.arange(30)

    def job(seed):
        return recipe.fit(records, rows, seed).query(records.x, Access.SCORE).values

    there = dict(EXECUTORS.create("processes", {"workers": 1}).run(job, [4, 5]))
    for index, seed in enumerate((4, 5)):
        assert there[index].tobytes() == job(seed).tobytes()


def of(function):
    return FunctionRecipe(function).fingerprint()


def closing(size):
    return lambda x, y, seed: size


def defaulting(size):
    def inner(x, y, seed, size=size):
        return size

    return inner


def test_fingerprint_follows_the_function_and_what_it_holds():
    assert of(train) == of(train)
    assert of(train) != of(train_estimator)
    assert of(closing(1)) == of(closing(1)) != of(closing(2))
    assert of(defaulting(1)) == of(defaulting(1)) != of(defaulting(2))
    assert (
        of(partial(train_estimator, C=1.0))
        == of(partial(train_estimator, C=1.0))
        != of(partial(train_estimator, C=2.0))
    )
    assert of(closing(np.arange(3))) == of(closing(np.arange(3))) != of(closing(np.arange(4)))
    assert of(closing(LogisticRegression(C=1))) != of(closing(LogisticRegression(C=2)))
    assert FunctionRecipe(train, version="2").fingerprint() != of(train)
    pair = [lambda x, y, seed: 1, lambda x, y, seed: 2]
    assert of(pair[0]) != of(pair[1])


def test_fingerprint_follows_helpers_and_constants_of_the_same_module(monkeypatch):
    before = of(train)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    scaled = of(train)
    monkeypatch.setattr(sys.modules[__name__], "shift", lambda x: x + 2)
    assert len({before, scaled, of(train)}) == 3


def test_fingerprint_follows_code_without_source():
    def held(text):
        space = {"__name__": "nowhere"}
        exec(text, space)
        return closing(space["Net"]())

    text = "class Net:\n    width = 3\n    def go(self):\n        return 1\n"
    assert of(held(text)) == of(held(text))
    assert len({of(held(text)), of(held(text.replace("3", "4"))), of(held(text.replace("return 1", "return 2")))}) == 3


def test_fingerprint_follows_the_source(tmp_path, monkeypatch):
    def module(text):
        path = tmp_path / f"mod{abs(hash(text))}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("training", path)
        loaded = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "training", loaded)
        spec.loader.exec_module(loaded)
        return loaded

    text = "class Net:\n    width = 3\n\ndef train(x, y, seed):\n    return Net()\n"
    assert of(module(text).train) == of(module(text).train)
    assert of(module(text).train) != of(module(text.replace("return Net()", "return Net(), 1")).train)
    assert of(module(text).train) != of(module(text.replace("3", "4")).train)


def test_fingerprint_is_the_same_in_another_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        "WORDS = {'a', 'b', 'c'}\n"
        "def train(x, y, seed, pick=frozenset('abc')):\n"
        "    return (lambda z: z in {'p', 'q'})\n"
    )
    code = (
        "import mine; from vestige.backends.function import FunctionRecipe as F\n"
        "print(F(mine.train).fingerprint(), F(lambda x, y, s: x in {'u', 'v', 'w'}).fingerprint())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
    assert "mine:train" in texts.pop()


def test_fingerprints_tell_values_apart():
    values = [
        None,
        0,
        False,
        0.0,
        "0",
        b"0",
        [0],
        (0,),
        {0},
        {0: 0},
        1e-300,
        np.float32(0),
        np.arange(2),
        np.arange(2.0),
        len,
        dict,
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    loop = []
    loop.append(loop)
    assert fingerprint(loop) == fingerprint(loop)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match=r"can be compared, got .*Generator"):
        fingerprint(np.random.default_rng(0))


def test_from_config(records, tmp_path, monkeypatch):
    (tmp_path / "my_training.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "def train(x, y, seed, C=1.0):\n    return LogisticRegression(C=C).fit(x, y)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = RECIPES.get("function").from_config(function="my_training:train", C=0.5)
    assert recipe.fit(records, np.arange(30), 0).estimator.C == 0.5
    for missing in ("my_training:tran", "no_such_module_here:train"):
        with pytest.raises(ConfigError, match="Could not import the training function"):
            FunctionRecipe.from_config(function=missing)
