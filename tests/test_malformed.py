"""What a config, a data file or a list of members can have wrong with it: each ends in one sentence and exit code 2."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from command_line import assert_one_sentence, vestige

CONFIG = """
name = "small"
[data]
source = "people.csv"
[recipe]
kind = "sklearn"
model = "sklearn.naive_bayes:GaussianNB"
[shadow]
count = 4
[audit]
attacks = ["loss"]
fpr = [0.1]
"""
TORCH = "recipe={kind='torch', model='mlp', hidden=[8], epochs=2}"
MEMBER = 'target={model="model.joblib", members="%s", trust=true}'


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder in which everything is in order: a config, a table of people, a model."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "audit.toml").write_text(CONFIG)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 3)), rng.integers(0, 2, 80)
    lines = [f"{i},{a:.4f},{b:.4f},{c:.4f},{label}" for i, ((a, b, c), label) in enumerate(zip(x, y, strict=True))]
    (folder / "people.csv").write_text("\n".join(["id,age,height,weight,label", *lines]) + "\n")
    np.savez(folder / "people.npz", x=x, y=y)
    (folder / "members.txt").write_text("\n".join(map(str, range(40))))
    import joblib
    from sklearn.naive_bayes import GaussianNB

    joblib.dump(GaussianNB().fit(x[:40], y[:40]), folder / "model.joblib")
    return folder


@pytest.fixture
def audit(desk, tmp_path, monkeypatch):
    """Run `vestige audit` in a copy of the desk: one file of it written anew, some keys of the config set."""
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VESTIGE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VESTIGE_CACHE", str(tmp_path / "cache"))

    def run(*changes, config="audit.toml", words=(), **files):
        for name, content in files.items():
            write(tmp_path / name.replace("__", "."), content)
        return vestige("audit", config, "--out", "out", *words, *(w for c in changes for w in ("--set", c)))

    return run


def write(path, content):
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_the_desk_is_in_order(audit):
    ended = audit()
    assert (ended.code, ended.complaints) == (0, []), ended.err
    assert audit(MEMBER % "members.txt").code == 0


GARBAGE = bytes(range(256)) * 20

CONFIGS = {
    "no such file": ("adit.toml", None, ["no config file", "adit.toml", "did you mean 'audit.toml'"]),
    "no such example": ("digitz", None, ["no config file or bundled example", "did you mean 'digits'"]),
    "a folder": (".", None, ["expected a config file, got the folder", "audit.toml"]),
    "an empty file": ("a.toml", "", ["is empty", "vestige init"]),
    "binary": ("a.toml", GARBAGE, ["a.toml", "UTF-8"]),
    "cut short": ("a.toml", "[data\nsource = ", ["a.toml", "not valid TOML", "line 1"]),
    "a list as yaml": ("a.yaml", "- 1\n- 2\n", ["a.yaml", "expected", "keys and values", "got a list"]),
    "broken yaml": ("a.yaml", "data: [1,", ["a.yaml", "not valid YAML"]),
    "a key twice": ("a.toml", "seed = 1\nseed = 2\n", ["a.toml", "not valid TOML", "line 2"]),
    "an empty pyproject": ("pyproject.toml", "[project]\nname = 'x'\n", ["no [tool.vestige] table", "add one"]),
}


@pytest.mark.parametrize(("name", "content", "words"), CONFIGS.values(), ids=CONFIGS)
def test_config_files(audit, name, content, words):
    files = {} if content is None else {name.replace(".", "__"): content}
    assert_one_sentence(audit(config=name, **files), 2, *words)


KEYS = {
    "unknown key": ("sed=1", ["unknown key 'sed'", "did you mean 'seed'"]),
    "unknown section": ("shadwo.count=3", ["unknown key 'shadwo'", "did you mean 'shadow'"]),
    "unknown key of a section": ("shadow.cout=3", ["unknown key 'shadow.cout'", "did you mean 'count'"]),
    "key of another section": ("audit.count=3", ["unknown key 'audit.count'", "shadow.count"]),
    "no value": ("shadow.count", ["expected --set key=value", "got 'shadow.count'", "for example"]),
    "no key": ("=3", ["expected --set key=value", "got '=3'"]),
    "key without a name": ("shadow..count=3", ["could not understand the key"]),
    "text for a number": ("shadow.count=many", ["shadow.count", "a whole number", "got 'many'"]),
    "fraction for a count": ("shadow.count=2.5", ["shadow.count", "a whole number", "got 2.5"]),
    "negative count": ("shadow.count=-1", ["shadow.count", "at least 0", "got -1"]),
    "true for a number": ("seed=true", ["seed", "number", "got true"]),
    "fpr 0": ("audit.fpr=[0]", ["audit.fpr", "strictly between 0 and 1", "got [0]"]),
    "fpr 1": ("audit.fpr=[0.1, 1]", ["audit.fpr", "strictly between 0 and 1"]),
    "no fpr": ("audit.fpr=[]", ["audit.fpr", "got []"]),
    "population 1.5": ("data.population=1.5", ["data.population", "less than 1", "got 1.5"]),
    "population too large": ("data.population=0.99", ["some of the 1 records", "fewer out as population"]),
    "confidence 2": ("audit.confidence=2", ["audit.confidence", "less than 1", "got 2"]),
    "no workers": ("shadow.workers=0", ["shadow.workers", "at least 1", "got 0"]),
    "unknown access": ("audit.access=all", ["audit.access", "'label', 'score' or 'white_box'", "got 'all'"]),
    "unknown design": ("shadow.design=randon", ["shadow.design", "'blocks' or 'bernoulli'", "got 'randon'"]),
    "unknown dataset": ("data.source=digitz", ["no dataset called 'digitz'", "did you mean 'digits'"]),
    "unknown attack": ('audit.attacks=["lirra"]', ["'lirra'", "did you mean 'lira'"]),
    "unknown battery": ("audit.attacks=standart", ["'standart'", "did you mean 'standard'"]),
    "no attacks": ("audit.attacks=[]", ["audit.attacks", "at least one attack"]),
    "unknown parameter of an attack": (
        'audit.attacks=[{name="lira", params={varience="pooled"}}]',
        ["'lira' has no parameter 'varience'", "did you mean 'variance'"],
    ),
    "impossible parameter of an attack": (
        'audit.attacks=[{name="lira", params={variance="sometimes"}}]',
        ["variance", "'sometimes'"],
    ),
    "text for a switch of an attack": (
        'audit.attacks=[{name="loss", params={gaussian="no"}}]',
        ["'gaussian' of the attack 'loss'", "boolean", "got 'no'"],
    ),
    "a number for a signal": (
        'audit.attacks=[{name="lira", params={signal=3}}]',
        ["'signal' of the attack 'lira'", "string", "got 3"],
    ),
    "a signal nobody knows": (
        'audit.attacks=[{name="lira", params={signal="log_ods"}}]',
        ["no signal called 'log_ods'", "did you mean 'log_odds'"],
    ),
    "parameters beside the name": ('audit.attacks=[{name="lira", variance="pooled"}]', ["inside 'params'"]),
    "unknown executor": ("shadow.executor=proceses", ["no executor called 'proceses'", "did you mean 'processes'"]),
    "unknown recipe": ("recipe.kind=skleran", ["no recipe called 'skleran'", "did you mean 'sklearn'"]),
    "recipe module missing": ("recipe={kind='nowhere.at_all:train'}", ["nowhere", "PYTHONPATH"]),
    "recipe function missing": ("recipe={kind='json:train'}", ["json:train", "package.module:function"]),
    "recipe no function": ("recipe={kind='json:decoder'}", ["expected a function train(x, y, seed)", "got a module"]),
    "unknown key of an estimator": ("recipe.modle='x:Y'", ["no key 'modle'", "model, params"]),
    "estimator missing": ("recipe.model='sklearn.svm:SVCC'", ["has no 'SVCC'", "did you mean 'SVC'"]),
    "estimator not importable": ("recipe.model='sklearnn.svm:SVC'", ["no module 'sklearnn'", "spelling"]),
    "estimator without a colon": ("recipe.model='SVC'", ["package.module:Class, got 'SVC'", "sklearn.svm:SVC"]),
    "estimator that is a number": ("recipe.model=3", ["an estimator's class", "got 3"]),
    "estimator left out": ("recipe={kind='sklearn'}", ["needs 'model'", "sklearn.svm:SVC"]),
    "unknown parameter of an estimator": (
        "recipe.params={var_smothing=1}",
        ["var_smothing", "did you mean 'var_smoothing'"],
    ),
    "impossible parameter of an estimator": ("recipe.params={var_smoothing='much'}", ["var_smoothing"]),
    "parameters that are no table": ("recipe.params=3", ["params", "a table", "got 3", "max_depth"]),
    "unknown preprocessing": ("recipe.preprocess='scale'", ["preprocess", "none, auto, standard", "got 'scale'"]),
    "regressor for classes": (
        "recipe.model='sklearn.linear_model:LinearRegression'",
        ["expected a classifier", "got LinearRegression"],
    ),
    "a defence that does not exist": ('defences=[{kind="dp_sgdd"}]', ["'dp_sgdd'", "Did you mean 'dp_sgd'"]),
    "a defence without kind": ("defences=[{epsilon=1}]", ["defences[0].kind", "given"]),
    "a figure that does not exist": ("gate={precision=0.1}", ["[gate]", "got 'precision'", "figures are: tpr"]),
    "a rate that was not asked for": ("gate={'tpr@0.01'=0.1}", ["tpr@0.01", "add 0.01 to audit.fpr"]),
    "a limit that is no number": ("gate={auc='low'}", ["gate.auc", "a number", "got 'low'"]),
    "a limit above one": ("gate={auc=60}", ["auc", "between 0 and 1", "got 60"]),
    "unknown query": ('audit.queries=["mirror"]', ["flip, shift:PIXELS", "got 'mirror'"]),
    "a query for images": ('audit.queries=["flip"]', ["'flip'", "needs images"]),
    "one record": ("data.limit=1", ["data.limit", "at least 2", "got 1"]),
    "more models than possible": (
        ("data={source='people.csv', limit=4, population=0}", "shadow.count=9"),
        ["at most 6 shadow models", "got 9", "fewer shadow models or more records"],
    ),
    "fraction too small": ("shadow.fraction=0.001", ["fraction", "0.001", "nearer to one half"]),
    "more targets than models": ("audit.targets=9", ["targets = 9", "8 shadow models", "there are 4"]),
    "targets that share a block": ("audit.targets=4", ["targets = 4", "fewer targets or more shadow models"]),
    "shadow data nobody knows": ("shadow.data=digitz", ["digitz", "did you mean 'digits'"]),
    "shadow architecture by name": ("shadow.architecture=cnn", ["architecture", "table like [recipe]", "got 'cnn'"]),
    "kind of target unknown": (
        'target={model="model.joblib", members="members.txt", kind="tensorflow"}',
        ["torch, sklearn", "'tensorflow'"],
    ),
    "target without a model": ('target={members="members.txt"}', ["[target] needs 'model'"]),
    "target without members": ('target={model="model.joblib"}', ["[target] needs 'members'", "column", "file"]),
}


@pytest.mark.parametrize(("change", "words"), KEYS.values(), ids=KEYS)
def test_keys_and_values(audit, change, words):
    changes = [change] if isinstance(change, str) else change
    assert_one_sentence(audit(*changes), 2, *words)


TORCHES = {
    "a typo": ("recipe.epoch=3", ["epoch", "did you mean 'epochs'"]),
    "negative epochs": ("recipe.epochs=-1", ["epochs", "whole number of at least 1", "got -1"]),
    "text for a number": ("recipe.lr='fast'", ["lr", "a number above 0", "got 'fast'"]),
    "no batch": ("recipe.batch_size=0", ["batch_size", "at least 1", "got 0"]),
    "unknown optimiser": ("recipe.optimizer='adamm'", ["optimizer", "sgd, adam, adamw", "did you mean 'adam'"]),
    "unknown schedule": ("recipe.schedule='cosin'", ["schedule", "constant, cosine, step", "did you mean 'cosine'"]),
    "unknown model": ("recipe.model='resnet19'", ["no torch model called 'resnet19'", "did you mean 'resnet18'"]),
    "unknown loss": ("recipe.loss='hinge'", ["loss", "cross_entropy", "got 'hinge'"]),
    "unknown augmentation": ("recipe.augment='rotate'", ["augment", "flip, shift", "got 'rotate'"]),
    "augmented rows": ("recipe.augment='flip'", ["flip", "needs images"]),
    "unknown norm": ("recipe.norm='instance'", ["norm", "none, batch, layer", "'instance'"]),
    "unknown activation": ("recipe.activation='mish2'", ["activation", "mish2"]),
    "activation that is a list": ("recipe.activation=['relu']", ["activation", "got ['relu']"]),
    "dropout of one": ("recipe.dropout=1.0", ["dropout", "below 1", "got 1.0"]),
    "text for layers": ("recipe.hidden='wide'", ["hidden", "list of layer sizes", "got 'wide'"]),
    "an image model for rows": ("recipe={kind='torch', model='cnn'}", ["cnn", "image"]),
    "device not here": ("recipe.device='cuda:9'", ["device 'cuda:9'", "cannot be used"]),
    "device unknown": ("recipe.device='tpu9'", ["device 'tpu9'", "cannot be used"]),
    "factory not importable": ("recipe={kind='torch', model='nowhere:make'}", ["nowhere:make", "PYTHONPATH"]),
    "factory not in its module": ("recipe={kind='torch', model='json:make'}", ["json:make", "could not import"]),
    "factory of no module": ("recipe={kind='torch', model='json:dumps'}", ["factory"]),
    "an option of named models": (
        "recipe={kind='torch', model='torch.nn:Identity', hidden=[4]}",
        ["'hidden' belongs to named models", "inside the factory"],
    ),
    "a factory that makes too little": ("recipe={kind='torch', model='torch.nn:Identity'}", ["2 classes", "shape"]),
}


@pytest.mark.parametrize(("change", "words"), TORCHES.values(), ids=TORCHES)
def test_torch_recipes(audit, change, words):
    assert_one_sentence(audit(TORCH, change), 2, *words)


X, Y = np.random.default_rng(1).normal(size=(40, 3)), np.arange(40) % 2
HEADER = "id,a,b,label\n"
ROWS = "".join(f"{i},{i % 7},{i % 5},{i % 2}\n" for i in range(40))


def spoiled(x, value):
    bad = x.copy()
    bad[3, 1] = value
    return bad


DATA = {
    "missing": ("peple.csv", None, ["no file peple.csv", "did you mean 'people.csv'"]),
    "in a missing folder": ("there/people.csv", None, ["no file there/people.csv", "folder there is missing"]),
    "a folder": ("sub.csv", "folder", ["expected a file, got the folder sub.csv"]),
    "empty csv": ("a.csv", "", ["expected records in a.csv", "empty"]),
    "empty npz": ("a.npz", "", ["expected records in a.npz", "empty"]),
    "header alone": ("a.csv", HEADER, ["a.csv", "nothing below"]),
    "binary csv": ("a.csv", GARBAGE, ["a.csv", "UTF-8 text"]),
    "binary npz": ("a.npz", GARBAGE, ["a.npz", "damaged or cut short"]),
    "binary parquet": ("a.parquet", GARBAGE, ["a.parquet", "parquet"]),
    "binary safetensors": ("a.safetensors", GARBAGE, ["a.safetensors", "whole"]),
    "unknown ending": ("a.xlsx", GARBAGE, ["expected a file that ends in .npz", "got a.xlsx", "convert"]),
    "ragged rows": ("a.csv", HEADER + ROWS + "1,2\n", ["expected 4 cells", "got 2 in line 42"]),
    "no header": ("a.csv", ROWS, ["first line", "name the columns", "add a header"]),
    "a column twice": ("a.csv", "a,a,label\n1,2,0\n3,4,1\n", ["distinct column names", "'a' twice"]),
    "label missing": ("a.csv", HEADER.replace("label", "lable") + ROWS, ["no label column 'label'", "mean 'lable'"]),
    "a missing cell": ("a.csv", HEADER + ROWS + "40,,1,0\n", ["1 missing in column 'a'", "line 42", "drop"]),
    "nan": ("a.csv", HEADER + ROWS + "40,nan,1,0\n", ["column 'a'", "line 42"]),
    "infinity": ("a.csv", HEADER + ROWS + "40,inf,1,0\n", ["finite", "'a'", "inf"]),
    "ids twice": ("a.csv", HEADER + ROWS + "7,1,1,0\n", ["distinct ids", "'7'", "groups"]),
    "one class": ("a.csv", HEADER + ROWS.replace(",1\n", ",0\n"), ["two classes", "every label is 0", "column"]),
    "labels that are ids": ("a.csv", HEADER + "".join(f"{i},1,2,{i}\n" for i in range(40)), ["40 different labels"]),
    "only ids and labels": ("a.csv", "id,label\n0,1\n1,0\n2,1\n", ["at least one feature"]),
    "free text": ("a.csv", "a,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(1200)), ["1,000 different", "'a'"]),
    "no labels": ("a.npz", {"x": X}, ["no array 'y'", "it has x", "expected x and y"]),
    "no features": ("a.npz", {"y": Y}, ["no array 'x'"]),
    "lengths that differ": ("a.npz", {"x": X, "y": Y[:-1]}, ["one label per record", "40 records", "39 labels"]),
    "numbers in a row": ("a.npz", {"x": X[:, 0], "y": Y}, ["shape (records, features)", "(40,)", "reshape"]),
    "nan in an array": (
        "a.npz",
        {"x": spoiled(X, np.nan), "y": Y},
        ["finite", "row 3, column 1 is nan", "fill or drop"],
    ),
    "inf in an array": ("a.npz", {"x": spoiled(X, np.inf), "y": Y}, ["finite", "row 3, column 1 is inf"]),
    "texts as features": ("a.npz", {"x": X.astype("U8"), "y": Y}, ["numeric", "U8"]),
    "complex numbers": ("a.npz", {"x": X * 1j, "y": Y}, ["numeric", "complex128"]),
    "objects": ("a.npz", {"x": X.astype(object), "y": Y}, ["Python objects", "run code", "plain dtype"]),
    "one-hot labels": ("a.npz", {"x": X, "y": np.eye(2)[Y]}, ["one label per record", "argmax"]),
    "labels that are nan": (
        "a.npz",
        {"x": X, "y": np.where(Y, np.nan, 1.0)},
        ["a label for every record", "20 missing"],
    ),
    "members of another length": ("a.npz", {"x": X, "y": Y, "member": Y[:9]}, ["one member entry per record", "(9,)"]),
    "no columns": ("a.npz", {"x": X[:, :0], "y": Y}, ["at least one feature"]),
    "one record": ("a.npz", {"x": X[:1], "y": Y[:1]}, ["at least 2 records, got 1"]),
    "one group": ("a.npz", {"x": X, "y": Y, "groups": np.zeros(40)}, ["two groups, got one"]),
    "too few records": (
        "a.npz",
        {"x": X[:4], "y": Y[:4]},
        ["population", "share of 0.2 of 4 records", "population = 0"],
    ),
    "a single array": ("a.npz", "array", ["several named arrays", "numpy.savez"]),
}


@pytest.mark.parametrize(("name", "content", "words"), DATA.values(), ids=DATA)
def test_data_files(audit, tmp_path, name, content, words):
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content == "array":
        with (tmp_path / name).open("wb") as file:
            np.save(file, X)
    elif content is not None:
        write(tmp_path / name, content)
    assert_one_sentence(audit(f"data.source={name}"), 2, *words)


MEMBERS = {
    "no such file": ("nobody.txt", None, ["nobody.txt", "neither a file nor"]),
    "a folder": (".", None, ["expected a file of ids", "folder"]),
    "empty": ("m.txt", "", ["expected ids of members", "empty"]),
    "unknown ending": ("m.lst", "1\n2\n", ["member list that ends in .txt", "m.lst"]),
    "matches nothing": ("m.txt", "900\n901\n", ["none of the 2 ids", "'900'", "same ids"]),
    "matches everything": ("m.txt", "\n".join(map(str, range(80))), ["every record is a member", "add records"]),
    "some unknown": ("m.txt", "1\n2\n900\n", ["1 of 3", "belong to none", "'900'", "remove them"]),
    "texts for numbers": ("m.txt", "ann\nbob\n", ["whole numbers", "'ann'"]),
    "binary": ("m.txt", GARBAGE, ["m.txt", "UTF-8"]),
    "broken json": ("m.json", "[1, 2", ["m.json", "could not read"]),
    "json that is no list": ("m.json", json.dumps({"ids": [1]}), ["m.json", "a list of ids"]),
    "two columns without an id": ("m.csv", "a,b\n1,2\n", ["a column 'id'", "it has a, b"]),
    "a mask of another length": ("m.npy", np.ones(7, bool), ["mask with 80 entries", "(7,)"]),
    "a mask of members alone": ("m.npy", np.ones(80, bool), ["every record is a member"]),
    "a damaged array": ("m.npy", b"\x93NUMPY\x01\x00v\x00{'descr': (" + b" " * 107, ["m.npy", "damaged", "numpy.save"]),
    "fractions": ("m.npy", np.linspace(0, 1, 80), ["ids or a mask", "float64"]),
    "a column that is not there": ("was_in", None, ["no member column 'was_in'"]),
    "a column that says more": ("height", None, ["0 or 1 for every record"]),
}


@pytest.mark.parametrize(("name", "content", "words"), MEMBERS.values(), ids=MEMBERS)
def test_member_lists(audit, tmp_path, name, content, words):
    if isinstance(content, np.ndarray):
        np.save(tmp_path / name, content)
    elif content is not None:
        write(tmp_path / name, content)
    assert_one_sentence(audit(MEMBER % name), 2, *words)
