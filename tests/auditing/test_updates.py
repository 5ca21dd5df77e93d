"""Audits of updated models: trained here, from files, from Python."""

from __future__ import annotations

import re

import numpy as np
import pytest

import vestige
from vestige.auditing.inputs import from_config
from vestige.auditing.run import Audit
from vestige.config_files import load_config
from vestige.errors import ConfigError, DataError, UsageError
from vestige.record_table import from_csv
from vestige.report.threat import knowledge
from vestige.store import Store

pytest.importorskip("sklearn")
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

LIRA = {"name": "model_update", "params": {"rule": "lira"}}
TREES = {"kind": "sklearn", "model": "sklearn.tree:DecisionTreeClassifier"}


def configured(tmp_path, **sections):
    config = {"data": {"source": "digits"}, "store": str(tmp_path / "store"), "audit": {"attacks": ["model_update"]}}
    return load_config(config | sections, environ={})


def records(seed=0, n=600, classes=4):
    """Labels at random: nothing but having seen a record helps to name its label."""
    g = np.random.default_rng(seed)
    return g.normal(size=(n, 6)).astype(np.float32), g.integers(0, classes, n)


def test_a_fine_tuned_digits_model_gives_its_new_records_away(tmp_path):
    pytest.importorskip("torch")
    config = configured(
        tmp_path,
        data={"source": "digits", "limit": 900},
        update={"kind": "fine_tune", "base": 0.2, "epochs": 60},
        recipe={"kind": "torch", "model": "mlp", "hidden": [64], "epochs": 30, "batch_size": 32, "lr": 0.05},
        shadow={"count": 8},
        audit={"attacks": ["model_update", LIRA], "fpr": [0.05]},
    )
    log = Audit.from_config(config).run()
    assert log.status == "complete"
    assert log.attack("model_update").auc.low > 0.5
    assert log.attack("model_update[lira]").auc.low > 0.6
    assert log.attack("model_update").queries_per_record == 2
    assert log.target.kind == "updated"
    assert log.shadow.trained == 9
    said = dict(knowledge(log))["Compares"]
    assert said.endswith("a member is a record that was added.")
    # What was trained is found again: nothing is trained twice.
    assert Audit.from_config(config).run().shadow.trained == 0


@pytest.mark.parametrize("kind", ["retrain", "unlearn"])
def test_trees_that_learn_by_heart_show_what_was_added_or_removed_and_forget_it(tmp_path, kind):
    config = configured(
        tmp_path, recipe=TREES, update={"kind": kind}, shadow={"count": 8},
        audit={"attacks": ["loss", "model_update", LIRA], "fpr": [0.05]},
    )  # fmt: skip
    log = Audit.from_config(config).run()
    assert log.status == "complete"
    assert log.attack("model_update").auc.low > 0.52
    last = log.attack("loss").auc
    assert last.low > 0.52 if kind == "retrain" else last.low < 0.5 < last.high


def test_a_battery_compares_snapshots_where_there_are_some(tmp_path):
    config = configured(tmp_path, recipe=TREES, update={"kind": "retrain"}, shadow={"count": 4}, audit={})
    assert {"model_update", "model_update[lira]", "lira"} <= {label for label, _ in Audit.from_config(config).attacks}
    plain = configured(tmp_path, recipe=TREES, shadow={"count": 4}, audit={})
    assert "model_update" not in {label for label, _ in Audit.from_config(plain).attacks}


def test_the_base_is_in_no_audit_and_groups_stay_whole(tmp_path):
    x, y = records()
    np.savez(tmp_path / "data.npz", x=x, y=y, groups=np.arange(600) // 3)
    config = configured(
        tmp_path, data={"source": str(tmp_path / "data.npz")}, recipe=TREES, update={"kind": "retrain", "base": 0.3}
    )
    inputs = from_config(config)
    base = inputs.recipe.base
    assert len(base) == 180
    assert len(inputs.records) == 420
    assert not set(base.ids) & set(inputs.records.ids)
    assert not set(base.groups) & set(inputs.records.groups)


def test_the_table_of_records_says_when(tmp_path):
    config = configured(
        tmp_path, recipe={"kind": "sklearn", "model": "sklearn.neighbors:KNeighborsClassifier",
        "params": {"n_neighbors": 1}}, update={"kind": "retrain", "steps": 3, "base": 0.1}, shadow={"count": 2},
    )  # fmt: skip
    log = Audit.from_config(config).run()
    rows = from_csv(log.records_csv())
    assert {row.scores["model_update when"] for row in rows} == {1.0, 2.0, 3.0}
    assert log.attack("model_update").queries_per_record == 4
    assert "each of 3 updates" in dict(knowledge(log))["Compares"]


def files(tmp_path, base=slice(0, 200), added=slice(200, 350)):
    import joblib

    x, y = records()
    tree = lambda *parts: DecisionTreeClassifier(random_state=0).fit(  # noqa: E731
        np.concatenate([x[p] for p in parts]), np.concatenate([y[p] for p in parts])
    )
    joblib.dump(tree(base), tmp_path / "before.joblib")
    joblib.dump(tree(base, added), tmp_path / "after.joblib")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    for name, part in (("base", base), ("members", added)):
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, range(part.start, part.stop))))
    return {
        "data": {"source": str(tmp_path / "data.npz")}, "recipe": TREES,
        "target": {
            "model": str(tmp_path / "after.joblib"), "before": str(tmp_path / "before.joblib"), "trust": True,
            "members": str(tmp_path / "members.txt"), "base": str(tmp_path / "base.txt"),
        },
    }  # fmt: skip


def test_models_from_files_are_compared_and_their_base_is_what_shadows_start_from(tmp_path):
    sections = files(tmp_path) | {"update": {"kind": "retrain"}, "shadow": {"count": 6}}
    config = configured(tmp_path, **sections, audit={"attacks": ["model_update", LIRA], "fpr": [0.05]})
    audit = Audit.from_config(config)
    assert len(audit.inputs.records) == 400
    assert audit.inputs.recipe.share == 1.0
    log = audit.run()
    assert log.status == "complete"
    assert log.population.members == 150
    assert log.attack("model_update").auc.low > 0.75
    assert log.target.kind == "updated"
    # Two answers a record for each attack's own signal, one for the rest, and what checks ask.
    assert log.cost.target_queries >= 3 * 400


def test_models_from_files_need_no_shadow_models(tmp_path):
    sections = files(tmp_path)
    del sections["target"]["base"], sections["recipe"]
    audit = {"attacks": ["model_update"], "fpr": [0.05]}
    log = Audit.from_config(configured(tmp_path, **sections, audit=audit)).run()
    assert log.status == "complete"
    assert log.shadow.count == 0
    # Among the non-members are now those of the base, which the update did not change either.
    assert log.attack("model_update").auc.low > 0.75


def test_in_python_models_are_given_as_they_are(tmp_path):
    x, y = records()
    before, after = (KNeighborsClassifier(1).fit(x[:stop], y[:stop]) for stop in (200, 350))
    given = x[200:350], y[200:350], x[350:], y[350:]
    options = {"store": tmp_path, "progress": False, "fpr": (0.05,)}
    log = vestige.audit(vestige.Updated([before, after]), *given, attacks=["model_update"], **options)
    assert log.attack("model_update").auc.low > 0.75
    same = vestige.audit(vestige.Updated([after, after]), *given, attacks=["model_update"], **options)
    assert same.attack("model_update").auc.value == 0.5
    turned = vestige.audit(vestige.Updated([after, before], removed=True), *given, attacks=["model_update"], **options)
    assert turned.attack("model_update").auc.value == log.attack("model_update").auc.value
    recipe = vestige.UpdateRecipe(
        inner=vestige.SklearnRecipe(KNeighborsClassifier(1)), base=(x[:200], y[:200]), kind="retrain", share=1.0
    )
    paired = vestige.audit(vestige.Updated([before, after]), *given, attacks=[LIRA], recipe=recipe, shadow=6, **options)
    assert paired.attack("model_update").auc.low > 0.75


def test_a_training_function_may_return_an_updated_model(tmp_path):
    x, y = records()

    def train(px, py, seed):
        first = KNeighborsClassifier(1).fit(x[:200], y[:200])
        return vestige.Updated([first, KNeighborsClassifier(1).fit(np.vstack([x[:200], px]), np.append(y[:200], py))])

    own = vestige.Records.build(x[200:], y[200:])
    config = configured(tmp_path, shadow={"count": 2}, audit={"attacks": ["model_update"], "fpr": [0.05]})
    inputs = vestige.auditing.inputs.Inputs(records=own, recipe=vestige.FunctionRecipe(train))
    log = Audit(inputs=inputs, config=config, store=Store(tmp_path)).run()
    assert log.attack("model_update").auc.low > 0.7


def test_what_cannot_be_audited_says_so(tmp_path):
    x, y = records()
    model = KNeighborsClassifier(1).fit(x[:200], y[:200])
    given = x[:200], y[:200], x[350:], y[350:]
    with pytest.raises(UsageError, match="this audit has one model"):
        vestige.audit(model, *given, attacks=["model_update"], store=tmp_path, progress=False)
    with pytest.raises(UsageError, match="trained on both before and after"):
        vestige.audit(vestige.Updated([model, model]), *given, attacks=[LIRA], store=tmp_path, progress=False)
    sections = files(tmp_path)
    for changes, error, says in (
        ({"update": {"steps": 3}}, ConfigError, "names 1 earlier"),
        ({"target": sections["target"] | {"before": []}}, ConfigError, "Name .target. before, too"),
        ({"target": sections["target"] | {"before": [], "base": None}, "update": {}}, ConfigError, "model before it"),
        ({"target": sections["target"] | {"base": sections["target"]["members"]}}, DataError, "150 in both"),
        ({"target": None, "update": {}, "shadow": {"data": "disjoint"}}, ConfigError, 'data = "same"'),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            from_config(configured(tmp_path, **(sections | changes)))
        assert re.search(says, f"{caught.value}{caught.value.hint}"), says
    with pytest.raises(UsageError, match="audited as they are"):
        Audit.from_config(configured(tmp_path, recipe=TREES, update={"kind": "retrain"}, defences=[{"kind": "round"}]))
    for update in ({"kind": "forget"}, {"base": 1.0}, {"steps": 0}):
        with pytest.raises(ConfigError):
            configured(tmp_path, update=update)
