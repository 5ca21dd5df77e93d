"""Docs cannot drift: what the README and the docs name exists, and what exists is named there."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

from vestige.attacks import ATTACKS, facts, resolve, unfit
from vestige.checks import CATALOGUE
from vestige.config_files import config_schema, load_config
from vestige.datasets import DATASETS
from vestige.errors import ExitCode
from vestige.registry import load
from vestige.target import Access

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [ROOT / "benchmarks" / "README.md", *sorted((ROOT / "examples").rglob("*.md"))]
COMMANDS = [*PAGES, *sorted((ROOT / "examples").rglob("*.yml")), ROOT / "scripts" / "demo"]
OWN_PATHS = re.compile(r"(?<![\w/.-])((?:scripts|benchmarks|examples|docs|src|tests|\.ci)/[\w./-]*\w)")
BUILT = ("docs/_build", "docs/reference/")


def blocks(page, language):
    return blocks_of(page.read_text("utf-8"), language)


def blocks_of(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def written(language):
    return [
        pytest.param(text, id=f"{page.stem}-{k}") for page in PAGES for k, text in enumerate(blocks(page, language))
    ]


def code_of(page):
    """Yield what a page writes in code: indented or fenced lines, and text in backticks."""
    text = page.read_text("utf-8")
    if page.suffix != ".md":
        yield from text.splitlines()
        return
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))
    for fenced in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from fenced.splitlines()
    yield from re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def is_command(line):
    return re.search(r"(^|[\s/])vestige\s+\w", line) and not re.match(r"\s*(from|import|#)\b|.*\w\(", line)


@pytest.fixture(scope="module")
def generated():
    """The module that writes the reference pages when the docs are built."""
    sys.path.insert(0, str(DOCS))
    try:
        yield importlib.import_module("generated")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def verbs(generated):
    return importlib.import_module("generated_commands").commands()


def keys_of(schema):
    for part in (schema, *schema["$defs"].values()):
        yield from part.get("properties", {})


def test_every_config_key_is_on_the_configuration_page(generated):
    page = generated.PAGES["configuration"]()
    assert [key for key in keys_of(config_schema()) if f"| `{key}` |" not in page] == []
    recipe = page.partition("## [recipe]")[2].partition("## [[defences]]")[0]
    assert "| `batch_size` | `64` |" in recipe


def test_every_attack_is_on_the_attacks_page_and_in_the_readme(generated):
    page = generated.PAGES["attacks"]()
    for name in ATTACKS.names():
        about = facts(name)
        section = page.partition(f"## {about.access.replace('_', ' ').capitalize()} access")[2].partition("\n## ")[0]
        assert f"| [`{name}`](attacks/{name}.md) |" in section
        assert f"| {about.queries} |" in section
        assert f"\nattacks/{name}\n" in page.partition("```{toctree}")[2]
        assert f"`{name}`" in README


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack_has_a_page_that_says_all_there_is_to_say(generated, name):
    page, about = generated.pages()[f"attacks/{name}"], facts(name)
    title, _, rest = page.partition("\n\n")
    assert title == f"# `{name}`"
    told = rest.partition("\n## ")[0]
    first, _, more = told.partition("\n\n")
    assert re.fullmatch(r"[A-Z][^.]*\.", " ".join(first.split())), "one sentence says what it does"
    assert re.search(r"larger\s+=\s+more\s+likely", more)
    assert "``" not in told
    for fact in (about.paper, about.queries, f"access: {about.access}", *about.knowledge):
        assert fact in page
    for key in about.params:
        assert f"| `{key}` |" in page
        assert f"`{key}" in told or re.search(rf"^.*`{key}`.*: see \[", page, re.MULTILINE), f"{key} is not explained"
    config = load_config(tomllib.loads(blocks_of(page, "toml")[0]), environ={})
    ((_, attack),) = resolve(config.audit.attacks, access=config.audit.access)
    assert attack == ATTACKS.create(name)
    assert unfit(attack, access=Access.parse(config.audit.access)) == ""


def test_pages_of_what_is_gone_are_removed(generated, tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "HERE", tmp_path)
    old = tmp_path / "reference" / "attacks" / "forgotten.md"
    old.parent.mkdir(parents=True)
    old.write_text("# Forgotten\n")
    generated.write(None)
    assert not old.exists()
    assert {path.stem for path in old.parent.glob("*.md")} == set(ATTACKS.names())
    assert (tmp_path / "reference" / "configuration.md").exists()


def test_every_dataset_and_check_has_its_place(generated):
    datasets, checks = generated.PAGES["datasets"](), generated.PAGES["checks"]()
    assert [name for name in DATASETS.names() if f"| `{name}` |" not in datasets] == []
    for name, explanation in CATALOGUE.items():
        section = checks.partition(f"({name})=\n## {name}\n")[2].partition("\n## ")[0]
        assert f"**Cause:** {explanation.cause}" in section
        assert f"**Cure:** {explanation.cure}" in section
        assert re.search(r"\*\*Level:\*\* (error|warning|info)", section)
        assert len(section.partition("**When:** ")[2].splitlines()[0]) > 20


def test_levels_of_checks_are_those_that_are_raised(generated):
    raised = importlib.import_module("generated_checks").raised()
    assert raised["target-train-mode"][0] == ["error"]
    assert raised["auc-below-half"][0] == ["error", "warning"]
    assert raised["outputs-softmaxed"][0] == ["info"]


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "quickstart.md"], ids=lambda page: page.stem)
def test_exit_codes_are_all_given(page):
    rows = re.findall(r"^\| (\d+) \| .+ \|$", page.read_text("utf-8"), re.MULTILINE)
    assert {int(row) for row in rows} == {int(code) for code in ExitCode}


def test_every_verb_is_spoken_of(verbs):
    told = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [verb for verb in verbs if not re.search(rf"vestige {verb}\b", told)] == []


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_commands_are_verbs_with_options_that_exist(page, verbs):
    for line in filter(is_command, code_of(page)):
        words = shlex.split(line, comments=True)
        start = next((k for k, word in enumerate(words) if word.rpartition("/")[2] == "vestige"), len(words))
        verb, *rest = [*words[start + 1 :], *([""] if start + 1 >= len(words) else [])]
        if verb and not verb.isupper():
            assert verb in verbs, line
            options = {option for parameter in verbs[verb].params for option in parameter.opts} | {"--help"}
            rest = list(itertools.takewhile(lambda word: word not in ("|", ">", ">>"), rest))
            assert [word for word in rest if word.startswith("-") and word not in options] == [], line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_files_that_are_mentioned_exist(page):
    text = page.read_text("utf-8")
    named = {path for path in OWN_PATHS.findall(text) if not path.startswith(BUILT) and "NAME" not in path}
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    linked = {link for link in linked if link and not link.startswith("reference/")}
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [link for link in linked if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("text", written("python"))
def test_python_is_python(text):
    compile(text, "<docs>", "exec")


@pytest.mark.parametrize("text", written("toml"))
def test_toml_is_a_config(text):
    data = tomllib.loads(text)
    if "project" not in data:
        load_config(data, environ={})


def test_extras_and_modules_that_are_named_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for page in PAGES:
        text = page.read_text("utf-8")
        assert set(re.findall(r"vestige\[(\w+)\]", text)) <= set(extras)
        assert set(re.findall(r"`\.\[(\w+)\]`", text)) <= set(extras)
        for name in re.findall(r"`(vestige(?:\.[A-Za-z_]+)+)`", text):
            if not name.startswith(("vestige.toml",)) and name.removeprefix("vestige.") not in ENTRY_POINTS:
                module, _, attribute = name.rpartition(".")
                try:
                    load(f"{module}:{attribute}")
                except AttributeError:
                    importlib.import_module(name)


ENTRY_POINTS = {"attacks", "signals", "datasets", "recipes", "executors", "formats", "defences", "targets"}


def test_entry_point_groups_are_those_of_the_registries():
    from vestige.backends import RECIPES
    from vestige.listing import registries

    groups = set(re.findall(r"^\| `vestige\.(\w+)` \|", (DOCS / "extending.md").read_text("utf-8"), re.MULTILINE))
    assert groups <= {registry.kind for registry in (*registries().values(), RECIPES)}
    assert {"attacks", "signals", "datasets", "recipes"} <= groups


@pytest.fixture
def extending(monkeypatch):
    """The plug-ins that the page on extending shows, run as one module."""
    module = types.ModuleType("extending_examples")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for text in blocks(DOCS / "extending.md", "python"):
        exec(compile(text, "<extending>", "exec", dont_inherit=True), module.__dict__)
    return module


def test_the_attack_and_the_signal_shown_conform(extending):
    from vestige.testing import check_attack, check_signal

    check_attack(extending.MedianMargin())
    check_signal(extending.Lead())


def test_the_recipe_and_the_format_shown_serve_in_an_audit(extending, tmp_path):
    from vestige import Audit, AuditConfig, Records
    from vestige.auditing.inputs import Inputs
    from vestige.store import Store
    from vestige.testing import check_target

    draw = np.random.default_rng(0)
    records = Records.build(draw.normal(size=(120, 40)).astype(np.float32), draw.integers(0, 3, 120))
    recipe = extending.NearestRecipe()
    check_target(recipe.fit(records, np.arange(60), 0), records)
    config = AuditConfig(shadow={"count": 4}, audit={"attacks": ["loss", "lira"], "fpr": [0.1]})
    log = Audit(inputs=Inputs(records=records, recipe=recipe), config=config, store=Store(tmp_path)).run()
    assert log.status == "complete"
    assert log.attack("loss").auc.value > 0.7
    assert extending.render(log).startswith("loss: 0.")


def test_the_attack_in_contributing_conforms(monkeypatch):
    from vestige.testing import check_attack

    module = types.ModuleType("contributing_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    head = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "import numpy as np\nfrom vestige.attacks.base import Evidence, Needs\n"
        "from vestige.target import Access, FloatArray\n"
    )
    exec(head + blocks(ROOT / "CONTRIBUTING.md", "python")[0], module.__dict__)
    check_attack(module.MeanGap())
