"""Probes of a pool: every model is asked itself, whoever trained it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from vestige.attacks.noise import Noise
from vestige.backends.sklearn import SklearnRecipe
from vestige.datasets import load_dataset
from vestige.probing import probe_keys, probe_pool
from vestige.seeds import rng, seed_for
from vestige.signals.base import SignalTable
from vestige.split import draw
from vestige.store import Store
from vestige.target import Access


def test_a_target_that_was_trained_by_a_recipe_of_its_own_is_the_one_that_is_probed(tmp_path):
    records = load_dataset("digits").take(np.sort(rng(0, "few").permutation(1797)[:300]))
    split = draw(300, shadows=2, seed=0)
    own, shadows = SklearnRecipe(DecisionTreeClassifier(max_depth=3)), SklearnRecipe(KNeighborsClassifier(1))
    (key,) = probe_keys(Noise(queries=4).needs.signals)
    empty = SignalTable({}, 300, 3)
    table = probe_pool(empty, [key], [0, 1], split, shadows, records, Store(tmp_path), first=own)

    def correct(recipe, model):
        target = recipe.fit(records, split.rows(model), seed_for(split.seed, "model", model))
        return target.query(records.x[split.audited], Access.LABEL).values == records.y[split.audited]

    for model, recipe, other in ((0, own, shadows), (1, shadows, own)):
        found = np.asarray(table.model(key, model)).reshape(300, -1)[:, 0]
        # The share of noisy copies that are still answered rightly follows the model's own mistakes.
        mine, theirs = (np.corrcoef(found, correct(one, model))[0, 1] for one in (recipe, other))
        assert mine > 0.5 > theirs
