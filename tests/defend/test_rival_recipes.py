"""Defences that train in a way of their own: what all their recipes must be able to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rival_pools import RESERVE, ROWS, SEEDS, SMALL, Branching, defence, layered, pool, recipe
from vestige.backends.function import FunctionRecipe
from vestige.backends.sklearn import SklearnRecipe
from vestige.defend.base import Trait
from vestige.defend.layers import Layers
from vestige.errors import ConfigError, UsageError
from vestige.records import Records
from vestige.target import Access
from vestige.testing import check_defence

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp", "hidden": (16,)},
    "layered": {"model": layered},
    "branching": {"model": Branching},
    "cnn": {"model": "cnn", "channels": (4, 4), "hidden": (8,), "augment": "shift"},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_conformance_kit_passes(name: str) -> None:
    check_defence(defence(name))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", SMALL)
def test_the_same_bytes_alone_in_company_and_from_the_store(name: str, model: str) -> None:
    records, wrapped = pool(image=model == "cnn"), defence(name).wrap(recipe(**MODELS[model]), RESERVE)
    together = wrapped.fit_many(records, ROWS, SEEDS)
    for target, rows, seed in zip(together, ROWS, SEEDS, strict=True):
        alone = wrapped.fit(records, rows, seed).state()
        state = target.state()
        assert state.keys() == alone.keys()
        assert all(np.array_equal(state[key], alone[key]) for key in state)
        restored = wrapped.restore(records, state)
        for want in (Access.SCORE, Access.LABEL):
            found = target.query(records.x, want)
            assert np.array_equal(restored.query(records.x, want).values, found.values)
    assert len({target.query(records.x, Access.SCORE).values.tobytes() for target in together}) == len(together)


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"stacking"}))
def test_a_model_followed_ends_as_the_one_trained(name: str) -> None:
    records, wrapped, seen = pool(), defence(name).wrap(recipe(Branching), RESERVE), []
    wrapped.follow(records, ROWS[0], 5, RESERVE, seen.append)
    found = wrapped.fit(records, ROWS[0], 5).query(records.x[RESERVE], Access.SCORE)
    assert len(seen) >= 2
    assert np.array_equal(seen[-1].values, found.values)


@pytest.mark.parametrize("name", ["adversarial_regularization", "mixup_mmd", "dmp"])
def test_those_that_need_records_of_their_own_say_which(name: str) -> None:
    one, inner = defence(name), recipe()
    with pytest.raises(ConfigError, match="the defender's own"):
        one.wrap(inner, np.zeros(0, np.int64))
    assert one.wrap(inner, RESERVE).fingerprint() != one.wrap(inner, RESERVE[1:]).fingerprint()
    with pytest.raises(UsageError, match="keeps records of its own"):
        one.wrap(inner, RESERVE).fit(pool(), np.arange(200, 250), 1)


@pytest.mark.parametrize("name", SMALL)
def test_what_cannot_be_defended_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'"):
        defence(name).wrap(FunctionRecipe(lambda x, y, seed: None), RESERVE)
    numbers = Records.build(pool().x, np.linspace(0, 1, 320))
    with pytest.raises(ConfigError, match="needs classes"):
        defence(name).wrap(recipe(), RESERVE).fit(numbers, ROWS[0], 1)
    assert defence(name).claim(recipe(), 100) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("adversarial_regularization", {"strength": -1.0}),
        ("adversarial_regularization", {"hidden": ()}),
        ("adversarial_regularization", {"sees": "labels"}),
        ("adversarial_regularization", {"attack_steps": 0}),
        ("adversarial_training", {"epsilon": 1.5}),
        ("adversarial_training", {"aim": "fame"}),
        ("mixup_mmd", {"matched": 1}),
        ("mixup_mmd", {"start": 2.0}),
        ("stacking", {"c": 0.0}),
        ("stacking", {"trees": 0}),
        ("selena", {"without": 4}),
        ("selena", {"models": 1}),
        ("dmp", {"kept": 0.0}),
        ("dmp", {"temperature": 0.0}),
        ("dmp", {"epochs": 0}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        defence(name, **wrong)


@pytest.mark.parametrize("name", ["adversarial_regularization", "adversarial_training", "mixup_mmd"])
def test_blends_of_another_layer_are_refused_where_they_mean_something_else(name: str) -> None:
    with pytest.raises(ConfigError, match="blend"):
        defence(name).wrap(recipe(mixup=1.0), RESERVE)


def test_private_training_goes_with_the_students_of_other_records_alone() -> None:
    from vestige.defend import DEFENCES

    private = DEFENCES.create("dp_sgd", {"noise_multiplier": 2.0, "delta": 1e-3})
    chain = Layers((("dp_sgd", private), ("dmp", defence("dmp"))))
    inner = recipe("mlp", hidden=(8,), epochs=1)
    claim = chain.claim(inner, 130)
    assert claim is not None
    assert 0 < claim.epsilon < 8
    taught = defence("dmp").wrap(private.wrap(inner, RESERVE), RESERVE).fit(pool(), ROWS[0], 1)
    assert taught.query(pool().x[:3], Access.SCORE).values.shape == (3, 4)
    for name in SMALL.keys() - {"dmp"}:
        # A loop of their own, or members seen a second time: the noise of a training before them is not in it.
        with pytest.raises(ConfigError):
            stacked(private, name, inner)


def stacked(private: Any, name: str, inner: Any) -> Any:
    Layers((("dp_sgd", private), (name, defence(name))))
    return defence(name).wrap(private.wrap(inner, RESERVE), RESERVE)


def test_estimators_can_be_stacked_and_nothing_else() -> None:
    from sklearn.linear_model import LogisticRegression

    inner = SklearnRecipe(LogisticRegression())
    for name in SMALL.keys() - {"stacking"}:
        with pytest.raises(ConfigError, match="torch"):
            defence(name).wrap(inner, RESERVE)
    wrapped = defence("stacking").wrap(inner, RESERVE)
    target = wrapped.fit(pool(), ROWS[0], 5)
    assert (target.query(pool().x, Access.LABEL).values == pool().y).mean() > 0.6
    assert Trait.REPLACES_TRAINING in defence("stacking").traits
