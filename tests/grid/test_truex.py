"""Truex's grid: target family by shadow family by attack model, on features that mean the same for any classes."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import vestige.grid
from vestige.attacks.shokri import SORTED_KEY, Shokri
from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.sklearn import SklearnRecipe
from vestige.config import AuditConfig
from vestige.config_files import load_config
from vestige.datasets import load_dataset
from vestige.records import Records
from vestige.seeds import rng
from vestige.signals import create
from vestige.store import Store
from vestige.target import Outputs

TREE = {
    "kind": "sklearn",
    "model": "sklearn.tree:DecisionTreeClassifier",
    "params": {"max_depth": 10, "min_samples_leaf": 4},
}
FOREST = {"kind": "sklearn", "model": "sklearn.ensemble:RandomForestClassifier", "params": {"n_estimators": 10}}
AGNOSTIC = {"name": "shokri", "params": {"per_class": False}}


def test_the_diagonal_is_class_agnostic_shokri_for_every_family(tmp_path):
    base = {
        "data": {"source": "digits", "limit": 500},
        "shadow": {"count": 4},
        "audit": {"attacks": [AGNOSTIC], "fpr": [0.05]},
        "store": str(tmp_path),
    }
    families = ["tree", "knn", "naive_bayes", "logistic", "mlp"]
    grid = {"recipe": [TREE, FOREST], "architecture": [TREE, FOREST], "family": families}
    log = vestige.grid.run(load_config({**base, "grid": grid}, environ={}))
    assert len(log.cells) == 4
    for recipe, diagonal in ((TREE, log.cells[0]), (FOREST, log.cells[3])):
        attacks = [{"name": "shokri", "params": {"per_class": False, "family": family}} for family in families]
        told = {**base, "recipe": recipe, "audit": {"attacks": attacks, "fpr": [0.05]}}
        plain = Audit.from_config(load_config(told, environ={})).run()
        assert [(r.attack, r.auc, r.tpr) for r in diagonal.results] == [(r.title, r.auc, r.tpr) for r in plain.attacks]
        assert len(diagonal.results) == 5
    forest = {r.params["family"]: r.auc.value for r in log.cells[3].results}
    assert forest["logistic"] > 0.7  # a forest is surer of what it has seen, whoever is told so
    off = {r.params["family"]: r.auc.value for r in log.cells[2].results}
    assert set(off) == set(forest)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_nearest_neighbour_gives_away_its_mistakes_and_nothing_more(tmp_path, seed):
    """Its posteriors are one-hot and its training accuracy is 1, so confidence has AUC 1 - accuracy / 2 exactly."""
    from sklearn.neighbors import KNeighborsClassifier

    random = rng(seed, "neighbours")
    y = np.arange(400) % 4
    records = Records.build(random.standard_normal((400, 5)) + 0.8 * np.eye(5)[y], y)
    config = AuditConfig.model_validate(
        {
            "seed": seed,
            "shadow": {"count": 0},
            "audit": {"attacks": ["confidence", "gap", "loss", "entropy"], "fpr": [0.1]},
        }
    )
    inputs = Inputs(records=records, recipe=SklearnRecipe(KNeighborsClassifier(1)))
    log = Audit(inputs=inputs, config=config, store=Store(tmp_path)).run()
    assert log.target.train_accuracy == 1.0
    assert 0.3 < log.target.test_accuracy < 0.9
    for name in ("confidence", "loss", "gap"):
        assert log.attack(name).auc.value == pytest.approx(1 - log.target.test_accuracy / 2, abs=1e-12)
    assert log.attack("entropy").auc.value == 0.5


def test_features_do_not_depend_on_how_many_classes_there_are():
    signal = create(SORTED_KEY)
    logits = rng(0, "logits").standard_normal((50, 4)) * 3
    y = np.zeros(50, np.int64)
    few = signal.of(Outputs("logits", logits), y)
    for extra in (1, 6, 96):
        # Classes that nothing is ever likely to be.
        many = np.column_stack([logits, np.full((50, extra), -80.0)])
        found = signal.of(Outputs("logits", many[:, rng(extra, "order").permutation(4 + extra)]), y)
        assert found.shape == few.shape == (50, 3)
        np.testing.assert_allclose(found, few, atol=1e-12)
    assert Shokri(per_class=False).any_classes
    assert not Shokri().any_classes
    assert Shokri(per_class=False).needs.signals == (SORTED_KEY,)


def test_what_is_learnt_on_three_classes_applies_to_ten(tmp_path):
    from sklearn.ensemble import RandomForestClassifier

    digits = load_dataset("digits").take(np.arange(600))
    config = AuditConfig.model_validate(
        {
            "data": {"source": "digits"},
            "shadow": {"count": 6, "data": "wine"},
            "audit": {"attacks": [AGNOSTIC, "shokri"], "fpr": [0.1]},
        }
    )
    inputs = Inputs(records=digits, recipe=SklearnRecipe(RandomForestClassifier(10)))
    log = Audit(inputs=inputs, config=config, store=Store(tmp_path)).run()
    assert log.attack("shokri[per_class=False]").auc.low > 0.6
    assert log.attack("shokri").status == "skipped"
    assert "3 instead of 10" in log.attack("shokri").reason
