from __future__ import annotations

import numpy as np
import pytest

from vestige.errors import ModelError
from vestige.signals import measure_outputs
from vestige.target import Outputs


def test_values_by_hand():
    answer, y = Outputs("values", np.array([1.0, 2.5, 3.0])), np.array([1.0, 2.0, 5.0])
    got = measure_outputs(answer, y, ["loss", "residual", "negative_log_loss"])
    np.testing.assert_allclose(got["residual"][:, 0], [0.0, 0.5, -2.0])
    np.testing.assert_allclose(got["loss"][:, 0], [0.0, 0.25, 4.0])
    np.testing.assert_allclose(got["negative_log_loss"][:, 0], [87.3365, -np.log(0.25), -np.log(4.0)], rtol=1e-5)


def test_negative_log_loss_of_a_classifier():
    got = measure_outputs(Outputs("logits", np.array([[0.0, 0.0]])), np.array([1]), ["negative_log_loss"])
    assert got["negative_log_loss"][0, 0] == pytest.approx(-np.log(np.log(2.0)), rel=1e-6)


def test_class_signals_are_refused_for_numbers():
    with pytest.raises(ModelError, match="answers numbers"):
        measure_outputs(Outputs("values", np.zeros(2)), np.zeros(2), ["log_odds"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_must_be_finite(bad):
    with pytest.raises(ModelError, match="1 of 3 rows"):
        measure_outputs(Outputs("values", np.array([0.0, bad, 1.0])), np.zeros(3), ["loss"])
