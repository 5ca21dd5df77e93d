"""What the tracer recognises, how it rewrites it, and which product it picks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from vestige.backends.ensemble import gemm  # noqa: E402
from vestige.backends.ensemble.graph import trace  # noqa: E402
from vestige.backends.features import fit_features  # noqa: E402
from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.errors import ConfigError, DataError  # noqa: E402
from vestige.records import Records  # noqa: E402

CPU = torch.device("cpu")


class Calls(nn.Module):
    """One linear layer, then whatever the test does with its answer."""

    def __init__(self, after):
        super().__init__()
        self.layer, self.after = nn.Linear(4, 4), after

    def forward(self, x):
        return self.after(self, self.layer(x))


def kinds(module, shape=(4,)):
    graph = trace(module, torch.randn(3, *shape))
    return None if graph is None else [node.kind for node in graph.nodes]


def test_relu_moves_into_the_layer_before_it_and_behind_pooling():
    assert kinds(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))) == ["linear", "linear"]
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    assert kinds(images, (1, 4, 4)) == ["convolution", "max_pool", "activation", "reshape", "linear"]


def test_a_relu_stays_where_another_layer_reads_what_is_before_it():
    assert kinds(Calls(lambda _, h: h + torch.relu(h))) == ["linear", "activation", "add"]


@pytest.mark.parametrize(
    "after",
    [
        lambda _, h: h.view(h.size(0), -1),
        lambda _, h: h.reshape(-1, 4).contiguous(),
        lambda _, h: F.dropout(h, 0.3, m.training) if (m := _) is not None else h,
        lambda _, h: torch.cat([h, h.tanh()], -1),
        lambda _, h: 2 * h + 1,
        lambda _, h: F.leaky_relu(h, 0.2),
        lambda _, h: h.flatten(1),
    ],
)
def test_what_is_a_known_chain(after):
    assert kinds(Calls(after)) is not None


@pytest.mark.parametrize(
    "after",
    [
        lambda _, h: h if h.sum() > 0 else -h,
        lambda _, h: F.dropout(h, 0.3),
        lambda m, h: h @ m.layer.weight,
        lambda m, h: m.layer(h),
        lambda _, h: h.t(),
        lambda _, h: h[:, :2],
        lambda _, h: h + h.mean(),
        lambda _, h: F.relu(h, inplace=True) + h,
        lambda _, h: torch.cat([h, h], 0)[:3],
    ],
)
def test_what_must_run_as_it_is(after):
    assert kinds(Calls(after)) is None


def test_modules_with_more_than_layers_must_run_as_they_are():
    hooked, frozen, tied = nn.Linear(4, 4), nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    hooked.register_forward_hook(lambda *_: None)
    frozen.weight.requires_grad_(False)
    tied[1].weight = tied[0].weight
    idle = nn.Sequential(nn.Linear(4, 4))
    idle.spare = nn.Linear(2, 2)
    idle.forward = lambda x: idle[0](x)
    for module in (hooked, frozen, tied, nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU()):
        assert trace(module, torch.randn(3, 4)) is None
    assert trace(nn.Linear(4, 4).double(), torch.randn(3, 4).double()) is None


@pytest.fixture
def gemm_choice(monkeypatch):
    def choose(value):
        gemm.onednn.cache_clear()
        monkeypatch.setenv("VESTIGE_GEMM", value)

    yield choose
    gemm.onednn.cache_clear()


def test_the_product_depends_on_shape_and_machine_only(gemm_choice):
    gemm_choice("onednn")
    if gemm.onednn() is None:
        pytest.skip("This build of torch has no oneDNN linear operator.")
    assert gemm.pick(64, 446, 256, CPU) is not None
    assert gemm.pick(64, 64, 10, CPU) is None
    assert gemm.pick(64, 446, 256, torch.device("meta")) is None
    gemm_choice("mm")
    assert gemm.pick(64, 446, 256, CPU) is None
    gemm_choice("fast")
    with pytest.raises(ConfigError, match="auto, mm or onednn"):
        gemm.onednn()


def test_linear_layers_of_any_module_take_the_picked_product_when_they_are_asked(gemm_choice, monkeypatch):
    gemm_choice("onednn")
    if gemm.onednn() is None:
        pytest.skip("This build of torch has no oneDNN linear operator.")
    taken = []
    picked = gemm.pick
    monkeypatch.setattr(gemm, "pick", lambda *sizes: taken.append(sizes[:3]) or picked(*sizes))
    large, small, bare = nn.Linear(300, 64), nn.Linear(64, 5), nn.Linear(300, 64, bias=False)
    x, weight = torch.randn(100, 300), torch.randn(300, 300)
    calls = [
        lambda: small(large(x)), lambda: bare(x), lambda: large(x.view(4, 25, 300)), lambda: large.double()(x.double()),
        lambda: F.linear(input=x, weight=weight), lambda: x @ weight,
    ]  # fmt: skip
    with torch.no_grad():
        for k, call in enumerate(calls):
            large.float()
            expected = call()
            with gemm.fastest():
                torch.testing.assert_close(call(), expected, msg=str(k))
    assert taken == [(100, 300, 64), (100, 64, 5), (100, 300, 64)]
    with gemm.fastest():
        assert large.float()(x).requires_grad
    assert len(taken) == 3


def test_both_products_train_the_same_model(gemm_choice):
    rng = np.random.default_rng(0)
    records = Records(
        rng.random((200, 300)).astype(np.float32), rng.integers(0, 2, 200), np.arange(200), None, ("a", "b")
    )
    recipe = TorchRecipe(hidden=(200,), epochs=3)
    states = []
    for choice in ("mm", "onednn"):
        gemm_choice(choice)
        states.append(recipe.fit(records, np.arange(160), 0).state())
    for key, value in states[0].items():
        np.testing.assert_allclose(value, states[1][key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 255])
def test_bytes_train_as_the_numbers_they_stand_for(scale):
    rng = np.random.default_rng(0)
    raw = (rng.integers(0, 2, (90, 12)) * scale).astype(np.uint8)
    y = rng.integers(0, 3, 90)
    compact = Records(raw, y, np.arange(90), None, ("a", "b", "c"))
    plain = Records((raw.astype(np.float32) * np.float32(1 / scale)), y, np.arange(90), None, ("a", "b", "c"))
    recipe = TorchRecipe(hidden=(8,), epochs=2)
    assert recipe._setup(compact).plan.x.dtype == torch.uint8
    one, two = (recipe.fit(r, np.arange(70), 1) for r in (compact, plain))
    assert all(one.state()[k].tobytes() == v.tobytes() for k, v in two.state().items())
    np.testing.assert_array_equal(one.query(raw, one.access).values, two.query(plain.x, two.access).values)


def test_scales_come_from_the_whole_pool():
    x = np.random.default_rng(0).normal(3, 2, (500, 4)) * [1, 10, 100, 0]
    standard = fit_features(x, "standard")(x)
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(0), [1, 1, 1, 0], atol=1e-5)
    unit = fit_features(x, "unit")(x)
    assert (unit.min(0) == 0).all()
    np.testing.assert_allclose(unit.max(0), [1, 1, 1, 0], atol=1e-6)
    images = np.random.default_rng(0).normal(3, 2, (50, 3, 4, 4)) * np.array([1, 5, 9])[:, None, None]
    np.testing.assert_allclose(fit_features(images, "standard")(images).std((0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_array_equal(fit_features(x[:, :1], "auto")(x[:, :1]), x[:, :1].astype(np.float32))
    np.testing.assert_array_equal(fit_features(x, "auto")(x), standard)
    with pytest.raises(DataError, match="finite"):
        fit_features(np.array([[np.inf]]), "none")
