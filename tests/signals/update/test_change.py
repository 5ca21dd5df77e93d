"""What an update changed, measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vestige.backends.function import CallableTarget
from vestige.backends.updated import Updated
from vestige.errors import AccessError, UsageError
from vestige.records import Records
from vestige.signals import create
from vestige.signals.measure import measure
from vestige.signals.update.before_after import BeforeAfter
from vestige.signals.update.change import Change
from vestige.target import CountingTarget

N, CLASSES = 30, 4
G = np.random.default_rng(0)
RECORDS = Records(np.arange(N, dtype=np.float32)[:, None], G.integers(0, CLASSES, N), np.arange(N), None, tuple("abcd"))
LOGITS = [G.normal(size=(N, CLASSES)) * 2 for _ in range(3)]
ROWS = np.array([5, 2, 17])


def target(*logits, removed=False):
    answering = [
        CallableTarget(lambda x, own=own: own[np.asarray(x)[:, 0].astype(int)], classes=CLASSES, kind="logits")
        for own in logits
    ]
    return Updated(answering, removed=removed)


def phi(logits):
    """The log-odds of the true class, spelled out."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = p[np.arange(N), RECORDS.y]
    return np.log(own / (1 - own))


def found(model, key="change"):
    (values,) = measure(model, RECORDS, ROWS, [key]).values()
    return values


def test_a_change_is_the_difference_between_neighbouring_snapshots():
    expected = np.column_stack([phi(b) - phi(a) for a, b in pairwise(LOGITS)])[ROWS]
    np.testing.assert_allclose(found(target(*LOGITS))[:, 0], expected, rtol=1e-12)
    # What was removed is read backwards.
    np.testing.assert_allclose(found(target(*LOGITS, removed=True))[:, 0], -expected, rtol=1e-12)
    assert found(target(*LOGITS)).dtype == np.float64
    assert not found(target(*[LOGITS[0]] * 3)).any()


def test_a_ratio_of_losses_is_a_change_of_their_logarithm():
    losses = [np.logaddexp(0, -phi(own))[ROWS] for own in LOGITS[:2]]
    change = found(target(*LOGITS[:2]), "change(signal='negative_log_loss')")[:, 0]
    np.testing.assert_allclose(change, np.log(losses[0] / losses[1]), rtol=1e-9)


def test_every_snapshot_is_asked_once_and_counted():
    counting = CountingTarget(target(*LOGITS))
    measure(counting, RECORDS, ROWS, ["change"])
    assert counting.queries == 3 * len(ROWS)
    measure(counting, RECORDS, ROWS, ["before_after"])
    assert counting.queries == 5 * len(ROWS)


def test_a_zero_stands_for_the_same_before_and_after():
    """A model that rounds one answer to zero and not the other must not look as if everything had changed."""
    exact = np.full((N, CLASSES), 0.25)
    rounded = np.where(np.arange(CLASSES) == RECORDS.y[:, None], 0.0, 1 / 3)
    answering = [
        CallableTarget(lambda x, own=own: own[np.asarray(x)[:, 0].astype(int)], classes=CLASSES, kind="probabilities")
        for own in (exact, rounded)
    ]
    change = Change().measure(Updated(answering), RECORDS, ROWS, G)
    assert (np.abs(change) < 8).all()
    assert (change < -4).all()


def test_a_residual_counts_without_its_sign():
    records = Records(RECORDS.x, np.zeros(N), RECORDS.ids)
    model = Updated([CallableTarget(lambda x, v=v: np.full(len(x), v), task="regression") for v in (-2.0, 0.5)])
    assert np.allclose(measure(model, records, ROWS, ["change(signal='residual')"])["change(signal='residual')"], -1.5)


def test_whole_answers_are_of_the_model_without_then_of_that_with():
    soft = [np.exp(own) / np.exp(own).sum(axis=1, keepdims=True) for own in LOGITS]
    plain, turned = (BeforeAfter().measure(target(*LOGITS, removed=r), RECORDS, ROWS, G) for r in (False, True))
    np.testing.assert_allclose(plain, np.hstack([soft[0], soft[2]])[ROWS], rtol=1e-9)
    np.testing.assert_allclose(turned, np.hstack([soft[2], soft[0]])[ROWS], rtol=1e-9)


def test_what_cannot_change_or_was_not_updated_says_so():
    with pytest.raises(UsageError, match="one answer shows"):
        create("change(signal='gradient_norm')")
    with pytest.raises(UsageError, match="one number per record"):
        Change(signal="log_probabilities").measure(target(*LOGITS), RECORDS, ROWS, G)
    with pytest.raises(UsageError, match="model that was updated"):
        measure(target(*LOGITS).snapshots[0], RECORDS, ROWS, ["change"])
    labels = [CallableTarget(lambda x: np.zeros(len(x), int), classes=CLASSES, kind="labels")] * 2
    with pytest.raises(AccessError, match="score access"):
        BeforeAfter().measure(Updated(labels), RECORDS, ROWS, G)
    assert Change(signal="residual").tasks == {"regression"}
