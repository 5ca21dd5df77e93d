import numpy as np
import pytest
from scipy.special import softmax

from vestige.checks import (
    outputs_clipped,
    outputs_rounded,
    outputs_softmaxed,
    outputs_tied,
    target_batch_dependent,
    target_not_deterministic,
    target_train_mode,
)
from vestige.seeds import rng

LOGITS = rng(0, "outputs").normal(0, 3, (400, 5))
PROBABILITIES = softmax(LOGITS, axis=1)


def test_training_mode_is_an_error():
    assert target_train_mode(False) is None
    assert (target_train_mode(True).id, target_train_mode(True).level) == ("target-train-mode", "error")


@pytest.mark.parametrize(
    ("check", "name", "level"),
    [
        (target_not_deterministic, "target-not-deterministic", "warning"),
        (target_batch_dependent, "target-batch-dependent", "error"),
    ],
)
def test_answers_that_differ(check, name, level):
    assert check(LOGITS, LOGITS) is None
    assert check(LOGITS, LOGITS + 1e-6) is None  # float32 sums in another order
    other = LOGITS.copy()
    other[:100] += 0.5
    found = check(LOGITS, other)
    assert (found.id, found.level) == (name, level)
    assert "25%" in found.message
    assert "0.5" in found.message


def test_labels_can_be_compared_too():
    assert target_not_deterministic(np.array([1, 2, 3]), np.array([1, 2, 3])) is None
    assert "33%" in target_not_deterministic(np.array([1, 2, 3]), np.array([1, 2, 4])).message


def test_ties():
    assert outputs_tied(LOGITS[:, 0]) is None
    assert outputs_tied(np.zeros(10)) is None  # all-scores-equal says that
    coarse = outputs_tied(np.round(LOGITS[:, 0], 1), name="loss")
    assert (coarse.id, coarse.level) == ("outputs-tied", "info")
    heavy = outputs_tied(np.where(np.arange(400) < 100, 0.0, LOGITS[:, 0]), name="loss")
    assert heavy.level == "warning"
    assert "of loss take 301 values; 25.0% of records share one" in heavy.message


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounded_probabilities(digits, dtype):
    check = outputs_rounded(np.round(PROBABILITIES, digits).astype(dtype))
    assert (check.id, check.level) == ("outputs-rounded", "warning")
    assert f"{digits} decimals" in check.message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_in_full_are_not_rounded(dtype):
    assert outputs_rounded(PROBABILITIES.astype(dtype)) is None
    assert outputs_rounded(np.round(PROBABILITIES, 6).astype(dtype)) is None
    assert outputs_rounded(np.eye(5)) is None  # nothing between 0 and 1 to judge by


def test_clipped_probabilities():
    assert outputs_clipped(PROBABILITIES) is None
    sharp = softmax(LOGITS.astype(np.float32) * 40, axis=1)
    check = outputs_clipped(sharp)
    assert (check.id, check.level) == ("outputs-clipped", "warning")
    assert "a probability of exactly 1." in check.message
    assert "0.9" in outputs_clipped(np.minimum(PROBABILITIES, 0.9)).message


def test_softmaxed_logits():
    assert outputs_softmaxed(LOGITS) is None
    assert outputs_softmaxed(np.abs(LOGITS)) is None
    check = outputs_softmaxed(PROBABILITIES.astype(np.float32))
    assert (check.id, check.level) == ("outputs-softmaxed", "info")
