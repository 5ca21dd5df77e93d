"""What a model, a recipe or the arrays of `vestige.audit` can have wrong with them: one sentence, never a traceback."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

import vestige as product
from command_line import assert_one_sentence, assert_says, vestige
from vestige.errors import ExitCode, MissingDependency, ModelError, StoreError, VestigeError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 3)), RNG.integers(0, 2, 80)
ARRAYS = (X[:40], Y[:40], X[40:], Y[40:])
USUAL = {"attacks": ["loss"], "shadow": 4, "fpr": [0.1], "progress": False}


@pytest.fixture(scope="module")
def bayes():
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB().fit(*ARRAYS[:2])


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))


def refuse(model, *words, arrays=ARRAYS, code=ExitCode.USAGE, **options):
    with pytest.raises(VestigeError) as caught:
        product.audit(model, *arrays, **{**USUAL, **options})
    assert caught.value.exit_code == code, caught.value
    assert_says(" ".join(str(caught.value).split()), *words)


def test_the_arrays_are_in_order(bayes):
    assert product.audit(bayes, *ARRAYS, **USUAL).exit_code == 0


def other(members_x=ARRAYS[0], members_y=ARRAYS[1], nonmembers_x=ARRAYS[2], nonmembers_y=ARRAYS[3]):
    return members_x, members_y, nonmembers_x, nonmembers_y


def frame(hole=False):
    import pandas as pd

    table = pd.DataFrame(ARRAYS[0], columns=["age", "height", "weight"])
    if hole:
        table.loc[7, "height"] = None
    return table


CALLS = {
    "lengths of members": (lambda: other(members_y=Y[:39]), ["one label per record", "40 members and 39 labels"]),
    "lengths of non-members": (lambda: other(nonmembers_y=Y[:9]), ["one label per record", "40 non-members", "9"]),
    "widths": (lambda: other(nonmembers_x=X[40:, :2]), ["members and non-members of one shape", "(3,) and (2,)"]),
    "no members": (lambda: other(X[:0], Y[:0]), ["at least one record among the members", "none"]),
    "no non-members": (lambda: other(nonmembers_x=X[:0], nonmembers_y=Y[:0]), ["among the non-members", "none"]),
    "nothing": (lambda: other(members_x=None), ["members", "got None"]),
    "a number": (lambda: other(members_y=3), ["members", "got a int"]),
    "a text": (lambda: other(members_x="people.csv", members_y="people.csv"), ["members", "got the text"]),
    "a generator": (lambda: other(members_x=(row for row in X)), ["members", "got a generator"]),
    "ragged": (lambda: other(members_x=[[1.0], [1.0, 2.0]] * 20), ["form an array", "different lengths"]),
    "sparse": (lambda: other(members_x=sparse(ARRAYS[0])), ["dense", "sparse", "toarray"]),
    "a hole in a table": (
        lambda: other(frame(hole=True), ARRAYS[1], frame(), ARRAYS[3]),
        ["1 missing", "'height'", "row 7", "fill or drop"],
    ),
    "a table and an array": (lambda: other(members_x=frame()), ["both", "DataFrame"]),
    "tables of other columns": (
        lambda: other(frame().rename(columns={"age": "years"}), ARRAYS[1], frame(), ARRAYS[3]),
        ["the same columns", "'age' is in only one"],
    ),
    "nan": (lambda: other(members_x=np.where(ARRAYS[0] > 2, np.nan, ARRAYS[0])), ["finite features", "NaN"]),
    "one class": (lambda: other(members_y=Y[:40] * 0, nonmembers_y=Y[:40] * 0), ["two classes", "every label is 0"]),
    "more classes than the model has": (
        lambda: other(members_y=np.arange(40) % 5),
        ["24 of 40", "does not know (2, 3, 4)"],
    ),
    "texts and numbers": (lambda: other(members_y=["a", *Y[1:40].tolist()]), ["labels of one kind", "texts"]),
    "one-hot": (lambda: other(members_y=np.eye(2)[Y[:40]], nonmembers_y=np.eye(2)[Y[40:]]), ["argmax"]),
}


def sparse(x):
    from scipy.sparse import csr_matrix

    return csr_matrix(x)


@pytest.mark.parametrize(("arrays", "words"), CALLS.values(), ids=CALLS)
def test_arrays(bayes, arrays, words):
    refuse(bayes, *words, arrays=arrays())


OPTIONS = {
    "fpr 0": ({"fpr": [0]}, ["audit.fpr", "strictly between 0 and 1", "got [0]"]),
    "fpr that is a number": ({"fpr": 0.1}, ["fpr", "a list", "got 0.1"]),
    "access": ({"access": "everything"}, ["audit.access", "'label', 'score' or 'white_box'", "'everything'"]),
    "attack": ({"attacks": ["lirra"]}, ["'lirra'", "did you mean 'lira'"]),
    "attacks": ({"attacks": 7}, ["attacks", "got 7"]),
    "shadow": ({"shadow": -1}, ["shadow.count", "at least 0", "got -1"]),
    "seed": ({"seed": -1}, ["seed", "at least 0", "got -1"]),
    "executor": ({"executor": "threads"}, ["no executor called 'threads'"]),
    "groups": ({"groups": [1, 2, 3]}, ["one group per record", "80 records and 3 groups"]),
    "recipe": ({"recipe": "mlp"}, ["expected a recipe", "got a str", "TorchRecipe"]),
    "a function for a recipe": ({"recipe": lambda x, y, seed: None}, ["expected a recipe", "FunctionRecipe"]),
    "no recipe": ({"recipe": None, "shadow": 0, "attacks": ["nope"]}, ["'nope'"]),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_options(bayes, options, words):
    refuse(bayes, *words, **options)


def scores(rows, columns=2):
    return np.full((rows, columns), 1 / columns)


def fails(x):
    raise ZeroDivisionError("the model\nfell over")


MODELS = {
    "nan": (lambda x: scores(len(x)) * np.nan, ["finite answers", "NaN or infinity for", "converged"]),
    "too few rows": (lambda x: scores(len(x) - 1), ["80 answers for 80 records, got 79", "one row per record"]),
    "too many columns": (lambda x: scores(len(x), 3), ["shape (records, 2)", "(80, 3)"]),
    "a single number": (lambda x: 0.5, ["answers for", "a single number"]),
    "nothing": (lambda x: None, ["answers for", "got"]),
    "raises": (fails, ["function failed", "ZeroDivisionError", "the model"]),
    "no probabilities": (lambda x: np.full((len(x), 2), "a"), ["numbers for each class"]),
    "a cube": (lambda x: np.ones((len(x), 2, 2)), ["shape (records, 2)", "(80, 2, 2)"]),
    "a class": (dict, ["a trained model, got the class dict", "instance"]),
    "a path": ("model.joblib", ["expected a model, got 'model.joblib'", "load_model"]),
    "a number": (7, ["expected an estimator", "got int"]),
}


@pytest.mark.parametrize(("model", "words"), MODELS.values(), ids=MODELS)
def test_models(model, words):
    refuse(model, *words, shadow=0)


def test_a_function_does_not_say_how_it_was_trained():
    refuse(lambda x: scores(len(x)), "does not say how it was trained", "FunctionRecipe(train)")


def test_a_model_that_was_not_fitted():
    from sklearn.naive_bayes import GaussianNB

    refuse(GaussianNB(), "GaussianNB that has not been fitted", "call its fit")


def test_a_model_of_other_features(bayes):
    refuse(bayes, "GaussianNB.predict_proba failed", "features", arrays=(X[:40, :2], Y[:40], X[40:, :2], Y[40:]))


def test_a_regressor_for_classes():
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(*ARRAYS[:2])
    refuse(model, "expected a classifier", "got LinearRegression", task="classification")


def raises(x, y, seed):
    raise RuntimeError("no convergence")


def returns_nothing(x, y, seed):
    return None


def returns_nan(x, y, seed):
    return lambda x: scores(len(x)) * np.nan


def stops_after_three(x, y, seed):
    stops_after_three.turns += 1
    if stops_after_three.turns > 3:
        raise RuntimeError("the licence has expired")
    return lambda x: scores(len(x))


TRAININGS = {
    "raises": (raises, ["training function", "raises failed", "RuntimeError: no convergence", "yourself"]),
    "returns nothing": (returns_nothing, ["returns_nothing to return a model, got None"]),
    "returns nan": (returns_nan, ["finite answers", "NaN"]),
    "not three arguments": (lambda x: None, ["training function", "failed", "TypeError"]),
}


@pytest.mark.parametrize(("train", "words"), TRAININGS.values(), ids=TRAININGS)
def test_training_functions(bayes, train, words):
    refuse(bayes, *words, recipe=product.FunctionRecipe(train))


def test_models_that_were_finished_before_a_failure_are_kept(bayes, tmp_path):
    stops_after_three.turns = 0
    recipe = product.FunctionRecipe(stops_after_three)
    refuse(bayes, "the licence has expired", "3 of 8 models were finished", recipe=recipe, shadow=8)
    assert len(list((tmp_path / "store" / "signals").iterdir())) == 3
    stops_after_three.turns = -5
    log = product.audit(bayes, *ARRAYS, **{**USUAL, "shadow": 8}, recipe=recipe)
    assert (log.shadow.trained, log.shadow.reused) == (5, 3)


@pytest.mark.parametrize(
    "error",
    [
        ModelError("It fell over.", hint="Pick it up."),
        StoreError("It is full.", hint="Empty it."),
        MissingDependency("torch", extra="torch", purpose="This"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_home_whole_from_a_worker(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), again.hint) == (type(error), str(error), error.hint)


class Locked:
    """A recipe that cannot leave its process."""

    def __init__(self):
        self.lock = threading.Lock()

    def fingerprint(self):
        return "locked"

    def fit(self, records, rows, seed):
        raise AssertionError("never reached")


def test_a_recipe_that_cannot_be_sent_to_processes(bayes):
    refuse(bayes, "cannot be sent to worker processes", "lock", "inline", recipe=Locked(), executor="processes")


def test_an_attack_that_needs_shadow_models_without_any_is_skipped_and_says_why(bayes):
    log = product.audit(bayes, *ARRAYS, **{**USUAL, "attacks": ["loss", "lira"], "shadow": 0})
    assert (log.status, log.exit_code) == ("partial", 3)
    assert log.attack("lira").status == "skipped"
    assert "shadow models" in log.attack("lira").reason
    assert log.attack("loss").status == "ok"


def test_an_attack_on_scores_is_skipped_where_only_labels_are_shown(bayes):
    log = product.audit(bayes, *ARRAYS, **{**USUAL, "attacks": ["gap", "loss"], "access": "label"})
    assert (log.status, log.exit_code) == ("partial", 3)
    assert "needs score access" in log.attack("loss").reason
    assert log.attack("gap").status == "ok"


def test_a_model_that_shows_labels_alone():
    def sign(x):
        return (x[:, 0] > 0).astype(int)

    refuse(sign, "needs score access", "answers labels", "access = 'label'", shadow=0)
    refuse(lambda x: np.full(len(x), 7), "among the 2 classes (0, 1)", "[7]", shadow=0, access="label")


def torch_model(width=3, **parts):
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))


def test_a_torch_module_in_training_mode_is_not_to_be_trusted():
    log = product.audit(torch_model().train(), *ARRAYS, **{**USUAL, "shadow": 0})
    assert log.exit_code == 4
    found = next(check for check in log.checks if check.id == "target-train-mode")
    assert found.level == "error"
    assert "eval()" in found.cure


def test_a_torch_module_does_not_say_how_it_was_trained():
    refuse(torch_model().eval(), "does not say how it was trained", "TorchRecipe(model=factory")


def test_a_torch_module_of_other_features():
    refuse(torch_model(width=5).eval(), "could not answer", "shape", shadow=0)


def test_a_torch_module_with_nan_weights():
    model = torch_model().eval()
    model[0].weight.data[:] = float("nan")
    refuse(model, "NaN", "scaled as in training", shadow=0)


def test_a_module_where_a_factory_is_wanted():
    with pytest.raises(VestigeError) as caught:
        product.TorchRecipe(model=torch_model())
    assert_says(str(caught.value), "a factory that returns a new module", "got Sequential", "not a module that exists")


def test_a_factory_that_raises(bayes):
    def broken():
        raise KeyError("layers")

    refuse(bayes, "factory", "broken failed", "KeyError", recipe=product.TorchRecipe(model=broken, epochs=1))


def test_training_that_diverges(bayes):
    recipe = product.TorchRecipe(model="mlp", hidden=(8,), lr=1e30, epochs=3, normalize="none", optimizer="sgd")
    refuse(bayes, "not finite", "lower lr", recipe=recipe)


CONFIG = """
name = "small"
[data]
source = "people.npz"
[recipe]
kind = "torch"
model = "mlp"
hidden = [4]
epochs = 2
[target]
model = "%s"
members = "members.npy"
[shadow]
count = 2
[audit]
attacks = ["loss"]
fpr = [0.1]
"""


def joblib_file(path):
    import joblib
    from sklearn.naive_bayes import GaussianNB

    joblib.dump(GaussianNB().fit(*ARRAYS[:2]), path)


def torch_module_file(path):
    import torch

    torch.save(torch_model(), path)


def weights_file(path, hidden=5, cut=None, **extra):
    import torch

    torch.save({"0.weight": torch.zeros(hidden, 3), "0.bias": torch.zeros(hidden), **extra}, path)
    if cut:
        path.write_bytes(path.read_bytes()[:cut])


def cut_joblib(path):
    joblib_file(path)
    path.write_bytes(path.read_bytes()[:100])


def safetensors_file(path):
    from safetensors.numpy import save_file

    save_file({"0.weight": np.zeros((5, 3), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:90])


def text_file(path):
    path.write_text("model")


def empty_file(path):
    path.write_bytes(b"")


def no_file(path):
    pass


def script_file(path):
    import torch

    torch.jit.script(torch.nn.Linear(3, 2)).save(str(path))


FILES = {
    "none": ("model.pt", no_file, [], ["no model file", "check the path"]),
    "a folder": ("model.pt", lambda path: path.mkdir(), [], ["expected a model file, got the folder"]),
    "empty": ("model.pt", empty_file, [], ["model.pt' is empty", "write it again"]),
    "unknown ending": ("model.h5", text_file, [], ["a model file ending in .safetensors", "'model.h5'"]),
    "a pickle": ("model.joblib", joblib_file, [], ["is a pickle", "refused", "--trust"]),
    "a whole module": ("model.pt", torch_module_file, [], ["more than weights", "refused", "state_dict()", "--trust"]),
    "a cut pickle": ("model.joblib", cut_joblib, ["--trust"], ["could not read a model", "model.joblib", "damaged"]),
    "a text as a pickle": ("model.pkl", text_file, ["--trust"], ["could not read a model", "model.pkl", "damaged"]),
    "cut weights": ("model.pt", lambda path: weights_file(path, cut=400), [], ["torch.save wrote", "cut short"]),
    "text as weights": ("model.pt", text_file, [], ["torch.save wrote", "another kind of file"]),
    "cut safetensors": ("model.safetensors", safetensors_file, [], ["could not read", "model.safetensors", "damaged"]),
    "other weights": ("model.pt", weights_file, [], ["do not fit the recipe's architecture", "check the recipe"]),
    "no weights": ("model.pt", lambda path: weights_file(path, note="hello"), [], ["expected weights", "'note'"]),
    "text as xgboost": ("model.json", text_file, [], ["could not read a model", "model.json", "damaged"]),
    "text as lightgbm": ("model.txt", lambda path: path.write_text("no"), [], ["lightgbm", "does not start"]),
}


@pytest.mark.parametrize(("name", "make", "words", "says"), FILES.values(), ids=FILES)
def test_model_files(tmp_path, monkeypatch, name, make, words, says):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    np.savez("people.npz", x=X, y=Y)
    np.save("members.npy", np.arange(80) < 40)
    (tmp_path / "audit.toml").write_text(CONFIG % name)
    assert_one_sentence(vestige("audit", "audit.toml", "--out", "out", *words), 2, *says)
    assert not (tmp_path / "store" / "models").exists()


def test_a_module_file_in_training_mode_ends_in_exit_code_4(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch_module_file(tmp_path / "model.pt")
    np.savez("people.npz", x=X, y=Y)
    np.save("members.npy", np.arange(80) < 40)
    (tmp_path / "audit.toml").write_text(CONFIG % "model.pt")
    ended = vestige("audit", "audit.toml", "--out", "out", "--trust")
    assert_one_sentence(ended, 4, "not to be trusted", "training mode", "eval()")
    assert (tmp_path / "out" / "audit.json").exists()
