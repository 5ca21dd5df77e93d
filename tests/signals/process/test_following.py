"""Following a training changes no bit of it, and asks what a finished model would be asked."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from vestige.backends import memory  # noqa: E402
from vestige.backends.ensemble import indicators, stacked, train_many  # noqa: E402
from vestige.backends.ensemble.layers import MaxPool, Run  # noqa: E402
from vestige.backends.ensemble.losses import CrossEntropy  # noqa: E402
from vestige.backends.ensemble.snapshots import Snapshots  # noqa: E402
from vestige.backends.ensemble.soft_labels import SoftCrossEntropy  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access  # noqa: E402

CLASSES = 3


class Strange(nn.Module):
    """Draws random numbers whenever it is asked, also in evaluation mode: it has to run as it is."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, CLASSES))

    def forward(self, x):
        noise = torch.rand(()) if self.training else 0 * torch.rand(()) + 1
        return self.layers(x) * (noise if x.sum() > -1e9 else 1)


def records(shape=(8,), n=150, seed=0):
    g = np.random.default_rng(seed)
    y = g.integers(0, CLASSES, n)
    x = (g.normal(size=(n, *shape)) + y.reshape(-1, *[1] * len(shape))).astype(np.float32)
    return Records(x, y.astype(np.int64), np.arange(n), None, tuple("abc"))


def indicator_records(n=150, width=40, seed=0):
    g = np.random.default_rng(seed)
    x = (g.random((n, width)) < 0.1).astype(np.float32)
    return Records(x, g.integers(0, CLASSES, n), np.arange(n), None, tuple("abc"))


def followed(recipe, data, models=2):
    """Return what training alone gives, what followed training gives, and the states on the way."""
    setup = recipe._setup(data)
    rows, seeds = [np.arange(10 * m, 10 * m + 75) for m in range(models)], list(range(models))
    alone = train_many(setup.plan, setup.graph, rows, seeds)
    asked, steps = Snapshots(setup.plan, setup.graph, np.arange(len(data))), {}

    def on_epoch(model, epoch, state):
        steps[model, epoch] = (state, asked.answers(state))

    return setup, alone, train_many(setup.plan, setup.graph, rows, seeds, on_epoch=on_epoch), steps


@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        (TorchRecipe(hidden=(12,), epochs=3, batch_size=32), records()),
        (TorchRecipe(hidden=(12,), norm="batch", dropout=0.5, epochs=3, batch_size=32), records()),
        (TorchRecipe(model="cnn", channels=(4,), hidden=(6,), epochs=2, augment="flip"), records((1, 8, 8))),
        (TorchRecipe(model=Strange, epochs=3), records()),
    ],
    ids=["mlp", "normalised", "cnn", "own"],
)
def test_following_changes_no_bit_and_sees_every_epoch(recipe, data):
    setup, alone, watched, steps = followed(recipe, data)
    assert sorted(steps) == [(m, e) for m in range(2) for e in range(recipe.epochs)]
    for model, (one, other) in enumerate(zip(alone, watched, strict=True)):
        for name in one:
            assert torch.equal(one[name], other[name])
            assert torch.equal(steps[model, recipe.epochs - 1][0][name], one[name])
    for state, answers in steps.values():
        expected = setup.target(state).query(data.x, Access.SCORE).values
        np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(steps[0, 0][1], steps[0, 1][1])


@pytest.mark.skipif(not indicators.usable(), reason="this build of torch has no vector code for tables")
@pytest.mark.parametrize("bias", [True, False])
def test_lists_of_ones_are_asked_as_lists(monkeypatch, bias):
    monkeypatch.setattr(indicators, "ONEDNN_FROM", 1)
    taken = []
    original = stacked.Folded
    monkeypatch.setattr(stacked, "Folded", lambda *args: taken.append(1) or original(*args))
    data = indicator_records()

    def build():
        return nn.Sequential(nn.Linear(40, 16, bias=bias), nn.ReLU(), nn.Linear(16, CLASSES))

    recipe = TorchRecipe(model=build, epochs=3, batch_size=32)
    setup, alone, watched, steps = followed(recipe, data)
    assert len(taken) == 2
    for one, other in zip(alone, watched, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    shown = Snapshots(setup.plan, setup.graph, np.arange(len(data)))
    for state, answers in steps.values():
        np.testing.assert_allclose(
            answers.numpy(), setup.target(state).query(data.x, Access.SCORE).values, rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(shown.answers(state), answers)
    assert shown._ones


def test_bytes_are_asked_as_bytes():
    g = np.random.default_rng(0)
    data = Records(
        g.integers(0, 255, (100, 8, 8)).astype(np.uint8), g.integers(0, 3, 100), np.arange(100), None, tuple("abc")
    )
    setup, _, _, steps = followed(TorchRecipe(model="cnn", channels=(4,), hidden=(6,), epochs=2), data, models=1)
    assert setup.plan.x.dtype == torch.uint8
    for state, answers in steps.values():
        expected = setup.target(state).query(data.x, Access.SCORE).values
        np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_recipe_follows_what_it_fits():
    data, seen = records(), []
    recipe = TorchRecipe(hidden=(12,), epochs=4, dropout=0.2)
    recipe.follow(data, np.arange(80), 7, np.arange(100, 150), seen.append)
    assert [one.kind for one in seen] == ["logits"] * 4
    fitted = recipe.fit(data, np.arange(80), 7).query(data.x[100:150], Access.SCORE).values
    np.testing.assert_allclose(seen[-1].values, fitted, rtol=1e-5, atol=1e-6)


def test_soft_labels_have_the_gradient_of_their_loss():
    g = torch.Generator().manual_seed(0)
    loss = SoftCrossEntropy()
    wanted = torch.rand((2, 7, CLASSES), generator=g).softmax(2)
    outputs = torch.randn((2, 7, CLASSES), generator=g)
    for given in (outputs, list(outputs.unbind(0))):
        for found, one, q in zip(loss.gradient(given, wanted), outputs, wanted, strict=True):
            leaf = one.clone().requires_grad_()
            loss.value(leaf, q).backward()
            torch.testing.assert_close(found, leaf.grad)
    column = outputs[:, :, :1]
    pair = torch.stack([1 - wanted[..., 0], wanted[..., 0]], dim=2)
    for found, one, q in zip(loss.gradient(list(column.unbind(0)), pair), column, pair, strict=True):
        leaf = one.clone().requires_grad_()
        loss.value(leaf, q).backward()
        torch.testing.assert_close(found, leaf.grad)
        two = torch.cat([torch.zeros_like(one), one], dim=1)
        torch.testing.assert_close(loss.value(one, q), loss.value(two, q))


def test_certain_soft_labels_are_labels():
    g = torch.Generator().manual_seed(1)
    outputs, y = torch.randn((2, 6, CLASSES), generator=g), torch.randint(0, CLASSES, (2, 6), generator=g)
    hard, soft = CrossEntropy(), SoftCrossEntropy()
    certain = F.one_hot(y, CLASSES).float()
    torch.testing.assert_close(soft.gradient(outputs, certain), hard.gradient(outputs, y))
    torch.testing.assert_close(soft.value(outputs[0], certain[0]), hard.value(outputs[0], y[0]))


@pytest.mark.parametrize("shape", [(3, 2, 6, 8), (3, 2, 7, 5), (1, 1, 2, 2)])
def test_halving_without_places_is_max_pooling(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    layer = MaxPool(
        {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "ceil": False}, {}, [{}]
    )
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(layer.forward([[given]], Run(False))[0], F.max_pool2d(given, 2))


def test_memory_is_kept_until_the_outermost_block_ends(monkeypatch):
    calls = []

    class Library:
        @staticmethod
        def mallopt(setting, value):
            calls.append((setting, value))

        @staticmethod
        def malloc_trim(_):
            calls.append("trim")

    monkeypatch.setattr(memory, "_library", lambda: Library)
    with memory.kept():
        with memory.kept():
            pass
        assert "trim" not in calls
    assert calls.count("trim") == 1
    assert len(calls) == len(memory.KEPT) + len(memory.USUAL) + 1
