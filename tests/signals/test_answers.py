from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from vestige.errors import ModelError, UsageError
from vestige.signals import create, measure_outputs, resolution_of
from vestige.target import Outputs

KEYS = [
    "loss",
    "log_odds",
    "hinge",
    "entropy",
    "modified_entropy",
    "top_probabilities",
    "log_probabilities",
    "std_probability",
]


def logits(rows=50, classes=6, seed=0, scale=4.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (rows, classes)), rng.integers(0, classes, rows)


def test_probabilities_mean_what_their_logits_mean():
    scores, y = logits()
    plain = measure_outputs(Outputs("logits", scores), y, KEYS)
    for kind, answer in (("probabilities", softmax(scores, axis=1)), ("logits", log_softmax(scores, axis=1))):
        again = measure_outputs(Outputs(kind, answer), y, KEYS)
        for key in KEYS:
            np.testing.assert_allclose(again[key], plain[key], rtol=1e-5, atol=1e-7, err_msg=key)


def test_saturated_float32_probabilities_keep_their_order():
    scores = np.zeros((30, 3))
    scores[:, 0] = np.linspace(5, 60, 30)
    p = softmax(scores, axis=1).astype(np.float32)
    phi = measure_outputs(Outputs("probabilities", p), np.zeros(30, np.int64), ["log_odds"])["log_odds"][:, 0]
    assert np.all(np.diff(phi) > 0)
    np.testing.assert_allclose(phi, scores[:, 0] - np.log(2.0), rtol=1e-5)


def test_an_exact_zero_stands_for_less_than_anything_shown():
    p = np.array([[1.0, 0.0, 0.0], [0.96, 0.04, 0.0], [0.0, 0.5, 0.5]])
    assert resolution_of(Outputs("probabilities", p)) == 1e-3
    assert resolution_of(Outputs("probabilities", np.array([[1.0, 0.0], [1 - 1e-5, 1e-5]]))) == pytest.approx(5e-6)
    assert resolution_of(Outputs("probabilities", np.array([[0.5, 0.5]], np.float32))) == np.finfo(np.float32).tiny
    got = measure_outputs(Outputs("probabilities", p), np.array([0, 0, 0]), KEYS)
    assert all(np.isfinite(values).all() for values in got.values())
    assert np.all(np.diff(got["log_odds"][:, 0]) < 0)


def test_classes_hidden_by_truncation_share_what_is_left():
    # The two largest of ten probabilities are shown and 0.3 is hidden: the true class is not certain.
    p = np.zeros((1, 10))
    p[0, :2] = 0.5, 0.2
    loss = measure_outputs(Outputs("probabilities", p), np.array([0]), ["loss"])["loss"][0, 0]
    assert loss == pytest.approx(-np.log(0.5), rel=1e-6)
    hidden = measure_outputs(Outputs("probabilities", p), np.array([9]), ["loss"])["loss"][0, 0]
    assert hidden == pytest.approx(-np.log(0.3 / 8), rel=1e-6)


def test_minus_infinity_is_a_class_ruled_out():
    got = measure_outputs(Outputs("logits", np.array([[0.0, 1.0, -np.inf]])), np.array([1]), [*KEYS, "entropy"])
    assert all(np.isfinite(values).all() for values in got.values())
    assert got["log_odds"][0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "values", "labels", "says"),
    [
        ("logits", np.array([[0.0, np.nan], [0.0, 1.0], [np.nan, np.nan]]), [0, 1, 0], "NaN in 2 of 3 rows"),
        ("logits", np.array([[0.0, np.inf], [0.0, 1.0]]), [0, 1], "infinite number in 1 of 2"),
        ("logits", np.array([[-np.inf, -np.inf]]), [0], "only infinite"),
        ("logits", np.zeros((2, 3)), [0, 3], "3 columns and labels from 0 to 3"),
        ("logits", np.zeros((2, 3)), [-1, 2], "labels from -1"),
        ("logits", np.zeros((2, 3)), [0.5, 1.0], "fractions"),
        ("logits", np.zeros((2, 3)), [0], "2 answers for 1 records"),
        ("probabilities", np.array([[2.0, -1.0]]), [0], "outside 0 to 1"),
        ("probabilities", np.zeros((1, 2)), [0], "only zeros"),
    ],
)
def test_an_answer_that_is_none_is_refused(kind, values, labels, says):
    with pytest.raises(ModelError, match=says):
        measure_outputs(Outputs(kind, values), np.array(labels), ["loss"])


def test_the_number_of_columns_is_checked_when_known():
    with pytest.raises(ModelError, match="Expected 4 columns"):
        measure_outputs(Outputs("logits", np.zeros((2, 3))), np.array([0, 1]), ["loss"], classes=4)
    measure_outputs(Outputs("logits", np.zeros((2, 1))), np.array([0, 1]), ["loss"], classes=2)


def test_rows_counted_over_the_whole_answer_not_one_run_of_it():
    scores = np.zeros((200_000, 3))
    scores[[5, 150_000]] = np.nan
    with pytest.raises(ModelError, match="2 of 200,000 rows"):
        measure_outputs(Outputs("logits", scores), np.zeros(len(scores), np.int64), ["loss"])


def test_long_answers_are_the_same_as_short_ones():
    scores, y = logits(rows=60_000, classes=5)
    whole = measure_outputs(Outputs("logits", scores.astype(np.float32)), y, KEYS)
    part = measure_outputs(Outputs("logits", scores[50_000:].astype(np.float32)), y[50_000:], KEYS)
    for key in KEYS:
        assert whole[key].dtype == np.float32
        np.testing.assert_array_equal(whole[key][50_000:], part[key])


def test_an_empty_answer_has_empty_signals():
    got = measure_outputs(Outputs("logits", np.zeros((0, 4))), np.zeros(0, np.int64), ["loss", "top_probabilities"])
    assert got["loss"].shape == (0, 1)
    assert got["top_probabilities"].shape == (0, 3)


@pytest.mark.parametrize(
    "key", ["loss", "log_probability(temperature=2.0)", "taylor_log_probability(margin=0.0,order=2)"]
)
def test_keys_name_signals(key):
    assert type(create(key)) is type(create(key.split("(")[0]))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("los", "'loss'"),
        ("log_probability(temprature=2.0)", "temperature"),
        ("log_probability(2.0)", "Expected a signal key"),
        ("log_probability(temperature=open('x'))", "Expected a signal key"),
        ("log_probability(temperature=2.0", "Expected a signal key"),
    ],
)
def test_keys_that_name_nothing_are_refused(key, says):
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        create(key)
