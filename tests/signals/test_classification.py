from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.slow_signals import slow_signals
from vestige.errors import AccessError, ModelError, UsageError
from vestige.signals import SIGNALS, OutputSignal, create, measure_outputs
from vestige.target import Outputs
from vestige.testing import ConformanceError, check_signal

ANSWERED = [name for name in SIGNALS.names() if isinstance(create(name), OutputSignal)]
CLASSIFIER = [name for name in ANSWERED if "classification" in create(name).tasks]


def one(key, logits, y, kind="logits", **options):
    values = measure_outputs(
        Outputs(kind, np.atleast_2d(np.asarray(logits, np.float64))), np.array([y]), [key], **options
    )
    return values[key][0]


@pytest.mark.parametrize("name", ANSWERED)
def test_conforms(name):
    check_signal(create(name))


def test_conformance_finds_a_signal_that_is_not_shift_free():
    class Raw(type(create("loss"))):
        """Largest logit."""

        def read(self, answer):
            return answer.logits.max(axis=1)

    with pytest.raises(ConformanceError, match="constant"):
        check_signal(Raw())


@pytest.mark.parametrize(("a", "phi"), [(40.0, 37.8028), (120.0, 117.8028), (800.0, 797.8028)])
def test_log_odds_of_extreme_logits(a, phi):
    logits = np.zeros(10)
    logits[0] = a
    assert one("log_odds", logits, 0)[0] == pytest.approx(phi, abs=1e-4)
    assert one("log_odds", logits.astype(np.float32), 0)[0] == pytest.approx(phi, abs=1e-4)
    assert one("loss", logits, 0)[0] == pytest.approx(np.exp(-phi), rel=1e-4, abs=1e-45)


def test_modified_entropy_by_hand():
    uniform = np.full(10, 0.1)
    assert one("entropy", uniform, 3, "probabilities")[0] == pytest.approx(2.302585, abs=1e-6)
    assert one("modified_entropy", uniform, 3, "probabilities")[0] == pytest.approx(2.167151, abs=1e-6)
    three = [0.7, 0.2, 0.1]
    assert one("modified_entropy", three, 0, "probabilities")[0] == pytest.approx(0.162167, abs=1e-6)
    assert one("modified_entropy", three, 1, "probabilities")[0] == pytest.approx(2.140867, abs=1e-6)


def test_modified_entropy_of_one_hot_answers():
    right = {
        key: one(key, [1.0, 0.0], 0, "probabilities", resolution=1e-30)[0] for key in ("entropy", "modified_entropy")
    }
    assert right["entropy"] == pytest.approx(0.0, abs=1e-12)
    assert right["modified_entropy"] == pytest.approx(0.0, abs=1e-12)
    assert one("entropy", [0.0, 1.0], 0, "probabilities", resolution=1e-30)[0] == pytest.approx(0.0, abs=1e-12)
    assert one("modified_entropy", [0.0, 1.0], 0, "probabilities", resolution=1e-30)[0] == pytest.approx(
        138.155, abs=1e-3
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-6, 6), st.floats(-700, 700)), min_size=2, max_size=6),
    st.integers(0, 5),
)
def test_every_signal_agrees_with_its_definition(logits, y):
    y %= len(logits)
    expected = slow_signals(logits, y)
    got = measure_outputs(Outputs("logits", np.array([logits])), np.array([y]), list(expected))
    for key, values in expected.items():
        row = got[key][0]
        # Differences of scores cross zero, where float64 itself leaves an absolute error; the others must not need one.
        absolute = 1e-13 if key in ("log_odds", "hinge", "std_probability") else 1e-37
        np.testing.assert_allclose(row[: len(values)], np.float32(values), rtol=3e-6, atol=absolute, err_msg=key)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=8), st.integers(0, 7), st.floats(0.01, 5))
def test_modified_entropy_falls_as_the_true_class_gains(logits, y, step):
    y %= len(logits)
    more = list(logits)
    more[y] += step
    assert one("modified_entropy", more, y)[0] <= one("modified_entropy", logits, y)[0]
    gap = one("hinge", logits, y)[0] - one("log_odds", logits, y)[0]
    assert -1e-4 <= gap <= np.log(len(logits) - 1) + 1e-4


def test_temperature_divides_the_scores():
    rows = np.random.default_rng(0).normal(0, 3, (20, 5))
    y = np.arange(20) % 5
    hot = measure_outputs(Outputs("logits", rows), y, ["log_probability(temperature=2.0)"])
    plain = measure_outputs(Outputs("logits", rows / 2.0), y, ["log_probability"])
    np.testing.assert_allclose(hot["log_probability(temperature=2.0)"], plain["log_probability"], rtol=1e-6)


def test_taylor_softmax_by_hand_and_in_order():
    key = "taylor_log_probability(margin=0.5,order=2,temperature=1.0)"
    x, margin = np.array([2.0, 0.0, 1.0]), 0.5
    poly = 1 + x + x**2 / 2
    own = 1 + (2.0 - margin) + (2.0 - margin) ** 2 / 2
    assert one(key, x, 0)[0] == pytest.approx(np.log(own / (own + poly[1] + poly[2])), rel=1e-6)
    rising = [one("taylor_log_probability", [score, 0.0, -3.0], 0)[0] for score in np.linspace(-8, 40, 60)]
    assert np.all(np.diff(rising) > 0)


@pytest.mark.parametrize("key", ["taylor_log_probability(order=3)", "log_probability(temperature=0.0)"])
def test_impossible_parameters_are_refused(key):
    with pytest.raises(UsageError, match="Expected"):
        create(key)


def test_top_probabilities_ignore_class_names_and_pad_two_classes():
    row = np.array([0.5, -1.0, 3.0, 0.0])
    np.testing.assert_array_equal(one("top_probabilities", row, 0), one("top_probabilities", row[[2, 0, 3, 1]], 3))
    padded = one("top_probabilities", [1.0, 0.0], 0)
    assert padded.shape == (3,)
    assert padded[2] == pytest.approx(-87.34, abs=0.01)


def test_a_single_logit_is_the_second_of_two_classes():
    single, double = np.array([[2.0], [-1.0]]), np.array([[0.0, 2.0], [0.0, -1.0]])
    y = np.array([1, 1])
    for name in CLASSIFIER:
        one_column = measure_outputs(Outputs("logits", single), y, [name])[name]
        np.testing.assert_allclose(
            one_column, measure_outputs(Outputs("logits", double), y, [name])[name], err_msg=name
        )
    p = 1 / (1 + np.exp(-single))
    loss = measure_outputs(Outputs("probabilities", p), y, ["loss"])["loss"]
    np.testing.assert_allclose(loss[:, 0], np.log1p(np.exp(-single[:, 0])), rtol=1e-6)


def test_labels_show_correctness_and_nothing_else():
    answer = Outputs("labels", np.array([0, 2, 1]))
    y = np.array([0, 1, 1])
    assert measure_outputs(answer, y, ["correct"])["correct"][:, 0].tolist() == [1.0, 0.0, 1.0]
    assert measure_outputs(answer, y, ["predicted_class"])["predicted_class"][:, 0].tolist() == [0.0, 2.0, 1.0]
    for name in CLASSIFIER:
        if name not in ("correct", "predicted_class"):
            with pytest.raises(AccessError, match="labels only"):
                measure_outputs(answer, y, [name])


def test_regression_signals_are_refused_for_classes():
    with pytest.raises(ModelError, match="class scores"):
        measure_outputs(Outputs("logits", np.zeros((2, 3))), np.array([0, 1]), ["residual"])
