"""What `import vestige` gives is a promise: these names, documented, typed, and light to load."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import resources

import pytest

import vestige

NAMES = [
    "Access",
    "Audit",
    "AuditConfig",
    "AuditLog",
    "FunctionRecipe",
    "Outputs",
    "PrivacyClaim",
    "Records",
    "SklearnRecipe",
    "TorchRecipe",
    "UpdateRecipe",
    "Updated",
    "VestigeError",
    "audit",
    "canary",
    "grid",
    "load_dataset",
    "tradeoff",
]
HEAVY = {"torch", "sklearn", "pandas", "matplotlib", "altair", "joblib", "xgboost", "lightgbm", "pyarrow"}


def loaded_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_public_names_are_these_and_no_others():
    assert vestige.__all__ == NAMES
    assert dir(vestige) == sorted([*NAMES, "__version__"])


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(vestige, name)
    assert inspect.getdoc(value), f"vestige.{name} has no docstring"
    if inspect.isclass(value):
        for member, inner in vars(value).items():
            function = getattr(inner, "fget", None) or getattr(inner, "__func__", inner)
            if not member.startswith("_") and inspect.isfunction(function):
                assert inspect.getdoc(function), f"vestige.{name}.{member} has no docstring"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'audits'"):
        _ = vestige.audits


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert vestige.__version__ == version("vestige")


def test_importing_vestige_loads_nothing_heavy():
    assert not loaded_after("import vestige") & (HEAVY | {"numpy", "scipy", "pydantic"})


def test_configs_and_logs_load_nothing_heavy():
    code = "import vestige; vestige.AuditConfig(); vestige.AuditLog; vestige.VestigeError; vestige.TorchRecipe"
    assert not loaded_after(code) & HEAVY


def test_type_checkers_are_told_that_the_package_is_typed():
    assert resources.files("vestige").joinpath("py.typed").is_file()


def test_importing_a_module_never_hides_the_function_of_its_name():
    import vestige.grid.run
    import vestige.tradeoff.run

    assert callable(vestige.grid.run)
    assert callable(vestige.tradeoff.run)
    assert callable(vestige.tradeoff)
