from __future__ import annotations

import os

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vestige.backends.loading import load_model
from vestige.errors import ModelError, UsageError
from vestige.records import Records
from vestige.seeds import rng
from vestige.target import Access, Outputs

X = rng(0, "x").normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
RECORDS = Records(X, Y, np.arange(60), classes=("no", "yes"))


class Linear:
    """A recipe that knows how to restore a linear model from its weights."""

    def restore(self, records, arrays):
        weight, bias = arrays["weight"], arrays["bias"]
        if weight.shape != (len(records.classes), records.x.shape[1]):
            raise RuntimeError(f"size mismatch for weight: {weight.shape}")
        return Restored(weight, bias)


class Restored:
    access = Access.SCORE

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def query(self, x, want):
        return Outputs("logits", x @ self.weight.T + self.bias)


class Exploit:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ".pt"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, suffix):
    mark = tmp_path / "ran"
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        pytest.importorskip("torch").save({"weight": Exploit(mark)}, path)
    else:
        joblib.dump(Exploit(mark), path)
    with pytest.raises(ModelError, match=r"refused.*trust"):
        load_model(path, records=RECORDS, recipe=Linear())
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".joblib", ".pickle"])
def test_a_trusted_pickle_is_read(tmp_path, suffix):
    model = LogisticRegression().fit(X, Y)
    path = tmp_path / f"model{suffix}"
    joblib.dump(model, path)
    target = load_model(path, records=RECORDS, trust=True, kind="sklearn")
    np.testing.assert_array_equal(target.query(X, Access.SCORE).values, model.predict_proba(X))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("dressed", [False, True])
def test_weights_with_a_recipe(tmp_path, suffix, dressed):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 2)
    state = {f"module.{k}" if dressed else k: v for k, v in module.state_dict().items()}
    path = tmp_path / f"model{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if dressed else state, path)
    target = load_model(path, records=RECORDS, recipe=Linear(), kind="torch")
    expected = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(target.query(X, Access.SCORE).values, expected, rtol=1e-5, atol=1e-6)


def test_weights_of_a_torch_recipe(tmp_path):
    torch = pytest.importorskip("torch")
    from vestige.backends.torch import TorchRecipe

    recipe = TorchRecipe(model="mlp", hidden=[5], epochs=1, batch_size=16, lr=0.1)
    trained = recipe.fit(RECORDS, np.arange(40), 3)
    torch.save({name: torch.from_numpy(array) for name, array in trained.state().items()}, tmp_path / "m.pt")
    target = load_model(tmp_path / "m.pt", records=RECORDS, recipe=recipe)
    values = target.query(X, Access.SCORE).values
    np.testing.assert_allclose(values, trained.query(X, Access.SCORE).values, rtol=1e-5, atol=1e-6)
    other = TorchRecipe(model="mlp", hidden=[6], epochs=1, batch_size=16, lr=0.1)
    with pytest.raises(ModelError, match=r"do not fit the recipe's architecture: .*size mismatch") as caught:
        load_model(tmp_path / "m.pt", records=RECORDS, recipe=other)
    assert "\n" not in str(caught.value)


def test_half_precision_weights(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    state = {"weight": torch.ones(2, 4, dtype=torch.bfloat16), "bias": torch.zeros(2, dtype=torch.float16)}
    save_file(state, tmp_path / "m.safetensors")
    target = load_model(tmp_path / "m.safetensors", records=RECORDS, recipe=Linear())
    np.testing.assert_allclose(target.query(X, Access.SCORE).values[:, 0], X.sum(axis=1), rtol=1e-5, atol=1e-5)


def test_weights_without_or_with_the_wrong_recipe(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pt"
    torch.save(torch.nn.Linear(9, 2).state_dict(), path)
    with pytest.raises(UsageError, match="not the model's architecture"):
        load_model(path, records=RECORDS)
    with pytest.raises(ModelError, match="do not fit the recipe's architecture: size mismatch"):
        load_model(path, records=RECORDS, recipe=Linear())
    torch.save({"epoch": 3}, path)
    with pytest.raises(ModelError, match=r"Expected weights in 'm.pt', got 'epoch' of type int"):
        load_model(path, records=RECORDS, recipe=Linear())


def test_torchscript_is_refused(tmp_path):
    import zipfile

    pytest.importorskip("torch")
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/code/__torch__.py", "")
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(tmp_path / "m.pt", records=RECORDS, recipe=Linear(), trust=True)


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboost_files(tmp_path, suffix):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=3).fit(X, Y)
    path = tmp_path / f"m{suffix}"
    model.save_model(path)
    target = load_model(path, records=RECORDS, kind="xgboost")
    np.testing.assert_allclose(target.query(X, Access.SCORE).values, model.predict_proba(X), rtol=1e-6)


def test_lightgbm_files(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(X, Y)
    path = tmp_path / "m.txt"
    model.booster_.save_model(path)
    target = load_model(path, records=RECORDS, kind="lightgbm")
    np.testing.assert_allclose(target.query(X, Access.SCORE).values, model.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("trust", [False, True])
def test_skops_files(tmp_path, trust):
    skops = pytest.importorskip("skops.io")
    model = LogisticRegression().fit(X, Y)
    skops.dump(model, tmp_path / "m.skops")
    target = load_model(tmp_path / "m.skops", records=RECORDS, trust=trust)
    np.testing.assert_array_equal(target.query(X, Access.SCORE).values, model.predict_proba(X))


def test_skops_missing_is_said_so(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    (tmp_path / "m.skops").write_bytes(b"x")
    with pytest.raises(ModelError, match="pip install skops"):
        load_model(tmp_path / "m.skops", records=RECORDS)


@pytest.mark.parametrize("suffix", [".json", ".ubj", ".txt", ".pt", ".safetensors", ".joblib", ".pkl"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"tree\nnothing", b"\x80\x04K\x01.", b"\x00" * 64])
def test_damaged_files_end_in_one_sentence(tmp_path, suffix, content):
    for library in ("xgboost", "lightgbm", "torch"):
        pytest.importorskip(library)
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises((ModelError, UsageError)) as caught:
        load_model(path, records=RECORDS, recipe=Linear(), trust=suffix in (".joblib", ".pkl"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("nothing.pt", None, "There is no model file"),
        ("model.onnx", None, "Expected a model file ending in"),
        ("model", None, "Expected a model file ending in"),
        ("m.txt", "xgboost", "Expected a xgboost model to end in .json"),
        ("m.pt", "tourch", "Did you mean 'torch'"),
        ("folder.pt", "torch", "got the folder"),
    ],
)
def test_paths_and_kinds_that_cannot_be(tmp_path, name, kind, complaint):
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises((ModelError, UsageError), match=complaint):
        load_model(tmp_path / name, records=RECORDS, kind=kind)
