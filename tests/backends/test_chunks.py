"""The chunk that is told from the recipe alone is the one that the built network would get."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
from vestige.backends import compiled
from vestige.backends.chunks import chunk_of, known_chunk
from vestige.backends.torch import TorchRecipe
from vestige.backends.torch_setup import Setup
from vestige.records import Records


def records(shape, classes=10):
    rng = np.random.default_rng(0)
    return Records.build(rng.random((40, *shape), np.float32), np.arange(40) % classes)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"model": "mlp", "hidden": (64,)}, (64,)),
        ({"model": "mlp", "hidden": (256, 128)}, (446,)),
        ({"model": "mlp", "hidden": (900, 900)}, (800,)),
        ({"model": "mlp", "hidden": (2000, 1000)}, (300,)),
        ({"model": "logistic"}, (50,)),
        ({"model": "mlp", "hidden": (32,)}, (8, 8)),
        ({"model": "cnn"}, (12, 12)),
    ],
)
def test_it_is_the_built_networks(options, shape, monkeypatch):
    monkeypatch.setattr(compiled, "takes", lambda _: False)
    recipe, given = TorchRecipe(**options), records(shape)
    told = known_chunk(recipe, given)
    assert told is None or told == Setup.of(recipe, given).chunk()
    assert recipe.chunk_size(given) == Setup.of(recipe, given).chunk()


def test_what_the_recipe_does_not_tell_is_left_open():
    assert known_chunk(TorchRecipe(model="mlp", hidden=(8,), norm="batch"), records((5,))) is None
    assert known_chunk(TorchRecipe(model=lambda: None), records((5,))) is None
    assert [chunk_of(n) for n in (64_000, 64_001, 500_001, 2_000_001)] == [8, 4, 2, 1]


def test_asking_loads_no_torch():
    code = (
        "import sys, numpy as np; from vestige import TorchRecipe, Records;"
        "r = Records.build(np.eye(20, dtype=np.float32), np.arange(20) % 2);"
        "print(TorchRecipe(model='mlp', hidden=(8,)).chunk_size(r), 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split()[0] in ("1", "8")  # compiled one by one, or stacked where numba is missing
    if sys.platform == "linux" and not __import__("pathlib").Path("/dev/nvidiactl").exists():
        assert said.split()[1] == "False"
