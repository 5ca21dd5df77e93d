"""What the adversary has instead of the target's own records: other data, or another architecture."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from vestige.auditing.inputs import Inputs
from vestige.auditing.run import Audit
from vestige.backends.sklearn import SklearnRecipe
from vestige.config import AuditConfig
from vestige.datasets import load_dataset
from vestige.errors import ConfigError, UsageError
from vestige.store import Store


def audit(tmp_path, records, estimator, **sections):
    config = AuditConfig.model_validate({"data": {"population": 0.0}, **sections})
    return Audit(inputs=Inputs(records=records, recipe=SklearnRecipe(estimator)), config=config, store=Store(tmp_path))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


ATTACKS = ["loss", "ml_leaks_1", "ml_leaks_2", "lira", "shokri"]


def test_disjoint_data_leaves_only_attacks_that_carry_over(tmp_path, digits):
    run = audit(
        tmp_path, digits, RandomForestClassifier(20),
        audit={"attacks": ATTACKS, "fpr": [0.1]}, shadow={"count": 4, "data": "disjoint"},
    )  # fmt: skip
    assert not set(run.inputs.records.ids) & set(run.elsewhere.ids)
    log = run.run()
    assert log.status == "partial"
    assert log.exit_code == 3
    assert log.attack("lira").status == "skipped"
    assert "other data" in log.attack("lira").reason
    for name in ("loss", "ml_leaks_1", "ml_leaks_2", "shokri"):
        assert log.attack(name).status == "ok", log.attack(name).reason
    assert log.attack("ml_leaks_2").auc.value > 0.6
    assert log.attack("ml_leaks_2").operating_points[0].tpr.value is not None
    assert log.shadow.count == 4


def test_another_dataset_serves_the_class_agnostic_attack(tmp_path, digits):
    run = audit(
        tmp_path, digits, DecisionTreeClassifier(max_depth=9),
        audit={"attacks": ["ml_leaks_2", "shokri"], "fpr": [0.1]}, shadow={"count": 4, "data": "wine"},
    )  # fmt: skip
    log = run.run()
    assert log.attack("ml_leaks_2").status == "ok", log.attack("ml_leaks_2").reason
    assert log.attack("shokri").status == "skipped"
    assert "other classes" in log.attack("shokri").reason


def test_another_architecture_trains_shadow_models_unlike_the_target(tmp_path, digits):
    run = audit(
        tmp_path, digits, DecisionTreeClassifier(),
        audit={"attacks": ["loss", "lira"], "fpr": [0.1]},
        shadow={
            "count": 8,
            "architecture": {
                "kind": "sklearn", "model": "sklearn.linear_model:LogisticRegression", "params": {"max_iter": 200},
            },
        },
    )  # fmt: skip
    log = run.run()
    assert log.status == "complete"
    assert log.target.train_accuracy == 1.0
    assert log.shadow.train_accuracy < 1.0
    assert any(check.id == "shadow-accuracy-gap" for check in log.checks)


def test_same_knowledge_gives_the_plain_audit(tmp_path, digits):
    sections = {"audit": {"attacks": ["loss", "lira"], "fpr": [0.1]}, "shadow": {"count": 4}}
    estimator = LogisticRegression(max_iter=200)
    plain = audit(tmp_path / "a", digits, estimator, **sections).run()
    named = {**sections, "shadow": {"count": 4, "data": "same", "architecture": "same"}}
    again = audit(tmp_path / "b", digits, estimator, **named).run()
    assert plain.records_csv() == again.records_csv()


def test_unknown_knowledge_is_one_sentence(tmp_path, digits):
    with pytest.raises(UsageError, match=r"no dataset called 'wien'.*Did you mean 'wine'"):
        audit(tmp_path, digits, LogisticRegression(), shadow={"data": "wien"})
    with pytest.raises(ConfigError, match="architecture to be 'same' or a table"):
        audit(tmp_path, digits, LogisticRegression(), shadow={"count": 2, "architecture": "other"}).run()


def test_groups_stay_whole_in_disjoint_halves(tmp_path, digits):
    from vestige.records import Records

    grouped = Records.build(digits.x[:600], digits.y[:600], groups=np.arange(600) // 3)
    run = audit(
        tmp_path, grouped, LogisticRegression(),
        audit={"attacks": ["loss"], "fpr": [0.1]}, shadow={"count": 2, "data": "disjoint"},
    )  # fmt: skip
    assert not set(run.inputs.records.groups) & set(run.elsewhere.groups)


def test_a_regression_with_disjoint_data_keeps_what_it_found(tmp_path):
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import RandomForestRegressor

    from vestige.records import Records

    x, y = load_diabetes(return_X_y=True)
    run = audit(
        tmp_path, Records.build(x, y, task="regression"), RandomForestRegressor(8),
        audit={"attacks": ["loss", "lira"], "fpr": [0.1]}, shadow={"count": 2, "data": "disjoint"},
    )  # fmt: skip
    log = run.run()
    assert log.attack("loss").status == "ok"
    assert log.attack("lira").status == "skipped"


def test_a_plan_counts_the_models_of_other_data_and_other_architectures(tmp_path, digits):
    sections = {"audit": {"attacks": ["ml_leaks_2"], "fpr": [0.1]}, "shadow": {"count": 4, "data": "disjoint"}}
    run = audit(tmp_path / "a", digits, DecisionTreeClassifier(max_depth=5), **sections)
    assert run.plan().trainings == 1 + 5
    run.run()
    other = {"kind": "sklearn", "model": "sklearn.naive_bayes:GaussianNB"}
    run = audit(
        tmp_path / "b", digits, DecisionTreeClassifier(max_depth=5),
        audit={"attacks": ["lira"], "fpr": [0.1]}, shadow={"count": 4, "architecture": other},
    )  # fmt: skip
    assert run.plan().trainings == 5


def test_too_many_targets_are_refused_before_anything_is_trained(tmp_path, digits):
    run = audit(
        tmp_path, digits, DecisionTreeClassifier(),
        audit={"attacks": ["loss", "lira"], "targets": 8}, shadow={"count": 8},
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"targets = 8, but only 5 model"):
        run.run()
    assert not list(tmp_path.rglob("*.safetensors"))
    run = audit(
        tmp_path, digits, DecisionTreeClassifier(),
        audit={"attacks": ["loss", "lira"], "targets": 2}, shadow={"count": 2},
    )  # fmt: skip
    with pytest.raises(UsageError, match="under lira"):
        run.run()
