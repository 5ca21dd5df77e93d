"""Records of zeros and a few ones train through sums of table rows: the same models as by multiplying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("scipy.sparse")
from torch import nn  # noqa: E402

from reference.plain_training import train_plainly  # noqa: E402
from vestige.backends.ensemble import indicators, stacked  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.records import Records  # noqa: E402

CLASSES = 5
FEATURES = 90
pytestmark = pytest.mark.skipif(not indicators.usable(), reason="this build of torch has no vector code for tables")


@pytest.fixture(autouse=True)
def _small_layers_count(monkeypatch):
    """Take the tables at sizes that a test can afford."""
    monkeypatch.setattr(indicators, "ONEDNN_FROM", 1)


@pytest.fixture
def taken(monkeypatch):
    """Count the trainings that took the tables."""
    found = []
    original = stacked.Folded

    def note(*args):
        found.append(args)
        return original(*args)

    monkeypatch.setattr(stacked, "Folded", note)
    return found


def population(*, density=0.1, dtype=np.uint8, n=170, features=FEATURES, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    x = rng.random((n, features)) < density
    x[np.arange(n), y] = True
    x[3] = False
    return Records(x.astype(dtype), y.astype(np.int64), np.arange(n), None, tuple("abcde"))


def two_layers(width=24, *, bias=True):
    return lambda: nn.Sequential(nn.Linear(FEATURES, width, bias=bias), nn.ReLU(), nn.Linear(width, CLASSES))


def rows_of(records, models, seed=1):
    rng = np.random.default_rng(seed)
    return [np.flatnonzero(rng.random(len(records)) < 0.5 + 0.05 * k) for k in range(models)]


CASES = {
    "bytes": ({}, two_layers()),
    "floats": ({"dtype": np.float32}, two_layers()),
    "no bias": ({}, two_layers(bias=False)),
    "odd width": ({}, two_layers(13)),
    "logistic": ({}, lambda: nn.Sequential(nn.Linear(FEATURES, CLASSES))),
    "no relu": ({}, lambda: nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, CLASSES))),
    "batch norm": (
        {},
        # Without a bias: normalisation makes its gradient mere rounding, which Adam would blow up.
        lambda: nn.Sequential(
            nn.Linear(FEATURES, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)
        ),
    ),
}


OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=5e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=0.005, weight_decay=5e-4),
}


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("name", CASES)
def test_tables_give_what_the_plain_loop_gives(name, optimizer, taken):
    options, build = CASES[name]
    records = population(**options)
    lr = 0.02 if optimizer == "sgd" else 0.005
    recipe = TorchRecipe(model=build, epochs=2, batch_size=32, lr=lr, optimizer=optimizer, normalize="none")
    rows = [own[: len(own) - (len(own) % 32 == 1)] for own in rows_of(records, 3)]
    targets = recipe.fit_many(records, rows, [5, 6, 7])
    assert len(taken) == 1
    x, y = torch.tensor(records.x.astype(np.float32)), torch.tensor(records.y)
    for target, own, seed in zip(targets, rows, [5, 6, 7], strict=True):
        reference = train_plainly(
            build, x, y, own, seed, epochs=2, batch_size=32, schedule="cosine", optimizer=OPTIMISERS[optimizer]
        )
        state = target.state()
        assert state.keys() == reference.state_dict().keys()
        for key, tensor in reference.state_dict().items():
            np.testing.assert_allclose(state[key], tensor.numpy(), rtol=2e-3, atol=2e-4, err_msg=key)


@pytest.mark.parametrize("width", [24, 13, 32])
def test_models_do_not_depend_on_their_neighbours(width, taken):
    records = population()
    recipe = TorchRecipe(model=two_layers(width), epochs=3, batch_size=32, lr=0.05)
    rows, seeds = rows_of(records, 5), list(range(5))
    together = recipe.fit_many(records, rows, seeds)
    for k, target in enumerate(together):
        alone = recipe.fit(records, rows[k], seeds[k])
        for key, value in target.state().items():
            assert value.tobytes() == alone.state()[key].tobytes(), key
    assert len(taken) == 6


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        ({"density": 0.5}, {}),
        ({"dtype": np.float64}, {"normalize": "standard"}),
        ({}, {"normalize": "standard"}),
        ({}, {"optimizer": lambda parameters: torch.optim.SGD(parameters, 0.01)}),
    ],
)
def test_other_records_and_optimisers_are_multiplied(options, recipe, taken):
    records = population(**options)
    TorchRecipe(model=two_layers(), epochs=1, batch_size=32, **recipe).fit(records, np.arange(100), 0)
    assert not taken


def test_values_other_than_one_are_multiplied(taken):
    records = population(dtype=np.float32)
    records.x[5, 7] = 0.5
    TorchRecipe(model=two_layers(), epochs=1, normalize="none").fit(records, np.arange(100), 0)
    assert not taken


def test_a_layer_too_small_for_lists_is_multiplied(taken, monkeypatch):
    monkeypatch.setattr(indicators, "ONEDNN_FROM", 10**9)
    TorchRecipe(model=two_layers(), epochs=1).fit(population(), np.arange(100), 0)
    assert not taken


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 4), models=st.integers(1, 3), size=st.integers(1, 9))
def test_lists_hold_exactly_the_ones(seed, steps, models, size):
    rng = np.random.default_rng(seed)
    x = (rng.random((30, 11)) < 0.3).astype(np.uint8)
    rows = 13
    pool = indicators.Pool(torch.from_numpy(x), rows, bias=True)
    index = torch.from_numpy(rng.integers(0, 30, (steps, models, size)))
    wide = np.zeros((30, rows), np.float32)
    wide[:, :11], wide[:, 11] = x, 1
    table = rng.normal(size=(models, rows, 4)).astype(np.float32)
    grad = rng.normal(size=(models, size, 4)).astype(np.float32)
    for step, ones in enumerate(pool.batches(index)):
        batch = wide[index[step].numpy()]
        sums = indicators._sums(torch.from_numpy(table.reshape(-1, 4)), ones.index, ones.offsets)
        np.testing.assert_allclose(sums.view(models, size, 4), batch @ table, rtol=1e-5, atol=1e-5)
        back = indicators._sums(torch.from_numpy(grad.reshape(-1, 4)), ones.back_index, ones.back_offsets)
        expected = np.swapaxes(batch, 1, 2) @ grad
        np.testing.assert_allclose(back.view(models, rows, 4), expected, rtol=1e-5, atol=1e-5)


def test_long_epochs_are_listed_in_blocks(monkeypatch):
    x = (np.random.default_rng(0).random((50, 20)) < 0.2).astype(np.uint8)
    index = torch.from_numpy(np.random.default_rng(1).integers(0, 50, (9, 2, 8)))
    pool = indicators.Pool(torch.from_numpy(x), 21, bias=True)
    whole = list(pool.batches(index))
    monkeypatch.setattr(indicators, "ENTRIES", 1)
    for one, other in zip(whole, pool.batches(index), strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.offsets, other.offsets)
        assert torch.equal(one.back_index, other.back_index)
        assert torch.equal(one.back_offsets, other.back_offsets)
