"""What a torch recipe accepts, what it refuses and in which words, and what its fingerprint covers."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from vestige.backends.torch import TorchRecipe  # noqa: E402
from vestige.errors import ConfigError, DataError, ModelError, UsageError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access, BatchRecipe  # noqa: E402

NORMS = ["none", "batch", "layer", "group"]


def blobs(n=120, shape=(6,), classes=3, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, *shape)) + 2 * y.reshape(-1, *[1] * len(shape))
    return Records(x.astype(dtype), y.astype(np.int64), np.arange(n), None, tuple("abcdefgh"[:classes]))


def factory():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def shaped(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "mlpp"}, "Did you mean 'mlp'"),
        ({"model": factory()}, "factory"),
        ({"model": 3}, "factory"),
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"loss": 1}, "loss"),
        ({"augment": "flop"}, "flip"),
        ({"normalize": "standart"}, "standard"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"threads": 0}, "threads"),
        ({"chunk": 0}, "chunk"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": 8}, "hidden"),
        ({"lr": 0}, "above 0"),
        ({"lr": float("nan")}, "lr"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-3}, "weight_decay"),
        ({"dropout": 1.0}, "dropout"),
        ({"nesterov": True, "momentum": 0.0}, "momentum"),
        ({"model": factory, "hidden": (3,)}, "factory"),
    ],
)
def test_impossible_options_end_in_one_sentence(options, words):
    with pytest.raises(ConfigError, match=words):
        TorchRecipe(**options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "nowhere.at.all:f"}, ConfigError, "nowhere.at.all:f"),
        ({"model": "logistic", "hidden": (3,)}, ConfigError, "no option 'hidden'"),
        ({"activation": "rely"}, ConfigError, "Did you mean 'relu'"),
        ({"norm": "bach"}, ConfigError, "batch"),
        ({"model": "cnn"}, ConfigError, "needs images"),
        ({"model": lambda: nn.Linear(5, 3)}, ModelError, "first layer"),
        ({"model": lambda: nn.Linear(6, 4)}, ModelError, "3 classes"),
        ({"model": lambda: "no"}, ConfigError, "torch module"),
        ({"model": lambda a: a}, ConfigError, "1 argument"),
        ({"augment": "flip"}, ConfigError, "images"),
        ({"device": "cuda:77"}, ConfigError, "cuda:77"),
        ({"lr": 1e6, "normalize": "none"}, ModelError, "Lower lr"),
    ],
)
def test_recipes_that_cannot_train_say_why(options, error, words):
    records = blobs()
    with pytest.raises(error, match=words):
        TorchRecipe(epochs=3, **options).fit(records, np.arange(60), 0)


def test_impossible_rows_say_why():
    records, recipe = blobs(), TorchRecipe(epochs=1)
    with pytest.raises(UsageError, match="one seed per model"):
        recipe.fit_many(records, [np.arange(3)], [1, 2])
    with pytest.raises(UsageError, match="has none"):
        recipe.fit(records, np.arange(0), 1)
    with pytest.raises(UsageError, match="0 to 119"):
        recipe.fit(records, np.array([120]), 1)
    assert recipe.fit_many(records, [], []) == []
    broken = Records(np.full((9, 2), np.nan), np.zeros(9, np.int64), np.arange(9), None, ("a", "b"))
    with pytest.raises(DataError, match="finite"):
        recipe.fit(broken, np.arange(4), 1)


def test_cross_entropy_needs_classes():
    records = Records(np.ones((9, 2), np.float32), np.arange(9.0), np.arange(9))
    with pytest.raises(ConfigError, match="mse"):
        TorchRecipe(loss="cross_entropy").fit(records, np.arange(4), 1)


def test_fingerprint_covers_what_changes_a_model_and_nothing_else():
    base = TorchRecipe(model=factory)
    assert json.loads(base.fingerprint())["epochs"] == 50
    assert base.fingerprint() == TorchRecipe(model=factory, chunk=3).fingerprint()
    assert TorchRecipe(hidden=[8, 4]).fingerprint() == TorchRecipe(hidden=(8, 4)).fingerprint()
    changed = [
        {"epochs": 51}, {"batch_size": 32}, {"lr": 0.01}, {"momentum": 0.8}, {"nesterov": True}, {"schedule": "step"},
        {"threads": 2},
        {"weight_decay": 0.0}, {"optimizer": "adam"}, {"loss": "mse"}, {"augment": "flip"}, {"normalize": "unit"},
        {"model": shaped}, {"model": functools.partial(shaped, (6,), 3)}, {"model": functools.partial(shaped, (6,), 4)},
        {"schedule": lambda done: 1 - done}, {"schedule": lambda done: 1 - done / 2},
    ]  # fmt: skip
    texts = [TorchRecipe(**{"model": factory, **options}).fingerprint() for options in changed]
    assert len({base.fingerprint(), *texts}) == len(changed) + 1


def test_fingerprint_refuses_functions_it_cannot_describe():
    with pytest.raises(UsageError, match="cannot"):
        TorchRecipe(model=functools.partial(shaped, object())).fingerprint()


@pytest.mark.parametrize("norm", NORMS)
def test_named_networks_learn(norm):
    records = blobs(200)
    target = TorchRecipe(hidden=(16, 8), norm=norm, epochs=40, lr=0.05).fit(records, np.arange(150), 0)
    assert (target.query(records.x, Access.LABEL).values == records.y)[150:].mean() > 0.8


@pytest.mark.parametrize("model", ["logistic", factory, shaped, f"{__name__}:factory", nn.Identity])
def test_factories_of_every_form(model):
    records = blobs()
    if model is nn.Identity:
        with pytest.raises(ModelError, match="3 classes"):
            TorchRecipe(model=model).fit(records, np.arange(9), 0)
        return
    if isinstance(model, str) and ":" in model:
        pytest.importorskip(model.partition(":")[0])
    logits = TorchRecipe(model=model, epochs=2).fit(records, np.arange(60), 3).query(records.x, Access.SCORE)
    assert logits.kind == "logits"
    assert logits.values.shape == (120, 3)
    assert logits.values.dtype == np.float32


def test_regression_answers_values():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    records = Records(x, (x @ [1.0, -2.0, 0.5]).astype(np.float64), np.arange(200))
    target = TorchRecipe(hidden=(32,), epochs=40, lr=0.02).fit(records, np.arange(150), 0)
    outputs = target.query(x, Access.SCORE)
    assert outputs.kind == "values"
    assert np.mean((outputs.values - records.y)[150:] ** 2) < 0.1 * records.y.var()


def test_a_single_logit_stands_for_the_second_class():
    records = blobs(classes=2, seed=1)
    target = TorchRecipe(model=lambda: nn.Linear(6, 1), epochs=60).fit(records, np.arange(80), 0)
    logits = target.query(records.x, Access.SCORE).values
    assert logits.shape == (120, 2)
    assert not logits[:, 0].any()
    assert (logits.argmax(1) == records.y).mean() > 0.9


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 3), (3, 12, 12)])
@pytest.mark.parametrize(
    "augment", ["none", "flip", "shift", "flip+shift", lambda x, g: x + torch.rand(x.shape, generator=g)]
)
def test_images_of_every_layout(shape, augment):
    records = blobs(40, shape)
    recipe = TorchRecipe(model="cnn", channels=(4,), hidden=(8,), epochs=1, augment=augment, batch_size=8)
    one, two = (recipe.fit(records, np.arange(30), 1).state() for _ in range(2))
    assert all(one[k].tobytes() == two[k].tobytes() for k in one)
    plain = TorchRecipe(model="cnn", channels=(4,), hidden=(8,), epochs=1, batch_size=8).fit(records, np.arange(30), 1)
    same = all(np.array_equal(one[k], v) for k, v in plain.state().items())
    assert same == (augment == "none")


def test_tables_with_words_in_them():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "green", "blue"], 90)
    frame = pandas.DataFrame({"age": rng.normal(40, 10, 90), "colour": colour})
    records = Records(frame, (colour == "red").astype(np.int64), np.arange(90), None, ("no", "yes"))
    target = TorchRecipe(hidden=(8,), epochs=60).fit(records, np.arange(60), 0)
    assert (target.query(frame.iloc[60:], Access.LABEL).values == records.y[60:]).mean() > 0.95
    shuffled = frame[["colour", "age"]].iloc[60:]
    np.testing.assert_array_equal(
        target.query(shuffled, Access.SCORE).values, target.query(frame.iloc[60:], Access.SCORE).values
    )


def test_word_indices_stay_whole_numbers():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(20, 4), nn.Linear(4 * 5, 2)

        def forward(self, x):
            return self.head(self.table(x).flatten(1))

    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (80, 5))
    records = Records(x, (x[:, 0] > 9).astype(np.int64), np.arange(80), None, ("a", "b"))
    recipe = TorchRecipe(model=Bag, epochs=150)
    target = recipe.fit(records, np.arange(80), 0)
    assert recipe._setup(records).graph is not None
    assert (target.query(x, Access.LABEL).values == records.y).mean() > 0.95


def test_a_last_batch_of_one_does_not_break_batch_normalisation():
    records = blobs()
    target = TorchRecipe(norm="batch", hidden=(8,), batch_size=16, epochs=1).fit(records, np.arange(33), 0)
    assert np.isfinite(target.query(records.x, Access.SCORE).values).all()


def test_progress_and_chunks():
    records, seen = blobs(), []
    recipe = TorchRecipe(hidden=(8,), epochs=1)
    assert isinstance(recipe, BatchRecipe)
    recipe.fit_many(records, [np.arange(30)] * 3, [1, 2, 3], on_model=seen.append)
    assert sorted(seen) == [0, 1, 2]
    assert recipe.chunk_size(records) == 1
    assert TorchRecipe(hidden=(8,), norm="layer", epochs=1).chunk_size(records) == 8
    assert TorchRecipe(hidden=(900, 900)).chunk_size(records) < 8
    assert TorchRecipe(chunk=5).chunk_size(records) == 5
    assert TorchRecipe(model="cnn", channels=(2,)).chunk_size(blobs(20, (8, 8))) == 1
