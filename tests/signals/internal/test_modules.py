"""Gradients of single records: three ways, all of them the slow one's."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from reference import slow_gradients
from vestige.backends.ensemble.kernels.building import lanes
from vestige.errors import ModelError
from vestige.signals.internal.modules import Reader


class Residual(nn.Module):
    """A block with a shortcut and activations in place, as torchvision writes them."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        out = self.second(self.relu(self.norm(self.first(x))))
        out += x
        return self.relu(out)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Borrowed(nn.Module):
    """A weight that is also used without its layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(F.linear(self.first(x), self.first.weight)))


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.never = nn.Linear(4, 4)

    def forward(self, x):
        return self.last(x)


class Frozen(nn.Module):
    """A backbone that is not trained, under no_grad, and a bias that is not trained either."""

    def __init__(self):
        super().__init__()
        self.back = nn.Linear(6, 5)
        self.last = nn.Linear(5, 3)
        self.back.requires_grad_(False)
        self.last.bias.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            h = torch.relu(self.back(x))
        return self.last(h)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.inner(x.reshape(len(x), -1, 8)).mean(1))


class Words(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.table = nn.Embedding(9, 5, **options)
        self.norm = nn.LayerNorm(5)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.table(x))).mean(1))


class Branching(nn.Module):
    """Looks at a record's value, which no vectorised gradient allows."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6))

    def forward(self, x):
        return x @ self.weight.T if float(x.sum()) > 0 else torch.tanh(x @ self.weight.T)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(4, 5, batch_first=True)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.inner(x)[0][:, -1])


def images(*layers, flat):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 3))


def rectangles(**options):
    return images(nn.Conv2d(2, 6, (3, 2), **options), nn.Tanh(), nn.AdaptiveAvgPool2d(2), flat=24)


def pooled(channels=2, filters=5, last=None, **options):
    """Two convolutions that are halved by pooling, the first of which knows no negative answers."""
    layers = nn.Conv2d(channels, filters, 3, padding=1, **options), nn.ReLU(), nn.MaxPool2d(2)
    more = nn.Conv2d(filters, 18, 3, padding=1, **options), nn.MaxPool2d(2), nn.Tanh(), nn.Dropout(0.5)
    return nn.Sequential(*layers, *more, nn.Flatten(), *(last or [nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, 3)]))


def partly_frozen():
    module = pooled()
    module[3].bias.requires_grad_(False)
    return module


PICTURE, ROW = (2, 9, 8), (6,)
FUSED = "watched" if lanes() is None else "fused"
CASES = {
    "pooled": (pooled, PICTURE, FUSED),
    "pooled without bias": (lambda: pooled(1, 16, bias=False), (1, 9, 11), FUSED),
    "pooled, one logit": (lambda: pooled(5, 17, [nn.Linear(72, 1)]), (5, 8, 8), FUSED),
    "pooled, partly frozen": (partly_frozen, PICTURE, "watched"),
    "pooled, not halved": (
        lambda: images(nn.Conv2d(2, 6, 3, stride=2), nn.MaxPool2d(2), nn.ReLU(), flat=12),
        PICTURE,
        "watched",
    ),
    "linear": (lambda: nn.Sequential(nn.Linear(6, 3)), ROW, "watched"),
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3, bias=False)), ROW, "watched"),
    "single logit": (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1)), ROW, "watched"),
    "flat logit": (lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), ROW, "watched"),
    "many places": (lambda: nn.Sequential(nn.Linear(8, 40), nn.Flatten(), nn.Linear(720, 3)), PICTURE, "watched"),
    "stride": (lambda: rectangles(stride=(2, 1), padding=(1, 0)), PICTURE, "watched"),
    "dilation": (lambda: rectangles(dilation=2, bias=False), PICTURE, "watched"),
    "same": (lambda: rectangles(padding="same", dilation=(1, 3)), PICTURE, "watched"),
    "valid": (lambda: rectangles(padding="valid"), PICTURE, "watched"),
    "groups": (lambda: rectangles(groups=2), PICTURE, "watched"),
    "circular": (lambda: rectangles(padding=1, padding_mode="circular"), PICTURE, "mapped"),
    "wide": (lambda: images(nn.Conv2d(2, 40, (8, 7)), nn.Tanh(), flat=160), PICTURE, "watched"),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3, 2, 1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)),
        (2, 9),
        "watched",
    ),
    "three dimensions": (lambda: images(nn.Conv3d(1, 2, 2), nn.Tanh(), flat=54), (1, 4, 4, 4), "mapped"),
    "transposed": (lambda: images(nn.ConvTranspose2d(2, 2, 2), nn.Tanh(), flat=180), PICTURE, "mapped"),
    "batch norm": (
        lambda: images(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), flat=168),
        PICTURE,
        "watched",
    ),
    "batch norm of rows": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        ROW,
        "watched",
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)),
        ROW,
        "watched",
    ),
    "layer norm of places": (lambda: images(nn.LayerNorm(8), nn.LayerNorm((9, 8)), flat=144), PICTURE, "watched"),
    "layer norm of all": (lambda: images(nn.LayerNorm(PICTURE), flat=144), PICTURE, "watched"),
    "norm without weights": (lambda: images(nn.LayerNorm(8, elementwise_affine=False), flat=144), PICTURE, "watched"),
    "group norm": (
        lambda: images(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), flat=168),
        PICTURE,
        "watched",
    ),
    "residual": (lambda: images(Residual(2), Residual(2), flat=144), PICTURE, "watched"),
    "twice": (Twice, ROW, "mapped"),
    "tied": (Tied, ROW, "mapped"),
    "borrowed": (Borrowed, ROW, "mapped"),
    "unused": (Unused, ROW, "watched"),
    "frozen": (Frozen, ROW, "watched"),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3)),
        ROW,
        "mapped",
    ),
    "attention": (Attention, (3, 8), "mapped"),
    "embedding": (Words, "words", "watched"),
    "embedding with padding": (lambda: Words(padding_idx=0), "words", "watched"),
    "embedding by frequency": (lambda: Words(scale_grad_by_freq=True), "words", None),
    "lstm": (Recurrent, (5, 4), None),
    "branching": (Branching, ROW, "one_by_one"),
    "rows within a record": (
        lambda: nn.Sequential(
            nn.Flatten(0, 1), nn.Linear(8, 5), nn.Unflatten(0, (-1, 3)), nn.Flatten(), nn.Linear(15, 3)
        ),
        (3, 8),
        "mapped",
    ),
}  # fmt: skip


def batch(shape, count=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    if shape == "words":
        return torch.randint(0, 9, (count, 6), generator=draw), np.arange(count) % 3
    return torch.randn(count, *shape, generator=draw), np.arange(count) % 3


def made(name):
    torch.manual_seed(1)
    build, shape, way = CASES[name]
    module = build()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2)
            nn.init.normal_(m.weight)
    x, y = batch(shape)
    return module, x, y % 2 if "logit" in name else y, way


def name_of(way):
    return getattr(way, "func", way).__name__


def true_norms(found):
    return found.lengths * np.exp(found.log_slope)[:, None]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_lengths_are_those_of_one_backward_pass_per_record(name):
    module, x, y, way = made(name)
    reader = Reader(module)
    found = reader.read(x, y)
    expected = slow_gradients.norms(copy.deepcopy(module), x, y)
    np.testing.assert_allclose(true_norms(found), expected, rtol=2e-5, atol=1e-6 * expected.max())
    if way is not None:
        assert name_of(reader.way) == way
    total = np.sqrt((expected**2).sum(1))
    np.testing.assert_allclose(np.exp(found.log_norm), total, rtol=2e-5)


@pytest.mark.parametrize("name", ["mlp", "single logit", "stride", "batch norm", "group norm", "residual", "embedding"])
def test_the_three_slower_ways_agree(name):
    module, x, y, _ = made(name)
    reader = Reader(module.eval())
    passes = [reader.watched(x, y), reader.mapped(x, y), reader.one_by_one(x, y)]
    for one in passes[:2]:
        for part in ("logits", "hidden", "activity", "lengths"):
            ours, theirs = getattr(one, part).detach().numpy(), getattr(passes[2], part).detach().numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=part)


@pytest.mark.skipif(lanes() is None, reason="this processor has no vectors to compile for")
@pytest.mark.parametrize("name", ["pooled", "pooled without bias", "pooled, one logit"])
def test_the_kernels_show_all_that_the_slowest_way_shows(name):
    module, _, _, _ = made(name)
    x, y = batch(CASES[name][1], count=70)
    reader = Reader(module.eval())
    fast, slow = reader.fused(x, y % 2 if "logit" in name else y), reader.one_by_one(x, y % 2 if "logit" in name else y)
    for part in ("logits", "hidden", "activity", "lengths"):
        ours, theirs = getattr(fast, part).detach().numpy(), getattr(slow, part).detach().numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=part)
    for ours, theirs in zip(fast.slope, slow.slope, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "pooled", "batch norm", "residual", "twice", "embedding", "branching"])
def test_a_record_has_the_same_gradient_in_any_batch(name):
    module, x, y, _ = made(name)
    whole = Reader(module).read(x, y)
    alone = Reader(module).read(x[4:5], y[4:5])
    reader = Reader(module)
    reader.size = 2
    reader.way = getattr(reader, made(name)[3] or "mapped")
    some = reader.read(x[[4, 0, 3]], y[[4, 0, 3]])
    for part in ("lengths", "slope", "hidden", "activity"):
        np.testing.assert_allclose(getattr(alone, part)[0], getattr(whole, part)[4], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(getattr(some, part)[0], getattr(whole, part)[4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "pooled", "batch norm", "twice", "frozen", "branching", "attention"])
def test_the_module_is_left_as_it_was(name):
    module, x, y, _ = made(name)
    module.train()
    list(module.modules())[-1].eval()
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    modes = [m.training for m in module.modules()]
    trained = [p.requires_grad for p in module.parameters()]
    Reader(module).read(x, y)
    assert [m.training for m in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == trained
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_dropout_and_batch_statistics_are_those_of_evaluation():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    x, y = batch(ROW)
    first, second = Reader(module).read(x, y), Reader(module).read(x, y)
    np.testing.assert_array_equal(first.lengths, second.lengths)
    np.testing.assert_allclose(
        true_norms(first), slow_gradients.norms(copy.deepcopy(module).eval(), x, y), rtol=1e-5, atol=1e-7
    )


def test_a_model_frozen_for_serving_has_the_gradients_of_all_its_parameters():
    module, x, y, _ = made("mlp")
    expected = slow_gradients.norms(copy.deepcopy(module), x, y)
    for p in module.parameters():
        p.requires_grad_(False)
    with torch.no_grad():
        found = Reader(module).read(x, y)
    np.testing.assert_allclose(true_norms(found), expected, rtol=1e-5, atol=1e-7)
    assert not any(p.requires_grad for p in module.parameters())


def test_gradients_of_single_records_add_up_to_the_batch_gradient_times_n():
    module, x, y, _ = made("stride")
    each = slow_gradients.gradients(copy.deepcopy(module), x, y)
    module.double().eval()
    loss = F.cross_entropy(module(x.double()), torch.from_numpy(y))
    whole = dict(zip(each[0], torch.autograd.grad(loss, list(module.parameters())), strict=True))
    for name, g in whole.items():
        torch.testing.assert_close(sum(one[name] for one in each), g * len(x))
    found = Reader(module).read(x.double(), y)
    # The last layer in factors: Σ residual ⊗ input is the batch gradient of its weight.
    torch.testing.assert_close(
        torch.from_numpy(found.residual.T @ found.hidden), whole["4.weight"] * len(x), rtol=1e-9, atol=1e-12
    )


def test_the_last_layers_gradient_is_an_outer_product():
    """F8."""
    module, x, y, _ = made("mlp")
    found = Reader(module.double()).read(x.double(), y)
    product = np.linalg.norm(found.residual, axis=1) * np.linalg.norm(found.hidden, axis=1)
    for k, gradient in enumerate(slow_gradients.gradients(copy.deepcopy(module), x, y)):
        g = gradient["2.weight"].numpy()
        np.testing.assert_allclose(np.outer(found.residual[k], found.hidden[k]), g, rtol=1e-6, atol=1e-12)
        assert product[k] == pytest.approx(np.linalg.norm(g), rel=1e-6)
    np.testing.assert_allclose(product, true_norms(found)[:, -1], rtol=1e-6)


def test_members_gradients_cancel_at_a_stationary_point_and_others_do_not():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(60, 4)), draw.integers(0, 3, 60)
    module = nn.Linear(4, 3).double()
    inside = torch.from_numpy(x[:30]), torch.from_numpy(y[:30])
    options = {"max_iter": 500, "tolerance_grad": 1e-13, "tolerance_change": 1e-16, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS(module.parameters(), **options)

    def step():
        optimiser.zero_grad()
        loss = F.cross_entropy(module(inside[0]), inside[1])
        loss.backward()
        return loss

    optimiser.step(step)
    for p in module.parameters():
        p.grad = None
    found = Reader(module).read(torch.from_numpy(x), y)
    total = [found.residual[part].T @ found.hidden[part] for part in (slice(0, 30), slice(30, 60))]
    assert np.abs(total[0]).max() < 1e-5
    assert np.abs(total[1]).max() > 1


def test_reordering_hidden_units_changes_nothing():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10),
        nn.ReLU(), nn.Linear(10, 3),
    ).eval()  # fmt: skip
    other = copy.deepcopy(module)
    maps, units = torch.randperm(6), torch.randperm(10)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(other[0], name).copy_(getattr(module[0], name)[maps])
            getattr(other[1], name).copy_(getattr(module[1], name)[maps])
        mixed = module[5].weight.reshape(10, 6, 4)[:, maps].reshape(10, 24)
        other[5].weight.copy_(mixed[units])
        other[5].bias.copy_(module[5].bias[units])
        other[7].weight.copy_(module[7].weight[:, units])
    x, y = batch((1, 8, 8), 20)
    ours, theirs = Reader(module).read(x, y), Reader(other).read(x, y)
    assert not np.allclose(ours.hidden, theirs.hidden)
    for part in ("log_norms", "log_slope", "activity", "log_probabilities"):
        np.testing.assert_allclose(getattr(ours, part), getattr(theirs, part), rtol=1e-4, atol=1e-5)


def test_a_record_the_model_is_sure_of_still_has_a_length():
    """In float32 the loss of these records is exactly zero and so would be its gradient."""
    module = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[20.0], [40.0], [300.0], [3000.0]])
    found = Reader(module).read(x, np.zeros(4, np.int64))
    # Two classes: the residual is (-q, q) with q = 1 / (1 + exp(2x)).
    given = x[:, 0].double().numpy()
    np.testing.assert_allclose(found.log_slope, -np.logaddexp(0, 2 * given) + 0.5 * np.log(2), rtol=1e-12)
    np.testing.assert_allclose(found.log_norm, found.log_slope + np.log(given), rtol=1e-6)


def test_what_the_last_layer_reads_is_found_by_when_it_runs():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(5, 3)
            self.first = nn.Linear(6, 5)

        def forward(self, x):
            return self.last(torch.tanh(self.first(x)))

    torch.manual_seed(0)
    module = Backwards()
    x, y = batch(ROW)
    hidden = torch.tanh(module.first(x)).detach().numpy()
    np.testing.assert_allclose(Reader(module).read(x, y).hidden, hidden, rtol=1e-6)


def test_large_activations_are_read_a_few_records_at_a_time(monkeypatch):
    from vestige.signals.internal import modules

    module, x, y, _ = made("stride")
    whole = Reader(module).read(x, y)
    monkeypatch.setattr(modules, "ACTIVATIONS", 800)
    monkeypatch.setattr(modules, "FEWEST", 1)
    reader = Reader(module)
    few = reader.read(x, y)
    assert 1 <= reader.size < 7
    np.testing.assert_allclose(few.lengths, whole.lengths, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.Flatten(), torch.ones(3, 4), "no parameters"),
        (nn.Sequential(nn.Linear(4, 3)), torch.full((3, 4), torch.nan), "NaN"),
        (nn.Sequential(nn.Linear(4, 2)), torch.ones(3, 4), "label 2"),
        (nn.Sequential(nn.Linear(4, 3), nn.Unflatten(1, (3, 1))), torch.ones(3, 4), "one row of class scores"),
        (nn.Sequential(nn.Linear(5, 3)), torch.ones(3, 4), "could not be taken"),
    ],
)
def test_modules_that_have_no_such_gradients_are_refused_in_a_sentence(module, x, message):
    with pytest.raises(ModelError, match=message):
        Reader(module).read(x, np.array([0, 1, 2]))
