"""Compiled networks train as automatic differentiation does, answer as torch does, depend on rows and seed alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from reference import plain_networks  # noqa: E402
from vestige.backends import compiled  # noqa: E402
from vestige.backends.compiled import calling  # noqa: E402
from vestige.backends.compiled.network import Network  # noqa: E402
from vestige.backends.compiled.setup import Setup, _data  # noqa: E402
from vestige.backends.compiled.training import Steps, answers, train  # noqa: E402
from vestige.backends.torch import TorchRecipe, query_many  # noqa: E402
from vestige.errors import ConfigError, DataError, ModelError  # noqa: E402
from vestige.records import Records  # noqa: E402
from vestige.target import Access  # noqa: E402

PLAIN = Steps(
    optimiser="sgd", lr=0.05, momentum=0.9, decay=5e-4, nesterov=False, loss="cross_entropy", epochs=3, batch=16,
    multiplier=lambda done: 1 - 0.5 * done,
)  # fmt: skip


def network(*units, activation="relu"):
    return Network(units, tuple(str(2 * k) for k in range(len(units) - 1)), activation)


def pool(features, classes, n=90, kind="floats", seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, max(classes, 1), n)
    if kind == "ones":
        x = (rng.random((n, features)) < 0.15).astype(np.float32)
    elif kind == "bytes":
        x = rng.integers(0, 256, (n, features)).astype(np.uint8)
    else:
        x = rng.normal(size=(n, features)).astype(np.float32)
    return x, y


def close(net, steps, x, y, *, scale=1.0, rows=None, atol=1e-4):
    rows = np.arange(0, len(x) - 7) if rows is None else rows
    data = _data(x, scale, y, steps.loss == "number")
    found = train(net, steps, data, rows, 5)
    floats = np.asarray(x, np.float32) * np.float32(scale)
    expected = plain_networks.train(net, steps, floats, y, rows, 5)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=atol, rtol=1e-4, err_msg=name)
    return found, data


@pytest.mark.parametrize("activation", compiled.ACTIVATIONS)
def test_every_activation(activation):
    close(network(20, 33, 17, 5, activation=activation), PLAIN, *pool(20, 5))


@pytest.mark.parametrize("kind", ["floats", "ones"])
@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.0, "decay": 0.0},
        {"nesterov": True},
        {"optimiser": "adam", "lr": 0.003, "decay": 0.01},
        {"optimiser": "adamw", "lr": 0.003, "decay": 0.1},
    ],
)
def test_every_optimiser(changes, kind):
    # Wider than a block of columns and not a whole number of vectors, so that every way through is taken.
    close(network(40, 150, 4), replace(PLAIN, **changes), *pool(40, 4, kind=kind))


@pytest.mark.parametrize(("loss", "classes"), [("binary", 1), ("one_hot", 3), ("number", 1)])
def test_every_loss(loss, classes):
    x, y = pool(11, 2 if loss == "binary" else classes)
    y = np.random.default_rng(1).normal(size=len(x)).astype(np.float32) if loss == "number" else y
    close(network(11, 24, classes), replace(PLAIN, loss=loss), x, y)


def test_bytes_and_their_scale():
    x, y = pool(30, 4, kind="bytes")
    found, data = close(network(30, 20, 4), PLAIN, x, y, scale=1 / 255)
    assert data.bytes.size == x.size
    assert np.isfinite(found["0.weight"]).all()


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 63])
def test_batches_that_are_not_full(rows):
    close(network(9, 12, 3), PLAIN, *pool(9, 3), rows=np.arange(rows))


def test_no_hidden_layer():
    close(network(50, 6), PLAIN, *pool(50, 6, kind="ones"))


@settings(max_examples=25)
@given(
    units=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    kind=st.sampled_from(["floats", "ones"]),
    batch=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_any_shape(units, kind, batch, seed):
    units[-1] = max(units[-1], 2)
    x, y = pool(units[0], units[-1], n=41, kind=kind, seed=seed)
    close(network(*units), replace(PLAIN, batch=batch, epochs=2), x, y, atol=3e-4)


def test_lists_of_ones_and_products_agree():
    x, y = pool(60, 4, n=200, kind="ones")
    net, rows = network(60, 256, 4), np.arange(150)
    sparse = _data(x, 1.0, y, False)
    assert len(sparse.ends) == 201
    dense = sparse._replace(floats=x, ones=sparse.ones[:0], ends=sparse.ends[:0])
    one, other = train(net, PLAIN, sparse, rows, 3), train(net, PLAIN, dense, rows, 3)
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, atol=1e-5)


@settings(max_examples=20)
@given(units=st.lists(st.integers(1, 90), min_size=2, max_size=4), count=st.integers(0, 300))
def test_answers(units, count):
    net = network(*units, activation="gelu")
    x = np.random.default_rng(0).normal(size=(count, units[0])).astype(np.float32)
    state = net.initial(1)
    expected = plain_networks.filled(net, state)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(answers(net, net.pack(state), x), expected, atol=2e-5)


def test_packing_and_the_law_of_new_weights():
    net = network(100, 300, 7)
    state = net.initial(4)
    again = net.unpack(net.pack(state))
    assert all(np.array_equal(again[name], array) for name, array in state.items())
    assert state["0.weight"].shape == (300, 100)
    for name, fan_in in (("0.weight", 100), ("0.bias", 100), ("2.weight", 300)):
        bound = fan_in**-0.5
        assert np.abs(state[name]).max() <= bound
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.12)
    with pytest.raises(ModelError, match="does not fit"):
        network(100, 30, 7).pack(state)


def records(n=240, features=30, classes=5, *, kind="ones"):
    x, y = pool(features, classes, n, kind)
    return Records(x, y.astype(np.int64), np.arange(n), None, tuple("abcdefgh"[:classes]))


RECIPE = TorchRecipe(hidden=(40, 24), epochs=4, batch_size=32)


def test_bytes_depend_on_rows_and_seed_alone():
    shown = records()
    rows = [np.arange(0, 150), np.arange(50, 200), np.arange(90, 97)]
    together = RECIPE.fit_many(shown, rows, [1, 2, 3])
    for own, seed, target in zip(rows, (1, 2, 3), together, strict=True):
        alone = replace(RECIPE, threads=2, chunk=2).fit(shown, own, seed)
        assert {k: v.tobytes() for k, v in alone.state().items()} == {k: v.tobytes() for k, v in target.state().items()}
    other = RECIPE.fit(shown, rows[0], 9).state()
    assert not np.array_equal(other["0.weight"], together[0].state()["0.weight"])


def test_what_follows_a_training_ends_in_the_model():
    shown, seen = records(), []
    asked, rows = np.arange(20, 90), np.arange(150)
    RECIPE.follow(shown, rows, 7, asked, seen.append)
    assert len(seen) == RECIPE.epochs
    target = RECIPE.fit(shown, rows, 7)
    assert np.array_equal(seen[-1].values, target.query(shown.x[asked], Access.SCORE).values)
    assert not np.array_equal(seen[0].values, seen[-1].values)


def test_the_module_is_the_network():
    for model, shape in (("mlp", (30,)), ("mlp", (5, 6)), ("logistic", (30,))):
        shown = records()
        shown = Records(shown.x.reshape(-1, *shape), shown.y, shown.ids, None, shown.classes)
        recipe = TorchRecipe(model=model, epochs=2, hidden=(16,) if model == "mlp" else None)
        assert compiled.takes(recipe)
        target = recipe.fit(shown, np.arange(100), 0)
        logits = target.query(shown.x, Access.SCORE).values
        with torch.no_grad():
            np.testing.assert_allclose(target.module(target.prepared(shown.x)).numpy(), logits, atol=1e-5)
        assert np.array_equal(np.concatenate([part[0] for _, part in query_many([target], shown.x)]), logits)
        assert np.array_equal(target.query(shown.x, Access.LABEL).values, logits.argmax(1))
        back = recipe.restore(shown, target.state())
        assert np.array_equal(back.query(shown.x, Access.SCORE).values, logits)


def test_it_learns_as_well_as_torch(monkeypatch):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    shown = Records(
        digits.data.astype(np.float32), digits.target, np.arange(len(digits.target)), None, tuple("0123456789")
    )
    recipe = TorchRecipe(hidden=(64,), epochs=25, batch_size=32)
    rng = np.random.default_rng(3)
    rows = [rng.permutation(len(shown))[:600] for _ in range(8)]

    def accuracies():
        found = []
        for own, target in zip(rows, recipe.fit_many(shown, rows, list(range(8))), strict=True):
            right = target.query(shown.x, Access.LABEL).values == shown.y
            inside = np.isin(np.arange(len(shown)), own)
            found.append([right[inside].mean(), right[~inside].mean()])
        return np.mean(found, axis=0)

    ours = accuracies()
    monkeypatch.setattr(compiled, "takes", lambda _: False)
    assert np.abs(ours - accuracies()).max() < 0.01
    assert ours[1] > 0.93


def test_regression_and_a_schedule_of_ones_own():
    x, _ = pool(6, 1, 300)
    y = x @ np.arange(6.0) + 1
    shown = Records(x, y, np.arange(300))
    recipe = TorchRecipe(hidden=(32,), epochs=60, lr=0.02, schedule=lambda done: 1 - done)
    values = recipe.fit(shown, np.arange(200), 0).query(x, Access.SCORE)
    assert values.kind == "values"
    assert np.corrcoef(values.values[200:], y[200:])[0, 1] > 0.98


def test_fingerprints_say_which_engine(monkeypatch):
    ours = json.loads(RECIPE.fingerprint())
    assert ours["compiled"] == compiled.ARITHMETIC
    assert replace(RECIPE, threads=4, chunk=3).fingerprint() == RECIPE.fingerprint()
    monkeypatch.setattr(compiled, "_installed", lambda: False)
    assert not compiled.takes(RECIPE)
    assert "compiled" not in json.loads(RECIPE.fingerprint())


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "layer"}, {"model": "cnn"}, {"augment": "flip"}, {"device": "cuda"},
        {"loss": lambda outputs, y: outputs.sum()}, {"optimizer": torch.optim.SGD},
        {"model": "logistic", "hidden": (3,)},
        {"activation": "relux"}, {"model": lambda: torch.nn.Linear(3, 2)},
    ],
)  # fmt: skip
def test_everything_else_is_left_to_torch(options):
    assert not compiled.takes(TorchRecipe(**options))


def test_what_cannot_be_trained_is_said():
    with pytest.raises(ModelError, match="not finite"):
        replace(RECIPE, lr=1e30, schedule="constant").fit(records(kind="floats"), np.arange(100), 0)
    numbers = Records(np.zeros((9, 2), np.float32), np.linspace(0, 1, 9), np.arange(9))
    with pytest.raises(ConfigError, match="needs classes"):
        TorchRecipe(loss="cross_entropy").fit(numbers, np.arange(5), 0)
    beyond = Records(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 3]), np.arange(4), None, ("a", "b"))
    with pytest.raises(DataError, match="below the number of classes"):
        TorchRecipe().fit(beyond, np.arange(3), 0)


def test_training_and_asking_load_no_torch():
    code = (
        "import sys, numpy as np; from vestige import TorchRecipe, Records; from vestige.target import Access;"
        "r = Records.build(np.eye(20, dtype=np.float32), np.arange(20) % 2);"
        "t = TorchRecipe(hidden=(8,), epochs=1, device='cpu').fit(r, np.arange(9), 0); t.state();"
        "print(t.query(r.x, Access.SCORE).values.shape, 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["(20,", "2)", "False"]


def test_a_damaged_cache_is_compiled_again(tmp_path, monkeypatch):
    from vestige.backends.compiled import entry

    made = []
    monkeypatch.setattr(calling, "user_cache", lambda: tmp_path)
    monkeypatch.setattr(entry, "machine_code", lambda machine: made.append(machine) or b"code")
    assert [calling._code("machine", "cpu") for _ in range(2)] == [b"code"] * 2
    assert len(made) == 1
    calling._code("machine", "another cpu")
    assert len(made) == 2
    file = min((tmp_path / "compiled").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    assert [calling._code("machine", cpu) for cpu in ("cpu", "another cpu")] == [b"code"] * 2
    assert len(made) == 3
    monkeypatch.setattr(calling, "user_cache", lambda: tmp_path / "compiled" / file.name)  # where nothing can be made
    assert calling._code("machine", "cpu") == b"code"


def test_the_same_records_are_encoded_once():
    shown = records()
    assert Setup.of(RECIPE, shown) is Setup.of(RECIPE, shown)
    assert Setup.of(RECIPE, shown) is not Setup.of(RECIPE, records())


def test_tables_of_the_wrong_length_never_reach_compiled_code():
    with pytest.raises(ValueError, match="Expected tables of"):
        calling.call([np.zeros(3)], [1], [0.5])


def test_every_compiled_source_is_part_of_the_key_of_its_code():
    """A source left out would leave old machine code in use after a change to it."""
    folder = Path(compiled.__file__).parent
    found, open_ones = set(), ["entry"]
    while open_ones:
        name = open_ones.pop()
        found.add(name)
        text = (folder / f"{name}.py").read_text()
        named = set(re.findall(r"^from vestige\.backends\.compiled\.(\w+) import", text, re.MULTILINE))
        if "from vestige.backends.compiled import epoch" in text:
            named.add("epoch")
        open_ones += named - found - {"calling"}
    assert found == set(calling.COMPILED)
