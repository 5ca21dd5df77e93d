"""Simple answer defences: what they keep, what they take, and that asking again gives nothing more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from vestige.defend.answers.rounding import LabelOnly, Rounding
from vestige.defend.answers.softening import OutputNoise, Temperature
from vestige.defend.answers.truncation import TopK
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, ModelError
from vestige.target import Access, Outputs


def answers(seed: int = 0, rows: int = 200, classes: int = 7, spread: float = 3.0) -> tuple[Outputs, Tickets]:
    r = np.random.default_rng(seed)
    logits = Outputs("logits", (spread * r.standard_normal((rows, classes))).astype(np.float32))
    return logits, Tickets(r.standard_normal((rows, 3)), b"key")


@given(st.integers(0, 50), st.integers(1, 9))
def test_the_largest_scores_stay_and_the_rest_is_nothing(seed: int, k: int) -> None:
    outputs, tickets = answers(seed)
    found = TopK(k=k).apply(outputs, tickets).values
    scores = softmax(outputs.values.astype(float), axis=1)
    assert ((found > 0).sum(1) == min(k, 7)).all()
    assert (found.argmax(1) == scores.argmax(1)).all()
    np.testing.assert_allclose(np.sort(found, 1)[:, -k:], np.sort(scores, 1)[:, -k:])


@given(st.integers(0, 50), st.integers(0, 4), st.floats(0.01, 5))
def test_rounding_keeps_the_label_even_where_scores_tie(seed: int, digits: int, spread: float) -> None:
    outputs, tickets = answers(seed, spread=spread)
    found = Rounding(digits=digits).apply(outputs, tickets)
    assert (found.values.argmax(1) == outputs.values.argmax(1)).all()
    np.testing.assert_allclose(found.values, np.round(found.values, digits), atol=1e-12)
    scores = softmax(outputs.values.astype(float), axis=1)
    assert np.abs(found.values - scores).max() <= 1.5 * 10.0**-digits + 1e-12
    again = Rounding(digits=digits).apply(found, tickets)
    np.testing.assert_allclose(again.values, found.values, atol=1e-12)


def test_labels_alone_are_left() -> None:
    outputs, tickets = answers()
    found = LabelOnly().apply(outputs, tickets)
    assert found.kind == "labels"
    assert LabelOnly().apply(found, tickets) is found
    assert LabelOnly().shows(Access.SCORE) == Access.LABEL
    with pytest.raises(ModelError):
        LabelOnly().apply(Outputs("values", np.zeros(3)), tickets)


def test_a_temperature_of_one_changes_nothing_and_a_high_one_flattens() -> None:
    outputs, tickets = answers()
    scores = softmax(outputs.values.astype(float), axis=1)
    np.testing.assert_allclose(Temperature(temperature=1.0).apply(outputs, tickets).values, scores)
    flat = Temperature(temperature=1e6).apply(outputs, tickets).values
    np.testing.assert_allclose(flat, 1 / 7, atol=1e-4)
    given_probabilities = Temperature(temperature=2.0).apply(Outputs("probabilities", scores), tickets).values
    np.testing.assert_allclose(
        given_probabilities, Temperature(temperature=2.0).apply(outputs, tickets).values, atol=1e-9
    )


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_asking_a_thousand_times_says_no_more_than_asking_once(law: str) -> None:
    outputs, _ = answers(rows=1)
    x = np.ones((1, 3))
    repeats = [
        OutputNoise(scale=1.0, law=law).apply(outputs, Tickets(x, b"key")).values
        for _ in range(1000)  # type: ignore[arg-type]
    ]
    assert all(np.array_equal(one, repeats[0]) for one in repeats)
    other = OutputNoise(scale=1.0, law=law).apply(outputs, Tickets(x, b"another")).values  # type: ignore[arg-type]
    assert not np.allclose(other, repeats[0])


def test_averaging_over_records_close_to_one_undoes_only_noise_without_a_grain() -> None:
    x = np.random.default_rng(0).random((1, 200))
    close = np.repeat(x, 400, axis=0) + 1e-5 * np.random.default_rng(1).standard_normal((400, 200))
    logits = np.repeat(np.array([[1.0, 0.0, -1.0]]), 400, axis=0)

    def far(grain: float) -> float:
        noisy = OutputNoise(keep_label=False, grain=grain).apply(Outputs("logits", logits), Tickets(close, b"key"))
        guess = np.log(noisy.values).mean(0)
        return float(np.abs((guess - guess.mean()) - logits[0]).max())

    assert far(0.0) < 0.2
    assert far(0.1) > 0.4


def test_noise_keeps_the_label_only_when_told_to() -> None:
    outputs, tickets = answers(rows=500, spread=0.5)
    first = outputs.values.argmax(1)
    kept = OutputNoise(scale=3.0).apply(outputs, tickets).values
    free = OutputNoise(scale=3.0, keep_label=False).apply(outputs, tickets).values
    assert (kept.argmax(1) == first).all()
    assert (free.argmax(1) != first).any()
    np.testing.assert_allclose(np.sort(kept, 1), np.sort(free, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: TopK(k=0),
        lambda: TopK(k=1.5),  # type: ignore[arg-type]
        lambda: OutputNoise(grain=-1.0),
        lambda: Rounding(digits=-1),
        lambda: Rounding(digits=40),
        lambda: Temperature(temperature=0.0),
        lambda: Temperature(temperature=float("nan")),
        lambda: OutputNoise(scale=-1.0),
        lambda: OutputNoise(law="cauchy"),  # type: ignore[arg-type]
    ],
)
def test_impossible_parameters_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        make()


def test_a_regression_has_no_scores_to_change() -> None:
    with pytest.raises(ModelError, match="classifier"):
        TopK().apply(Outputs("values", np.zeros(3)), Tickets(np.zeros((3, 1)), b"k"))


@pytest.mark.parametrize("defence", [TopK(k=2), TopK(k=20), Rounding(digits=1), LabelOnly()])
def test_doing_it_again_changes_nothing(defence) -> None:  # type: ignore[no-untyped-def]
    outputs, tickets = answers(classes=30)
    once = defence.apply(outputs, tickets)
    np.testing.assert_allclose(defence.apply(once, tickets).values, once.values, atol=1e-12)


@given(st.integers(0, 30), st.integers(1, 25))
def test_the_largest_are_those_of_a_stable_sort_however_many(seed: int, k: int) -> None:
    scores = np.random.default_rng(seed).integers(1, 6, (50, 25)) / 100.0
    found = TopK(k=k).apply(Outputs("probabilities", scores), answers(rows=50)[1]).values
    kept = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    wanted = np.zeros_like(scores)
    np.put_along_axis(wanted, kept, np.take_along_axis(scores, kept, 1), 1)
    assert np.array_equal(found, wanted)
