"""Convolution, ReLU and pooling in one compiled pass: what torch's separate operators and their gradients give."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("llvmlite")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from vestige.backends.ensemble import pooled as layer  # noqa: E402
from vestige.backends.ensemble.graph import trace  # noqa: E402
from vestige.backends.ensemble.kernels import answering, building, library  # noqa: E402
from vestige.backends.ensemble.kernels.shapes import Shape  # noqa: E402
from vestige.backends.ensemble.layers import Run  # noqa: E402
from vestige.backends.ensemble.stack import Stack  # noqa: E402
from vestige.backends.ensemble.store import gather  # noqa: E402
from vestige.backends.ensemble.values import channels_last  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access  # noqa: E402

pytestmark = pytest.mark.skipif(building.lanes() is None, reason="this processor has no vectors to compile for")
FAST = Shape(height=8, width=8, depth=1, filters=16, padding=1, relu=True, lanes=building.lanes() or 8)


def draw(shape, images, seed, *, bias=True, levels=None):
    """Random images, filters and biases; with few ``levels`` many sums are equal."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*size):
        if levels is None:
            return torch.randn(size, generator=generator)
        return torch.randint(-levels, levels + 1, size, generator=generator).float()

    x = numbers(images, shape.depth, shape.height, shape.width)
    weight, biases = numbers(shape.filters, shape.depth, 3, 3), numbers(shape.filters)
    return x, weight, biases if bias else None


def by_torch(shape, x, weight, bias, *, relu_first=False):
    y = F.conv2d(x, weight, bias, padding=shape.padding)
    if shape.relu and relu_first:
        y = F.relu(y)
    y = F.max_pool2d(y, 2)
    return F.relu(y) if shape.relu else y


def run(shape, x, weight, bias, grad=None):
    """Return the answers of training and of answering, and the gradients of weight, bias and images."""
    kernel = library.pooled(shape)
    images = x.permute(0, 2, 3, 1).contiguous()
    room = kernel.room(len(x))
    y, codes = kernel.forward(images, weight, bias, room, train=True)
    asked, _ = kernel.forward(images, weight, bias, kernel.room(1), train=False)
    if grad is None:
        return y.permute(0, 3, 1, 2), asked.permute(0, 3, 1, 2), None
    own = grad.permute(0, 2, 3, 1).contiguous()
    back = kernel.inputs(own, codes, weight).permute(0, 3, 1, 2)
    return y.permute(0, 3, 1, 2), asked.permute(0, 3, 1, 2), (*kernel.weights(room, own, codes), back)


def close(found, expected):
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * scale)


def same_answers(shape, asked, y):
    """Answers alone are those of training to the bit, or nearly where they take fewer multiplications."""
    close(asked, y) if answering.fits(shape) else torch.testing.assert_close(asked, y, rtol=0, atol=0)


def compare(shape, images, seed, *, bias=True, levels=None):
    x, weight, biases = draw(shape, images, seed, bias=bias, levels=levels)
    leaves = [t for t in (x, weight, biases) if t is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    expected = by_torch(shape, x, weight, biases)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed + 1))
    expected.backward(grad)
    plain = [t.detach() for t in leaves]
    y, asked, grads = run(shape, plain[0], plain[1], plain[2] if bias else None, grad)
    close(y, expected.detach())
    same_answers(shape, asked, y)
    close(grads[0], weight.grad)
    if bias:
        close(grads[1], biases.grad)
    close(grads[2], x.grad)


SHAPES = st.builds(
    Shape,
    height=st.integers(4, 15),
    width=st.integers(4, 15),
    depth=st.sampled_from([1, 2, 3, 4, 5, 16, 17, 32, 33]),
    filters=st.sampled_from([1, 3, 8, 16, 20, 32, 40, 70]),
    padding=st.integers(0, 2),
    relu=st.booleans(),
    lanes=st.just(FAST.lanes),
)


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES, images=st.integers(1, 5), seed=st.integers(0, 1000), bias=st.booleans())
@example(shape=replace(FAST, height=28, width=28), images=3, seed=0, bias=True)
@example(shape=replace(FAST, height=14, width=14, depth=16, filters=32), images=2, seed=0, bias=True)
@example(shape=replace(FAST, height=9, width=7, depth=3, filters=20), images=1, seed=0, bias=False)
@example(shape=replace(FAST, depth=6, filters=129), images=1, seed=0, bias=True)
@example(shape=replace(FAST, height=4, width=4, depth=129, filters=2), images=1, seed=0, bias=True)
def test_answers_and_gradients_are_those_of_torch(shape, images, seed, bias):
    compare(shape, images, seed, bias=bias)


@pytest.mark.parametrize("shape", [
    replace(FAST, height=14, width=14, depth=16, filters=32),
    replace(FAST, height=5, width=31, depth=48, filters=21, padding=0, relu=False),
    replace(FAST, height=6, width=4, depth=16, filters=129, padding=2),
])  # fmt: skip
def test_answers_with_fewer_multiplications_are_as_exact_as_plain_ones(shape):
    assert answering.fits(shape)
    x, weight, bias = draw(shape, 9, 4)
    exact = by_torch(shape, x.double(), weight.double(), bias.double())
    y, asked, _ = run(shape, x, weight, bias)
    assert not torch.equal(asked, y)
    assert (asked - exact).abs().max() <= 2 * (y - exact).abs().max()


@pytest.mark.parametrize("depth", [1, 3, 16])
@pytest.mark.parametrize("relu", [True, False])
def test_the_first_of_equal_maxima_gets_the_gradient(depth, relu):
    # Sums of small whole numbers are exact, and most windows hold several maxima.
    compare(replace(FAST, depth=depth, filters=18, relu=relu), 3, 7, levels=1)


def test_a_constant_image_sends_its_gradient_to_the_first_place():
    shape = replace(FAST, height=6, width=6, padding=0, relu=False)
    x, weight = torch.ones(1, 1, 6, 6), torch.zeros(16, 1, 3, 3)
    weight[:, :, 0, 0] = 1
    *_, grads = run(shape, x, weight, None, torch.ones(1, 16, 2, 2))
    expected = torch.zeros(1, 1, 6, 6)
    expected[..., 0:4:2, 0:4:2] = 16
    assert torch.equal(grads[2], expected)


@pytest.mark.parametrize("depth", [1, 16])
def test_what_is_not_a_number_is_passed_on(depth):
    shape = replace(FAST, depth=depth)
    x, weight, bias = draw(shape, 2, 0)
    x[1, 0, 3, 3] = torch.nan
    for y in run(shape, x, weight, bias)[:2]:
        assert torch.equal(y.isnan(), by_torch(shape, x, weight, bias).isnan())
        assert y.isnan().any()
        assert not y[0].isnan().any()


@pytest.mark.parametrize("depth", [1, 3, 16, 20])
def test_the_width_of_the_vectors_changes_no_bit(depth):
    if FAST.lanes == 8:
        pytest.skip("this processor has the narrow vectors alone")
    wide = replace(FAST, height=9, width=13, depth=depth, filters=36)
    x, weight, bias = draw(wide, 3, 1)
    grad = torch.randn(by_torch(wide, x, weight, bias).shape, generator=torch.Generator().manual_seed(2))
    one, other = (run(replace(wide, lanes=lanes), x, weight, bias, grad) for lanes in (16, 8))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))


@pytest.mark.parametrize("depth", [3, 16])
def test_an_answer_does_not_depend_on_the_records_beside_it(depth):
    shape = replace(FAST, depth=depth, filters=24)
    x, weight, bias = draw(shape, 7, 3)
    together = run(shape, x, weight, bias)[1]
    assert all(torch.equal(run(shape, x[k : k + 1], weight, bias)[1], together[k : k + 1]) for k in range(7))


@pytest.mark.parametrize("depth", [3, 16])
def test_no_images_have_no_answers(depth):
    x, weight, bias = draw(replace(FAST, depth=depth), 0, 0)
    assert run(replace(FAST, depth=depth), x, weight, bias)[1].shape == (0, 16, 4, 4)


def kinds(module, example_shape=(1, 8, 8)):
    graph = trace(module, torch.zeros(3, *example_shape))
    assert graph is not None
    return [node.kind for node in layer.merged(graph, gather([module], torch.device("cpu"))).nodes]


def network(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(2))


def built(module, shape=(1, 8, 8)):
    module(torch.zeros(3, *shape))
    return module


def tower(*after):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *after, nn.Flatten(), nn.Linear(6 * 20, 3)
    )


class Twice(nn.Module):
    """What the images are flattened to is read twice."""

    def __init__(self):
        super().__init__()
        self.convolution, self.one, self.other = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(120, 3), nn.Linear(120, 3)

    def forward(self, x):
        flat = torch.flatten(F.max_pool2d(self.convolution(x), 2), 1)
        return self.one(flat) + self.other(flat)


@pytest.mark.parametrize(("module", "turned"), [
    (tower(), True),
    (tower(nn.Tanh(), nn.Dropout(0.5)), True),
    (tower(nn.Flatten(2), nn.Tanh()), False),
    (nn.Sequential(nn.MaxPool2d(1), *tower(nn.AvgPool2d(1))), False),
    (Twice(), False),
])  # fmt: skip
def test_flattened_images_are_read_in_the_order_they_lie_in(module, turned):
    x = torch.randn(5, 1, 8, 10)
    graph = trace(module, x)
    store = gather([module], torch.device("cpu"))
    before = {name: slot.values[0].clone() for name, slot in store.slots.items()}
    told, own = layer.unturned(graph, store)
    assert any(node.options.get("by_pixel") for node in told.nodes) == turned
    with torch.no_grad():
        expected = module.eval()(x)
        for stack in (Stack(told, own), Stack(graph, store)):
            torch.testing.assert_close(stack.forward([channels_last(x)], Run(False))[0], expected)
    assert all(torch.equal(slot.values[0], before[name]) for name, slot in store.slots.items())


class Shared(nn.Module):
    """Someone else reads the convolution too."""

    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8 * 16 + 8 * 64, 2)

    def forward(self, x):
        y = self.convolution(x)
        return self.head(torch.cat([torch.flatten(F.max_pool2d(y, 2), 1), torch.flatten(y, 1)], dim=1))


def test_what_fits_is_merged_and_nothing_else():
    convolution, pool = nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2)
    merged = [layer.KIND, "reshape", "linear"]
    assert kinds(built(network(convolution, nn.ReLU(), pool))) == merged
    assert kinds(built(network(convolution, pool, nn.ReLU()))) == merged
    assert kinds(built(network(convolution, pool))) == merged
    assert kinds(built(network(nn.Conv2d(1, 8, 3), pool))) == merged
    assert kinds(built(network(convolution, pool, nn.Tanh()))) == [layer.KIND, "activation", "reshape", "linear"]
    for others in (
        [nn.Conv2d(1, 8, 5), pool],
        [nn.Conv2d(1, 8, 3, stride=2), pool],
        [nn.Conv2d(1, 8, 3, dilation=2), pool],
        [nn.Conv2d(1, 8, 3, padding=(1, 0)), pool],
        [convolution, nn.MaxPool2d(3, 2)],
        [convolution, nn.MaxPool2d(2, stride=1)],
        [convolution, nn.BatchNorm2d(8), pool],
        [convolution, nn.AvgPool2d(2)],
    ):
        assert layer.KIND not in kinds(built(network(*others)))
    assert layer.KIND not in kinds(Shared())


def test_groups_and_large_layers_stay_as_they_are():
    pool = nn.MaxPool2d(2)
    grouped = network(nn.Conv2d(4, 8, 3, padding=1, groups=2), pool)
    large = network(nn.Conv2d(130, 130, 3, padding=1), pool)
    assert layer.KIND not in kinds(built(grouped, (4, 8, 8)), (4, 8, 8))
    assert layer.KIND not in kinds(built(large, (130, 8, 8)), (130, 8, 8))


def images(depth=3, n=90, side=9):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, n)
    x = random.integers(0, 200, (n, side, side, depth)).astype(np.uint8)
    x[y == 1, 2:5, 2:5] += 55
    return Records(x, y.astype(np.int64), np.arange(n), None, ("no", "yes"))


def test_models_without_the_compiler_are_alike_and_have_another_fingerprint(monkeypatch):
    records = images()
    recipe = TorchRecipe(model="cnn", channels=(8, 20), hidden=(16,), epochs=3, batch_size=16, lr=0.02)
    rows = np.arange(0, 90, 2)
    merged, told = recipe.fit(records, rows, 0).query(records.x, Access.SCORE).values, recipe.fingerprint()
    with monkeypatch.context() as patch:
        patch.setattr(layer, "lanes", lambda: None)
        patch.setattr("vestige.backends.torch.find_spec", lambda _: None)
        plain, other = recipe.fit(records, rows, 0).query(records.x, Access.SCORE).values, recipe.fingerprint()
    np.testing.assert_allclose(merged, plain, rtol=1e-3, atol=1e-3)
    assert not np.array_equal(merged, plain)
    assert told != other
    assert json.loads(told) | {"compiler": None} == json.loads(other)


@pytest.mark.parametrize("channels", [(16, 32), (6, 20)])
def test_a_model_answers_as_its_module_does_however_many_are_asked_at_a_time(channels):
    records = images(n=420, side=12)
    recipe = TorchRecipe(model="cnn", channels=channels, hidden=(24,), epochs=2, batch_size=32)
    target = recipe.fit(records, np.arange(0, 420, 2), 0)
    whole = target.query(records.x, Access.SCORE).values
    with torch.no_grad():
        exact = target.module.double()(target.prepared(records.x).double()).numpy()
    np.testing.assert_allclose(whole, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
    # On both sides of where blocks end, one at a time, and in batches that put each elsewhere.
    for rows in ([0], [191], [192], [419], range(100, 300), range(419, 380, -1)):
        rows = np.array(rows)
        np.testing.assert_allclose(
            target.query(records.x[rows], Access.SCORE).values, whole[rows], rtol=0, atol=1e-6 * np.abs(whole).max()
        )
        labels = target.query(records.x[rows], Access.LABEL).values
        assert np.array_equal(labels, whole[rows].argmax(1))


def test_training_again_gives_the_same_bytes_and_grouping_changes_none():
    records = images()
    recipe = TorchRecipe(model="cnn", channels=(8, 20), hidden=(16,), epochs=2, batch_size=32)
    rows = [np.arange(0, 90, 2), np.arange(0, 70), np.arange(30, 90)]
    together = [t.state() for t in recipe.fit_many(records, rows, [1, 2, 3])]
    for own, seed, same in zip(rows, [1, 2, 3], together, strict=True):
        alone = recipe.fit(records, own, seed).state()
        assert all(alone[name].tobytes() == same[name].tobytes() for name in alone)


@pytest.mark.parametrize("depth", [6, 16])
def test_threads_share_a_batch(depth):
    shape = replace(FAST, depth=depth, filters=24)
    x, weight, bias = draw(shape, 70, 5)
    grad = torch.randn(70, 24, 4, 4, generator=torch.Generator().manual_seed(6))
    one = run(shape, x, weight, bias, grad)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        kernel = library.pooled(shape)
        images, own = (t.permute(0, 2, 3, 1).contiguous() for t in (x, grad))
        room = kernel.room(70)
        y, codes = kernel.forward(images, weight, bias, room, train=True)
        asked, _ = kernel.forward(images, weight, bias, kernel.room(3), train=False)
        filters, biases = kernel.weights(room, own, codes)
        back = kernel.inputs(own, codes, weight)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y.permute(0, 3, 1, 2), one[0])
    assert torch.equal(asked.permute(0, 3, 1, 2), one[1])
    assert torch.equal(back.permute(0, 3, 1, 2), one[2][2])
    close(filters, one[2][0])
    close(biases, one[2][1])
