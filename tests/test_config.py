from __future__ import annotations

import json
import math
import os
import re
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.config import AuditConfig, config_digest, config_schema
from vestige.config.gate import FigureName, figure_name
from vestige.config_errors import sections
from vestige.config_files import examples, find_example, load_config
from vestige.config_overrides import ConfigWarning, from_option, value_of
from vestige.errors import ConfigError, ExitCode, MissingDependency

FULL = """
name = "location30-mlp"
seed = 3
store = "somewhere"
[data]
source = "location30"
[target]
kind = "torch"
model = "model.safetensors"
members = "ids.txt"
[recipe]
kind = "torch"
model = "mlp"
hidden = [256, 128]
weight_decay = 5e-4
[[defences]]
kind = "dp_sgd"
epsilon = 4.0
[[defences]]
kind = "top_k"
[shadow]
count = 64
architecture = { kind = "torch", model = "cnn" }
[audit]
attacks = ["loss", { name = "lira", online = false }, "rmia"]
fpr = [0.01, 0.001]
targets = 2
[gate]
"tpr@0.001" = { max = 0.01 }
"lira.tpr@0.01" = 0.2
auc = { max = 0.6, judge = "low" }
"""


def load(source=None, *overrides, **environ):
    return load_config(source, overrides=overrides, environ=environ)


def sentence(source=None, *overrides, **environ):
    with pytest.raises(ConfigError) as caught:
        load(source, *overrides, **environ)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def write(tmp_path):
    def to(text, name="audit.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to


# --- what is accepted


def test_nothing_said_means_the_defaults():
    assert load() == AuditConfig()
    assert load({}) == AuditConfig()


def test_a_whole_file(write):
    config = load(write(FULL))
    assert config.recipe.options == {"model": "mlp", "hidden": [256, 128], "weight_decay": 5e-4}
    assert config.target.members == "ids.txt"
    assert [defence.kind for defence in config.defences] == ["dp_sgd", "top_k"]
    assert config.audit.fpr == [0.001, 0.01]
    assert config.audit.attacks == ["loss", {"name": "lira", "online": False}, "rmia"]
    assert config.gate["tpr@0.001"].max == 0.01
    assert (config.gate["lira.tpr@0.01"].max, config.gate["lira.tpr@0.01"].attack) == (0.2, "lira")
    assert (config.gate["auc"].judge, config.gate["auc"].attack) == ("low", None)


def test_what_the_log_keeps_reads_back(write):
    config = load(write(FULL))
    kept = json.loads(json.dumps(config.model_dump(mode="json")))
    assert AuditConfig.model_validate(kept) == config == load(kept)


def test_toml_yaml_pyproject_and_dict_say_the_same(write):
    yaml = pytest.importorskip("yaml", reason="needs pyyaml")
    plain = tomllib.loads(FULL)
    config = load(plain)
    assert load(str(write(FULL))) == config
    assert load(write("\ufeff" + FULL.replace("\n", "\r\n"))) == config
    assert load(write(yaml.safe_dump(plain), "audit.yaml")) == config
    table = re.sub(r"^(\[+)(\w)", r"\1tool.vestige.\2", FULL, flags=re.MULTILINE)
    assert load(write(f'[project]\nname = "x"\n[tool.vestige]\n{table}', "pyproject.toml")) == config


def test_values_from_python():
    config = load(
        {"seed": np.int64(3), "data": {"population": np.float32(0.5)}, "store": Path("a"), "recipe": {"h": (1,)}}
    )
    assert (config.seed, config.data.population, config.store, config.recipe.options) == (3, 0.5, "a", {"h": [1]})
    assert type(config.seed) is int


def test_yaml_numbers_mean_what_they_mean_in_toml(write):
    pytest.importorskip("yaml", reason="needs pyyaml")
    text = "recipe:\n  a: 5e-4\n  b: 1E3\n  c: -2.5e+3\n  d: e5\n  e: 1e\n  f: 0.5\n"
    found = load(write(text, "a.yml")).recipe.options
    assert found == {"a": 5e-4, "b": 1000.0, "c": -2500.0, "d": "e5", "e": "1e", "f": 0.5}


def test_attacks_may_be_one_text():
    assert load({"audit": {"attacks": "quick"}}).audit.attacks == "quick"
    assert load({"audit": {"attacks": "lira, rmia"}}).audit.attacks == ["lira", "rmia"]


def test_the_bundled_examples_are_valid():
    assert "digits" in examples()
    for name, path in examples().items():
        assert find_example(name) == path
        assert load(name).name == name
        assert path.read_text(encoding="utf-8").startswith("# "), "an example begins with what it shows"
    assert find_example("nothing") is None
    digits = load("digits")
    assert (digits.data.source, digits.recipe.options["hidden"], digits.shadow.count) == ("digits", [64], 64)


def test_a_file_comes_before_an_example_and_an_example_before_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load("digits").shadow.count == 64
    (tmp_path / "digits").rmdir()
    (tmp_path / "digits").write_text("seed = 5")
    assert load("digits").seed == 5


# --- precedence, --set and the environment


def test_option_beats_environment_beats_file(write):
    path = write("seed = 1\n[shadow]\ncount = 1\n[audit]\ntargets = 1\n")
    config = load(path, "seed=3", VESTIGE_SEED="2", VESTIGE_SHADOW__COUNT="2")
    assert (config.seed, config.shadow.count, config.audit.targets) == (3, 2, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        (" 0.5 ", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("True", True),
        ('"a b"', "a b"),
        ("mlp", "mlp"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ("[lira, rmia]", ["lira", "rmia"]),
        ('["lira", "rmia"]', ["lira", "rmia"]),
        ("[]", []),
        ("{ max = 0.01 }", {"max": 0.01}),
        ("pkg.module:function", "pkg.module:function"),
        ("2024-01-01", "2024-01-01"),
        ("1\nseed = 2", "1\nseed = 2"),
        ("007", "007"),
        ("a=b", "a=b"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_values_are_toml_or_else_text(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_values_round_trip(value):
    assert value_of(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("seed", ("seed",)),
        ("shadow.count", ("shadow", "count")),
        ("defences.0.kind", ("defences", 0, "kind")),
        ("defences[0].kind", ("defences", 0, "kind")),
        ("audit.attacks[1]", ("audit", "attacks", 1)),
        ("recipe.'a.b'.\"c d\"", ("recipe", "a.b", "c d")),
        ("gate.auc", ("gate", "auc")),
        ("gate.auc.max", ("gate", "auc", "max")),
        ("gate.tpr@0.001", ("gate", "tpr@0.001")),
        ("gate.tpr@0.001.max", ("gate", "tpr@0.001", "max")),
        ("gate.lira.tpr@1e-3.judge", ("gate", "lira.tpr@1e-3", "judge")),
        ("gate.'lira.tpr@0.01'", ("gate", "lira.tpr@0.01")),
    ],
)
def test_keys_are_paths(key, path):
    assert from_option(f"{key}=1").path == path


def test_options_reach_everything():
    config = load(
        None,
        *("shadow.count=8", "gate.lira.tpr@0.01.max=0.2", "gate.auc=0.6", "defences.0.kind=dp_sgd", "name=2024"),
        *("defences[0].epsilon=4", "audit.attacks=[lira, rmia]", "audit.attacks[2]=loss", "store=/a=b"),
        *("recipe.hidden=[8]", "target.model=007", "data.id=1.50"),
    )
    assert config.audit.attacks == ["lira", "rmia", "loss"]
    assert config.defences[0].model_dump() == {"kind": "dp_sgd", "epsilon": 4}
    assert {key: rule.max for key, rule in config.gate.items()} == {"lira.tpr@0.01": 0.2, "auc": 0.6}
    assert (config.name, config.store, config.target.model, config.data.id) == ("2024", "/a=b", "007", "1.50")


def test_options_change_parts_of_a_file(write):
    config = load(write(FULL), "defences[1].k=3", "gate.auc.max=0.7", "audit.attacks[1].online=true")
    assert config.defences[1].model_dump() == {"kind": "top_k", "k": 3}
    assert (config.gate["auc"].max, config.gate["auc"].judge) == (0.7, "low")
    assert config.audit.attacks[1] == {"name": "lira", "online": True}


def test_a_source_dict_is_not_changed():
    source = {"shadow": {"count": 1}, "audit": {"attacks": ["a"]}}
    load(source, "shadow.count=2", "audit.attacks[0]=b")
    assert source == {"shadow": {"count": 1}, "audit": {"attacks": ["a"]}}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("shadow", "Expected --set key=value, got 'shadow'. For example: --set shadow.count=64"),
        ("=3", "Expected --set key=value, got '=3'."),
        ("a..b=3", "Could not understand the key 'a..b'."),
        ("a[x]=3", "Could not understand the key 'a[x]'."),
        ("a.=1", "Could not understand the key 'a.'."),
        (
            "shadow.cuont=8",
            "Unknown key 'shadow.cuont' (from --set shadow.cuont=8). Did you mean 'count'?",
        ),
        (
            "shadow.count=many",
            "Expected 'shadow.count' to be a whole number, got 'many' (from --set shadow.count=many).",
        ),
        (
            "audit.attacks[2]=x",
            "'audit.attacks[2]' cannot be set (from --set audit.attacks[2]=x): 'audit.attacks' is a list of 1.",
        ),
        ("audit.attacks.x=1", "'audit.attacks' is a list of 1."),
        ("audit.attacks[0].name=x", "'audit.attacks[0]' is neither a table nor a list."),
        ("data.label=[1]", "Expected 'data.label' to be text, got [1] (from --set data.label=[1])."),
    ],
)
def test_wrong_options(option, expected):
    assert expected in sentence({"audit": {"attacks": ["a"]}}, option)


def test_environment():
    config = load(
        None,
        VESTIGE_SEED="3",
        VESTIGE_AUDIT__TARGETS="8",
        VESTIGE_SHADOW_KEEP_MODELS="false",
        VESTIGE_RECIPE_EPOCHS="5",
        VESTIGE_RECIPE__LR="0.1",
        VESTIGE_DEFENCES__0__KIND="dp_sgd",
        VESTIGE_GATE__AUC="0.6",
        VESTIGE_NAME="",
        VESTIGE_DATA="/folder",
        VESTIGE_STORE="/folder",
        VESTIGE_CACHE="/folder",
        VESTIGE="1",
        SHADOW__COUNT="3",
    )
    assert (config.seed, config.audit.targets, config.shadow.keep_models, config.name) == (3, 8, False, "audit")
    assert config.recipe.options == {"epochs": 5, "lr": 0.1}
    assert (config.defences[0].kind, config.gate["auc"].max) == ("dp_sgd", 0.6)
    assert (config.data.source, config.store, config.shadow.count) == ("digits", None, None)


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    for name in [name for name in os.environ if name.startswith("VESTIGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VESTIGE_SEED", "17")
    assert load_config().seed == 17


def test_a_mistyped_variable_is_named():
    assert sentence(VESTIGE_AUDIT__TARGTES="8") == (
        "Unknown key 'audit.targtes' (from VESTIGE_AUDIT__TARGTES). Did you mean 'targets'?"
    )
    with pytest.warns(ConfigWarning, match=r"VESTIGE_AUDIT_TARGTES is no setting .* VESTIGE_AUDIT__TARGETS\?"):
        assert load(VESTIGE_AUDIT_TARGTES="8") == AuditConfig()
    with pytest.warns(ConfigWarning, match=r"Did you mean VESTIGE_SHADOW__COUNT\?"):
        load(VESTIGE_SHADW__COUNT="8")


def test_variables_of_others_are_left_alone():
    # The command line's own options can be set in the environment under these names.
    verbs = ("AUDIT", "PLAN", "SHOW", "REPORT", "COMPARE", "GATE", "LIST", "SCHEMA", "INIT", "DOCTOR")
    options = [
        "SOURCE",
        "OUT",
        "SET",
        "JSON",
        "FAIL_ON",
        "BASELINE",
        "TRUST",
        "QUIET",
        "LOG",
        "FORMAT",
        "OUTPUT",
        "OLD",
        "NEW",
        "WHAT",
        "PATH",
        "EXAMPLE",
    ]
    names = [f"VESTIGE_{verb}_{option}" for verb in verbs for option in options]
    names += ["VESTIGE_ACME", "VESTIGE_ACME__COUNT", "VESTIGE_VERSION", "VESTIGE_HOME"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(**dict.fromkeys(names, "1")) == AuditConfig()


# --- one sentence per mistake


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"shadow": {"cuont": 3}}, "Unknown key 'shadow.cuont'. Did you mean 'count'?"),
        ({"count": 3}, "Unknown key 'count'. Did you mean 'shadow.count'?"),
        ({"audit": {"count": 3}}, "Unknown key 'audit.count'. Did you mean 'shadow.count'?"),
        ({"defenses": []}, "Unknown key 'defenses'. Did you mean 'defences'?"),
        ({"data": {"xyzzy": 1}}, "Unknown key 'data.xyzzy'. Known keys are: source, label, id, group,"),
        ({"gate": {"auc": {"mx": 1}}}, "Unknown key 'gate.auc.mx'. Did you mean 'max'?"),
        ({"seed": -1}, "Expected 'seed' to be at least 0, got -1."),
        ({"seed": 1.5}, "Expected 'seed' to be a whole number, got 1.5."),
        ({"seed": True}, "Expected 'seed' to be a number, got true."),
        ({"name": ""}, "Expected 'name' to be text that is not empty, got ''."),
        ({"name": 3}, "Expected 'name' to be text, got 3."),
        ({"name": "x" * 200, "store": ["x" * 200]}, "Expected 'store' to be text, got ['xxxx"),
        ({"shadow": 3}, "Expected 'shadow' to be a table, got 3."),
        ({"shadow": None}, "Expected 'shadow' to be a table, got nothing."),
        ({"shadow": {"fraction": 1.0}}, "Expected 'shadow.fraction' to be less than 1, got 1.0."),
        ({"shadow": {"fraction": math.nan}}, "Expected 'shadow.fraction' to be a finite number, got nan."),
        ({"shadow": {"count": 10**6}}, "Expected 'shadow.count' to be at most 100000, got 1000000."),
        ({"shadow": {"keep_models": "perhaps"}}, "Expected 'shadow.keep_models' to be true or false, got 'perhaps'."),
        ({"shadow": {"architecture": 3}}, "Expected 'shadow.architecture' to be text or a table, got 3."),
        ({"defences": {"kind": "x"}}, "Expected 'defences' to be a list, got a table."),
        ({"defences": [{"kind": "x"}, {"k": 1}]}, "Expected 'defences[1].kind' to be given."),
        (
            {"audit": {"access": "scores"}},
            "Expected 'audit.access' to be 'label', 'score' or 'white_box', got 'scores'. Did you mean 'score'?",
        ),
        ({"audit": {"attacks": 5}}, "Expected 'audit.attacks' to be text or a list, got 5."),
        ({"audit": {"attacks": ["a", 5]}}, "Expected 'audit.attacks[1]' to be text or a table, got 5."),
        ({"audit": {"attacks": []}}, "Expected 'audit.attacks' to be a battery or at least one attack, got []."),
        (
            {"audit": {"attacks": [{"nme": "lira"}]}},
            "Expected 'audit.attacks' to be attacks by name, or tables such as",
        ),
        ({"audit": {"fpr": [0.1, "x"]}}, "Expected 'audit.fpr[1]' to be a number, got 'x'."),
        ({"audit": {"fpr": [2]}}, "a list of false-positive rates strictly between 0 and 1, got [2]."),
        ({"audit": {"fpr": []}}, "a list of false-positive rates strictly between 0 and 1, got []."),
        ({"gate": {"auc": {}}}, "Expected 'gate.auc.max' to be given."),
        ({"gate": {"auc": "low"}}, "Expected 'gate.auc' to be a number, or a table such as { max = 0.01 }, got 'low'."),
        ({"gate": {"auc": True}}, "Expected 'gate.auc' to be a number, got true."),
        ({"gate": {"auc": math.nan}}, "Expected 'gate.auc' to be a finite number, got nan."),
        ({"gate": {"tprr@0.01": 1}}, "or 'lira.tpr@0.01', got 'tprr@0.01'. Figures are: tpr, auc,"),
        ({"gate": {"tpr@0.005": 1}}, "[gate] judges 'tpr@0.005', and audit.fpr is [0.001, 0.01]: add 0.005 to"),
        ({"gate": {"lira.auc": {"max": 1, "attack": "rmia"}}}, "names the attack 'lira', and its rule names 'rmia'."),
        (
            {"seed": 1.5, "shadow": {"count": "x"}},
            "Expected 'seed' to be a whole number, got 1.5. Also wrong: 'shadow.co",
        ),
        ({1: 2}, "Expected every key to be text, got 1."),
    ],
)
def test_wrong_values(data, expected):
    assert expected in sentence(data)


def test_every_unknown_key_of_every_section_is_refused():
    for name in sections():
        if name != "recipe":
            assert f"Unknown key '{name}.zzz'" in sentence({name: {"zzz": 1}})


def test_the_file_is_named(write):
    path = write("[shadow]\ncuont = 3\n")
    assert sentence(path) == f"Unknown key 'shadow.cuont' (in '{path}'). Did you mean 'count'?"
    path = write("seed = 'x'")
    assert sentence(path) == f"Expected 'seed' to be a whole number, got 'x' (in '{path}')."
    path = write('[gate]\n"auc@1" = 1')
    assert f"got 'auc@1'. Only tpr is taken at a false-positive rate (in '{path}')." in sentence(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[shadow]\ncount == 3\n", "is not valid TOML at line 2, column 8: invalid value."),
        ("seed = 1\nseed = 2\n", "is not valid TOML at line 2, column 9: cannot overwrite a value."),
        ("seed = ", "is not valid TOML at end of document: invalid value."),
        ("", "is empty. `vestige init` writes one to start from."),
        ("# only a comment\n", "is empty."),
        (b"PK\x03\x04\x00\x00", "to be a TOML or YAML text in UTF-8, got a binary file."),
        (b"\xff\xfe\x00a", "got a binary file."),
        (b"# " + b"x" * (1 << 22), "to be a config, got a file of more than 4 MB."),
        ("a = " + "[" * 20_000, "nested too deeply."),
    ],
)
def test_wrong_files(write, content, expected):
    path = write(content)
    assert expected in (found := sentence(path))
    assert str(path) in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("shadow:\n  count: [1\n", "is not valid YAML at line 3, column 1: expected ',' or ']'"),
        ("seed: 1\nseed: 2\n", "is not valid YAML at line 2, column 1: the key 'seed' is given twice."),
        ("- 1\n- 2\n", "to hold keys and values, got a list."),
        ("just text", "to hold keys and values, got a str."),
        ("", "is empty."),
        ("# nothing", "is empty."),
        ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("gate:\n  0.5: 1\n", "Expected every key in"),
        ("a: &a\n  b: *a\n", "contains itself."),
        ("? [a]\n: 1\n", "is not valid YAML at line 1, column 3: found unhashable key."),
        ("shadow:\n  cuont: 1\n", "Unknown key 'shadow.cuont' (in "),
    ],
)
def test_wrong_yaml(write, content, expected):
    pytest.importorskip("yaml", reason="needs pyyaml")
    path = write(content, "audit.yaml")
    assert expected in (found := sentence(path))
    assert str(path) in found


def test_yaml_merge_keys_work(write):
    pytest.importorskip("yaml", reason="needs pyyaml")
    text = "recipe: &r\n  kind: torch\n  epochs: 5\nshadow:\n  architecture:\n    <<: *r\n    epochs: 6\n"
    assert load(write(text, "a.yaml")).shadow.architecture == {"kind": "torch", "epochs": 6}


def test_yaml_without_pyyaml_says_what_to_install(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingDependency, match=r"pip install 'vestige\[yaml\]'"):
        load(write("seed: 1", "a.yaml"))


def test_absent_files(tmp_path):
    (tmp_path / "audit.toml").write_text("seed = 1")
    assert "called 'digitz'. Did you mean 'digits'?" in sentence("digitz")
    assert f"Did you mean '{tmp_path / 'audit.toml'}'?" in sentence(tmp_path / "audti.toml")
    assert "Bundled examples: adult-forest, canary, digits" in sentence("/nonexistent/folder/x.toml")
    assert f"got the folder '{tmp_path}'. In it are: audit.toml." in sentence(tmp_path)
    assert "Could not read the config" in sentence("x" * 5000)
    assert len(sentence("x" * 5000)) < 200
    assert "There is no config file" in sentence("a\0b")


def test_pyproject_without_a_table(write):
    for text in ('[project]\nname = "x"\n', "tool = 3\n", "[tool]\nvestige = 3\n"):
        assert "has no [tool.vestige] table." in sentence(write(text, "pyproject.toml"))


keys = st.sampled_from([*AuditConfig.model_fields, "count", "kind", "fpr", "max", "auc"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)


@given(anything)
def test_any_data_is_a_config_or_one_sentence(data):
    if not isinstance(data, dict):
        data = {"shadow": data}
    try:
        config, message = load(data), ""
    except ConfigError as error:
        config, message = None, str(error)
    if config is None:
        assert message
        assert "\n" not in message
    else:
        assert AuditConfig.model_validate(config.model_dump()) == config


# --- figures, digest and schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auc", FigureName(None, "auc", None)),
        ("tpr@0.001", FigureName(None, "tpr", 0.001)),
        ("tpr@1e-3", FigureName(None, "tpr", 0.001)),
        ("lira.tpr@0.01", FigureName("lira", "tpr", 0.01)),
        ("ml_leaks_1.balanced_accuracy", FigureName("ml_leaks_1", "balanced_accuracy", None)),
        ("rmia(gamma=2.0).auc", FigureName("rmia(gamma=2.0)", "auc", None)),
    ],
)
def test_figure_names(text, expected):
    assert figure_name(text) == expected


@pytest.mark.parametrize(
    "text", ["", "tpr", "tpr@", "tpr@x", "tpr@0", "tpr@1", "tpr@nan", "auc@0.1", "lira.", "@0.1", "auc."]
)
def test_wrong_figure_names(text):
    with pytest.raises(ValueError, match="Expected a figure such as"):
        figure_name(text)


def test_the_digest_is_of_what_decides_the_figures():
    base = config_digest(load("digits"))
    assert re.fullmatch("[0-9a-f]{32}", base)
    same = ["name=other", "store=/elsewhere", "gate.auc=0.6", "shadow.executor=processes", "shadow.workers=9"]
    same += ["shadow.keep_models=false", "audit.records_in_log=3"]
    assert {config_digest(load("digits", option)) for option in same} == {base}
    other = ["seed=1", "shadow.count=65", "recipe.epochs=61", "recipe.new=1", "audit.targets=2", "data.limit=9"]
    assert len({base, *(config_digest(load("digits", option)) for option in other)}) == len(other) + 1


def test_the_schema_describes_every_key():
    schema = config_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == set(AuditConfig.model_fields)
    assert schema["additionalProperties"] is False
    rule = schema["properties"]["gate"]["additionalProperties"]
    assert {"type": "number"} in rule["anyOf"]
    for name, section in sections().items():
        properties = schema["$defs"][section.__name__]["properties"]
        assert all("description" in properties[key] for key in section.model_fields), name


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load("digits").seed = 3
