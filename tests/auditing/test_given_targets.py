"""Audits of models that were trained elsewhere, through the one-call interface."""

import numpy as np
import pytest

import vestige
from vestige.errors import DataError, UsageError

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

QUIET = {"progress": False, "fpr": (0.1,)}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    return (x[:900], y[:900]), (x[900:], y[900:])


def test_an_sklearn_model_with_clones_as_shadows(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = DecisionTreeClassifier(random_state=0).fit(mx, my)
    log = vestige.audit(model, mx, my, nx, ny, shadow=8, store=tmp_path, **QUIET)
    assert log.status == "complete"
    assert log.target.given
    assert log.target.train_accuracy == 1.0
    assert log.shadow.count == log.shadow.trained == 8
    assert log.attack("lira").auc.value > 0.55
    assert not [check for check in log.checks if check.level == "error"]


def test_members_are_drawn_for_shadows_in_the_target_s_proportion(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = LogisticRegression(max_iter=300).fit(mx, my)
    log = vestige.audit(model, mx, my, nx[:225], ny[:225], shadow=10, store=tmp_path, attacks=["loss", "lira"], **QUIET)
    assert log.status == "complete"
    assert log.population.members == 900
    assert abs(log.shadow.train_accuracy - log.target.train_accuracy) < 0.03


def test_original_labels_and_a_decision_function(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    names = np.array(list("abcdefghij"))
    model = LinearSVC(max_iter=20_000, C=0.01).fit(mx / 16, names[my])
    log = vestige.audit(
        model, mx / 16, names[my], nx / 16, names[ny], shadow=4, store=tmp_path, attacks=["loss", "lira"], **QUIET
    )
    assert log.status == "complete"
    assert log.target.train_accuracy > 0.9


def test_a_plain_function_and_no_shadow_models(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = KNeighborsClassifier(1).fit(mx, my)
    log = vestige.audit(model.predict_proba, mx, my, nx, ny, shadow=0, attacks=["gap", "loss"], store=tmp_path, **QUIET)
    assert log.status == "complete"
    # A nearest neighbour answers with certainty: the confidence attack is the gap attack and nothing more.
    expected = 0.5 + 0.5 * (log.target.train_accuracy - log.target.test_accuracy)
    assert log.attack("gap").auc.value == pytest.approx(expected, abs=1e-6)
    assert log.attack("loss").auc.value == pytest.approx(expected, abs=1e-6)


def test_label_access_runs_what_can_run(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = DecisionTreeClassifier(random_state=0).fit(mx, my)
    log = vestige.audit(model, mx, my, nx, ny, access="label", store=tmp_path, **QUIET)
    assert {attack.name: attack.status for attack in log.attacks} == dict.fromkeys(
        ("gap", "noise", "augmentation", "boundary"), "ok"
    )
    assert log.target.access == "label"
    asked = {attack.name: attack.queries_per_record for attack in log.attacks}
    assert asked["noise"] == 101
    assert 20 < asked["boundary"] <= 1000
    # Counted one by one: what each record took in all is at least what the attacks say of themselves.
    assert log.cost.target_queries >= len(mx) * (asked["noise"] - 1)


def test_a_regression(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    model = RandomForestRegressor(20, random_state=0).fit(x[:220], y[:220])
    log = vestige.audit(model, x[:220], y[:220], x[220:], y[220:], shadow=8, store=tmp_path, **QUIET)
    assert log.status == "complete"
    assert log.population.classes == 0
    assert log.attack("loss").auc.value > 0.7


def test_a_table_with_names_and_categories(tmp_path):
    pd = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(40, 9, 400), "town": rng.choice(["a", "b", "c"], 400)})
    y = np.where(frame["age"] + 9 * (frame["town"] == "a") + rng.normal(0, 9, 400) > 42, "yes", "no")
    pipeline = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), (StandardScaler(), ["age"])),
        DecisionTreeClassifier(random_state=0),
    )
    pipeline.fit(frame[:200], y[:200])
    log = vestige.audit(
        pipeline,
        frame[:200],
        y[:200],
        frame[200:],
        y[200:],
        shadow=6,
        store=tmp_path,
        attacks=["gap", "loss", "lira"],
        **QUIET,
    )
    assert log.status == "complete"
    assert log.attack("gap").auc.value > 0.55


def test_a_shifted_split_is_found_out(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = LogisticRegression(max_iter=300).fit(mx, my)
    log = vestige.audit(model, mx, my, nx + 3, ny, shadow=0, attacks=["loss"], store=tmp_path, **QUIET)
    assert log.exit_code == 4
    assert not log.passed
    assert log.checks[0].id == "blind-baseline"


def test_what_cannot_be_audited_is_one_sentence(digits, tmp_path):
    (mx, my), (nx, ny) = digits
    model = LogisticRegression(max_iter=300).fit(mx, my)
    with pytest.raises(DataError, match="one label per record"):
        vestige.audit(model, mx, my[:-1], nx, ny, store=tmp_path, **QUIET)
    with pytest.raises(DataError, match="of one shape"):
        vestige.audit(model, mx, my, nx[:, :5], ny, store=tmp_path, **QUIET)
    with pytest.raises(UsageError, match="no attack or battery called 'liar'"):
        vestige.audit(model, mx, my, nx, ny, attacks=["liar"], store=tmp_path, **QUIET)


def test_augmented_queries_are_shared_by_target_and_shadows(tmp_path):
    torch = pytest.importorskip("torch")
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 8, 8) / 16).astype(np.float32)
    recipe = vestige.TorchRecipe(model="mlp", hidden=(32,), epochs=8, lr=0.1, momentum=0.9)
    from vestige.auditing.inputs import Inputs
    from vestige.auditing.run import Audit
    from vestige.records import Records
    from vestige.store import Store

    config = vestige.AuditConfig.model_validate(
        {"audit": {"attacks": ["lira", "rmia"], "queries": ["flip", "shift:1"], "fpr": [0.1]}, "shadow": {"count": 4}}
    )
    records = Records.build(images, y)
    log = Audit(inputs=Inputs(records=records, recipe=recipe), config=config, store=Store(tmp_path)).run()
    assert log.status == "complete", [attack.reason for attack in log.attacks]
    assert log.attack("lira").queries_per_record == 6
    assert log.cost.target_queries == 6 * len(records)
    assert torch.get_num_threads() > 0


def test_torch_datasets_in_place_of_arrays(digits, tmp_path):
    torch = pytest.importorskip("torch")
    (mx, my), (nx, ny) = digits
    sets = [torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) for x, y in ((mx, my), (nx, ny))]
    model = DecisionTreeClassifier(random_state=0).fit(mx, my)
    options = {"shadow": 4, "attacks": ["gap", "loss"], **QUIET}
    log = vestige.audit(model, sets[0], None, sets[1], None, store=tmp_path / "sets", **options)
    same = vestige.audit(model, mx, my, nx, ny, store=tmp_path / "arrays", **options)
    assert log.records_csv() == same.records_csv()
    with pytest.raises(DataError, match="no labels"):
        vestige.audit(model, mx, None, nx, None, store=tmp_path, **QUIET)
