"""How a torch module answers queries, whoever trained it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from vestige.backends.torch import TorchRecipe, TorchTarget, query_many  # noqa: E402
from vestige.errors import DataError, ModelError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access, Target  # noqa: E402


def blobs(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return Records((rng.normal(size=(n, 6)) + y[:, None]).astype(np.float32), y, np.arange(n), None, ("a", "b", "c"))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


def test_a_wrapped_module_answers_in_evaluation_mode_and_stays_as_it_was():
    module, records = net(), blobs()
    module[1].eval()
    modes = [m.training for m in module.modules()]
    target = TorchTarget.wrap(module)
    assert isinstance(target, Target)
    assert target.was_training
    assert not TorchTarget.wrap(net().eval()).was_training
    first, second = (target.query(records.x, Access.SCORE).values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert [m.training for m in module.modules()] == modes
    expected = net().eval()(torch.tensor(records.x)).detach().numpy()
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(target.query(records.x, Access.LABEL).values, first.argmax(1))


def test_mode_comes_back_even_when_the_module_fails():
    module = nn.Sequential(nn.Linear(6, 3))
    with pytest.raises(RuntimeError):
        TorchTarget.wrap(module).query(np.ones((2, 5), np.float32), Access.SCORE)
    assert module.training


class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x[:, :3] * float("nan"), "NaN or infinity for 4 of 4"),
        (lambda x: x[:, :3] + float("inf"), "NaN or infinity"),
        (lambda x: x[:2, :3], "4 rows"),
        (lambda x: x[:, :2], "3 columns"),
        (lambda x: x[:, :3, None], "shape"),
        (lambda x: (x, x), "tuple"),
    ],
)
def test_impossible_answers_are_named(answer, words):
    with pytest.raises(ModelError, match=words):
        TorchTarget.wrap(Answering(answer), classes=3).query(np.ones((4, 6), np.float32), Access.SCORE)


def test_impossible_things_to_wrap_or_ask():
    with pytest.raises(ModelError, match="torch module"):
        TorchTarget.wrap(lambda x: x)
    with pytest.raises(DataError, match="numbers"):
        TorchTarget.wrap(net()).query(np.array([["a"] * 6]), Access.SCORE)
    assert TorchTarget.wrap(net(), classes=3).query(np.ones((0, 6), np.float32), Access.SCORE).values.shape == (0, 3)


def test_a_wrapped_regression_and_a_wrapped_single_logit():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    values = TorchTarget.wrap(Answering(lambda x: x[:, :1]), classes=0).query(x, Access.SCORE)
    assert values.kind == "values"
    np.testing.assert_array_equal(values.values, x[:, 0])
    logits = TorchTarget.wrap(Answering(lambda x: x[:, 1])).query(x, Access.SCORE)
    np.testing.assert_array_equal(logits.values, np.stack([np.zeros(4), x[:, 1]], 1))


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_many_targets_answer_as_each_alone_and_as_their_modules(norm):
    records = blobs(2500)
    recipe = TorchRecipe(hidden=(16,), norm=norm, epochs=1)
    targets = recipe.fit_many(records, [np.arange(k, 900 + k) for k in range(3)], [1, 2, 3])
    together = np.concatenate([logits for _, logits in query_many(targets, records.x)], axis=1)
    where = [part for part, _ in query_many(targets, records.x)]
    assert (where[0].start, where[-1].stop) == (0, 2500)
    assert together.shape == (3, 2500, 3)
    for target, logits in zip(targets, together, strict=True):
        np.testing.assert_array_equal(target.query(records.x, Access.SCORE).values, logits)
        with torch.no_grad():
            np.testing.assert_allclose(target.module(torch.tensor(records.x)).numpy(), logits, rtol=1e-4, atol=1e-5)


def test_targets_of_different_kinds_can_be_asked_together():
    records = blobs(1500)
    trained = TorchRecipe(hidden=(4,), epochs=1).fit(records, np.arange(50), 0)
    wrapped = TorchTarget.wrap(net())
    answers = np.concatenate([logits for _, logits in query_many([trained, wrapped], records.x)], axis=1)
    for target, logits in zip((trained, wrapped), answers, strict=True):
        np.testing.assert_array_equal(target.query(records.x, Access.SCORE).values, logits)
    assert list(query_many([], records.x)) == []


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_state_survives_a_round_trip(norm, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    records = blobs()
    recipe = TorchRecipe(hidden=(8,), norm=norm, epochs=2)
    target = recipe.fit(records, np.arange(60), 4)
    safetensors.save_file(target.state(), tmp_path / "model.safetensors")
    again = recipe.restore(records, safetensors.load_file(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(*(t.query(records.x, Access.SCORE).values for t in (target, again)))
    assert again.module.state_dict().keys() == target.state().keys()
    with pytest.raises(ModelError, match="does not fit"):
        recipe.restore(records, {"wrong": np.zeros(3)})
